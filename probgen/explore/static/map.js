// Codes of rows in a plane, and the row under the pointer.

import { $ } from "./controls.js";
import { paint } from "./pixels.js";
import { ask, newest } from "./wire.js";

export async function scatter(about, moves, problem) {
  const canvas = $("scatter"), context = canvas.getContext("2d"), latent = moves.latent;
  if (!about.codes.includes(latent)) return;
  $("map").hidden = false;
  const width = (canvas.width = canvas.clientWidth), height = (canvas.height = Math.round(0.75 * width)); // marks of one size on any screen
  let codes;
  try {
    codes = await (await ask(`/api/codes/${latent}`)).json();
  } catch (error) {
    problem(error.message);
    return;
  }
  const scaled = (values, size) => {
    const low = Math.min(...values), span = Math.max(...values) - low || 1;
    return values.map((value) => 12 + ((value - low) / span) * (size - 24));
  };
  const x = scaled(codes.a, width), y = scaled(codes.b, height).map((value) => height - value);
  let chosen = -1;
  const look = () => {
    context.clearRect(0, 0, width, height);
    context.fillStyle = getComputedStyle(canvas).color;
    context.font = "11px sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    x.forEach((at, i) => (codes.label ? context.fillText(String(codes.label[i]), at, y[i]) : context.fillRect(at - 1.5, y[i] - 1.5, 3, 3)));
    if (chosen >= 0) {
      context.strokeStyle = context.fillStyle;
      context.lineWidth = 2;
      context.strokeRect(x[chosen] - 8, y[chosen] - 8, 16, 16);
    }
  };
  const point = newest(async () => {
    const row = codes.row[chosen], found = await (await ask("/api/row", { row })).json();
    $("pointed-row").textContent = `row ${row}${codes.label ? `, label ${codes.label[chosen]}` : ""}`;
    if (about.event.view === "image") paint($("pointed"), found.x.flat(Infinity), 0, about.event, about.limits);
    else $("pointed-row").textContent += `: ${found.x.flat(Infinity).slice(0, 12).join(", ")}`;
  }, problem);
  const choose = (i) => {
    if (i === chosen) return;
    chosen = i;
    look();
    point();
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect(), a = ((event.clientX - box.left) / box.width) * width, b = ((event.clientY - box.top) / box.height) * height;
    let nearest = 0;
    x.forEach((at, i) => {
      if ((at - a) ** 2 + (y[i] - b) ** 2 < (x[nearest] - a) ** 2 + (y[nearest] - b) ** 2) nearest = i;
    });
    choose(nearest);
  });
  const order = x.map((_, i) => i).sort((i, j) => x[i] - x[j]), place = new Map(order.map((i, k) => [i, k]));
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    choose(order[((place.get(chosen) ?? -by) + by + order.length) % order.length]);
  });
  $("pointed").hidden = about.event.view !== "image";
  look();
}
