// The fit, also while it runs: its journal is asked for what is new, twice a second.

import { $, element } from "./controls.js";
import { ask } from "./wire.js";

const SVG = "http://www.w3.org/2000/svg", WIDTH = 800, HEIGHT = 160, POINTS = 400;
const BESIDE = ["stage", "step", "seconds"];

export async function follow(problem, about) {
  if (!about.ended) document.querySelector("main").prepend($("fit")); // while it runs, it comes first
  let next = 0, checkpoint = JSON.stringify(about.checkpoint);
  const steps = new Map(); // by stage and step: a resume writes steps again, and the last line is valid
  for (;;) {
    let found;
    try {
      found = await (await ask(`/api/history?after=${next}`)).json();
    } catch (error) {
      problem(error.status ? error.message : "The page has no answer: its server may have ended.");
      return;
    }
    if (found.again) steps.clear();
    next = found.next;
    for (const line of found.lines) steps.set(`${line.stage} ${line.step}`, line);
    if (found.lines.length) curves([...steps.values()]);
    if (found.ended && !about.ended) return location.reload(); // the fitted model is there
    if (JSON.stringify(found.checkpoint) !== checkpoint && found.checkpoint) {
      if (!about.event) return location.reload(); // the first weights
      checkpoint = JSON.stringify(found.checkpoint);
      dispatchEvent(new Event("weights"));
    }
    if (found.ended && !found.lines.length) return;
    if (!found.lines.length || !found.ended) await new Promise((later) => setTimeout(later, 500));
  }
}

function curves(lines) {
  const stage = lines.at(-1).stage, here = lines.filter((line) => line.stage === stage), last = here.at(-1);
  const names = Object.keys(last).filter((name) => !BESIDE.includes(name) && typeof last[name] === "number");
  const said = names.map((name) => `${name.replaceAll("_", " ")} ${last[name].toPrecision(5)}`).join(", ");
  $("fit-last").textContent = `${stage}, step ${last.step + 1}: ${said}`;
  $("fit-curves").replaceChildren(...names.map((name) => curve(name, here)).filter(Boolean));
  $("fit").dataset.step = last.step;
  $("fit").hidden = false;
}

function curve(name, lines) {
  const points = lines.filter((line) => Number.isFinite(line[name])).map((line) => [line.step + 1, line[name]]);
  if (points.length < 3) return null;
  const size = Math.ceil(points.length / POINTS), means = [];
  for (let i = 0; i < points.length; i += size) {
    const some = points.slice(i, i + size);
    means.push([some.at(-1)[0], some.reduce((sum, [, y]) => sum + y, 0) / some.length]);
  }
  const sorted = means.map(([, y]) => y).sort((a, b) => a - b), cut = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const low = cut(0.02), high = Math.max(cut(0.98), low + 1e-12), [first, end] = [means[0][0], means.at(-1)[0]];
  const d = means.map(([x, y], i) => `${i ? "L" : "M"}${((WIDTH * (x - first)) / (end - first || 1)).toFixed(1)} ${(HEIGHT * (1 - Math.max(0, Math.min(1, (y - low) / (high - low))))).toFixed(1)}`).join("");
  const svg = document.createElementNS(SVG, "svg");
  const words = name.replaceAll("_", " ");
  for (const [key, value] of Object.entries({ viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", preserveAspectRatio: "none", "aria-label": `${words} from ${low.toPrecision(4)} to ${high.toPrecision(4)} over steps ${first} to ${end}` })) svg.setAttribute(key, value);
  for (const [kind, path] of [["axis", `M0 0V${HEIGHT}H${WIDTH}`], ["line", d]]) {
    const drawn = document.createElementNS(SVG, "path");
    drawn.setAttribute("class", kind);
    drawn.setAttribute("d", path);
    svg.append(drawn);
  }
  const ends = (...texts) => element("div", { className: "ends" }, ...texts.map((text) => element("span", { textContent: text })));
  const mean = size > 1 ? `, means of ${size} steps` : "";
  return element("figure", {}, element("figcaption", { textContent: `${words}, from ${low.toPrecision(4)} to ${high.toPrecision(4)}${mean}` }), svg, ends(`step ${first}`, `step ${end}`));
}
