// Completion: a picture, a mask that is painted with the pointer or the keyboard, and samples of what is hidden.

import { $, option } from "./controls.js";
import { figure, imageOf, legal, nested, paint } from "./pixels.js";
import { array, ask, newest } from "./wire.js";

const HIDDEN = [166, 189, 219], CURSOR = [200, 30, 30];
const SAMPLES = 4;

export function completion(about, state, latest, problem, copy) {
  const { event, limits } = about, { height, width, size } = imageOf(event), hidden = new Uint8Array(width * height);
  const canvas = $("mask"), options = {};
  let base = null, given = {}, cursor = 0;

  const look = () => {
    if (!base) return;
    const image = paint(canvas, base, 0, event, limits), mark = (i, color) => image.data.set(color, 4 * i);
    hidden.forEach((yes, i) => yes && mark(i, HIDDEN));
    if (document.activeElement === canvas) mark(cursor, CURSOR);
    canvas.getContext("2d").putImageData(image, 0, 0);
  };
  const request = () => {
    const x = Array.from(base, (value, i) => (hidden[i % hidden.length] ? null : value));
    return { n: SAMPLES, seed: state.seed, given: { ...given, x: nested(x, event.shape) }, options };
  };
  const complete = newest(async () => {
    if (!base || !hidden.some(Boolean)) return;
    const { values } = await array(await ask("/api/complete", request()));
    $("completed").replaceChildren(...Array.from({ length: SAMPLES }, (_, i) => {
      const { whole, canvas: one } = figure(`sample ${i + 1}`);
      paint(one, values, i * size, event, limits);
      return whole;
    }));
    $("completed").dataset.drawn = 1 + +($("completed").dataset.drawn ?? 0);
  }, problem);
  const changed = () => {
    look();
    complete();
  };
  const take = (values, conditions) => {
    base = Float64Array.from(values.slice(0, size), (value) => legal(value, event));
    given = conditions;
    changed();
  };

  const cover = (i, j) => {
    const around = +$("brush").value - 1;
    for (let a = -around; a <= around; a++)
      for (let b = -around; b <= around; b++)
        if (i + a >= 0 && j + b >= 0 && i + a < height && j + b < width) hidden[(i + a) * width + j + b] = 1;
    changed();
  };
  const at = (event_) => {
    const box = canvas.getBoundingClientRect();
    cover(Math.floor(((event_.clientY - box.top) / box.height) * height), Math.floor(((event_.clientX - box.left) / box.width) * width));
  };
  let down = false;
  canvas.addEventListener("pointerdown", (event_) => {
    down = true;
    canvas.setPointerCapture(event_.pointerId);
    at(event_);
  });
  canvas.addEventListener("pointermove", (event_) => down && at(event_));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (down = false));
  canvas.addEventListener("keydown", (event_) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width }[event_.key];
    if (by) cursor = (cursor + by + hidden.length) % hidden.length;
    else if (event_.key === " ") hidden[cursor] ^= 1;
    else return;
    event_.preventDefault();
    if (by) look();
    else changed();
  });
  for (const seen of ["focus", "blur"]) canvas.addEventListener(seen, look);

  const hide = (id, rule) => $(id).addEventListener("click", () => {
    hidden.forEach((_, i) => (hidden[i] = +rule(Math.floor(i / width), i % width)));
    changed();
  });
  hide("show-all", () => false);
  hide("hide-lower", (i) => i >= height >> 1);
  hide("hide-right", (_, j) => j >= width >> 1);
  $("take").addEventListener("click", () => latest() && take(latest().values, conditionsOf(about, state.given)));
  $("row-label").hidden = $("take-row").hidden = !about.rows;
  $("row").max = about.rows - 1;
  $("take-row").addEventListener("click", async () => {
    if (!$("row").checkValidity()) return;
    const { x, ...rest } = await (await ask("/api/row", { row: +$("row").value })).json();
    take(x.flat(Infinity), rest);
  });
  for (const key of ["python", "command"])
    $(`copy-completion-${key}`).addEventListener("click", () => base && copy(request(), key));
  for (const control of about.controls)
    if (control.when.includes("part") && !control.when.includes("nothing"))
      $("completion-options").append(option(control, control.default, (value) => {
        options[control.name] = value;
        complete();
      }));
  $("completion").hidden = false;
  const first = setInterval(() => {
    if (!latest()) return;
    clearInterval(first);
    if (about.rows) $("take-row").click();
    else $("take").click();
  }, 100);
}

const conditionsOf = (about, given) => Object.fromEntries(about.conditions.map(({ name }) => [name, given[name]]));
