// Samples as pictures, tables and points.

import { $, element, number, selection } from "./controls.js";
import { grid } from "./pixels.js";

export function show(about, { values, shape }, state) {
  const { event } = about, n = shape[0];
  $("caption").textContent = `${about.run}, ${n === 1 ? "1 sample" : `${n} samples`}, seed ${state.seed}`;
  if (event.view === "image") {
    $("picture").hidden = false;
    grid($("picture"), values, n, { ...event, shape: shape.slice(1) }, about.limits); // sizes may vary
  } else if (event.view === "points") points(values, n, about.limits);
  else {
    const width = values.length / n;
    const columns = event.columns.length ? event.columns : Array.from({ length: Math.min(width, 20) }, (_, i) => ({ name: String(i), classes: [], support: event.support }));
    table(columns, Array.from({ length: n }, (_, i) => columns.map((_, j) => values[i * width + j])));
  }
}

function cell(value, column) {
  if (!Number.isFinite(value)) return "";
  if (column.classes.length) return column.classes[value] ?? String(value);
  return column.support === "real" && !Number.isInteger(value) ? value.toPrecision(4) : String(value);
}

function table(columns, rows) {
  const head = element("tr", {}, ...columns.map((column) => element("th", { scope: "col", textContent: column.unit ? `${column.name} (${column.unit})` : column.name })));
  const body = rows.map((row) => element("tr", {}, ...row.map((value, i) => element("td", { textContent: cell(value, columns[i]) }))));
  $("sheet").replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
  $("sheet").hidden = false;
}

function points(values, n, [low, high]) {
  const canvas = $("picture"), size = 480, span = high - low || 1, at = (value) => ((value - low + 0.1 * span) / (1.2 * span)) * size;
  canvas.hidden = false;
  canvas.className = "smooth";
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(canvas).color;
  for (let i = 0; i < n; i++) {
    context.beginPath();
    context.arc(at(values[2 * i]), size - at(values[2 * i + 1]), 3, 0, 2 * Math.PI);
    context.fill();
  }
  $("caption").textContent += `; axes from ${low.toPrecision(3)} to ${high.toPrecision(3)}`;
}

// A field for each column: an empty field is unknown, and is sampled given the others.
export function given_columns(columns, changed) {
  const x = columns.map(() => null);
  const set = (i) => (value) => {
    x[i] = value === "" || value === null ? null : +value;
    changed(x.every((each) => each === null) ? null : [...x]);
  };
  const fields = columns.map((column, i) => {
    if (column.classes.length) return selection(column.name, column.classes.map((name, j) => [j, name]), set(i), "any");
    const whole = column.support !== "real", least = whole ? column.least : undefined;
    return number(column.name, { least, most: column.levels ? column.least + column.levels - 1 : undefined, step: whole ? 1 : "any", placeholder: "any" }, set(i));
  });
  return element("fieldset", {}, element("legend", { textContent: "Given columns" }), element("div", { className: "chips" }, ...fields));
}
