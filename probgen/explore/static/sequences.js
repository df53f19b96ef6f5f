// Texts and sounds, which arrive in pieces: each piece says from where on it replaces what there is.

import { $, element } from "./controls.js";
import { ask, lines, newest } from "./wire.js";

const BITS = [5, 7, 9]; // the surprise from which a symbol is marked, and marked more

export function sequence(about, request, problem) {
  const sound = about.event.view === "sound" || !about.event.symbols.length;
  let control = null, count = 0;
  const work = newest(async () => {
    control = new AbortController();
    const x = [], surprise = [], asked = request();
    $("words").setAttribute("aria-busy", "true");
    for await (const line of lines(await ask("/api/stream", asked, control.signal))) {
      if (line.error) throw Object.assign(new Error(line.error), { name: "AbortError" });
      x.length = surprise.length = line.start;
      x.push(...line.x);
      surprise.push(...(line.surprise ?? line.x.map(() => null)));
      if (sound) wave(x, about.event);
      else write(x, surprise, about);
      $("figure").dataset.pieces = 1 + +($("figure").dataset.pieces ?? 0);
    }
    $("words").setAttribute("aria-busy", "false");
    $("caption").textContent = `${about.run}, ${x.length} values, seed ${asked.seed}${about.surprises && !sound ? "; marked: surprise of 5, 7 and 9 bits or more" : ""}`;
    $("figure").dataset.drawn = ++count;
  }, problem);
  if (sound && about.event.rate) {
    $("play").hidden = false;
    $("play").addEventListener("click", () => play(heard, about.event.rate));
  }
  return () => {
    control?.abort();
    work();
  };
}

function write(x, surprise, { event }) {
  const spans = [];
  let words = "", kind = null;
  x.forEach((number, i) => {
    const bits = surprise[i], is = bits === null ? 0 : BITS.filter((least) => bits >= least).length;
    if (is !== kind) {
      if (words) spans.push(element("span", { className: `s${kind}`, textContent: words }));
      [words, kind] = ["", is];
    }
    words += event.symbols[number];
  });
  spans.push(element("span", { className: `s${kind}`, textContent: words }));
  $("words").replaceChildren(...spans);
  $("words").hidden = false;
}

let heard = [];

function wave(x, event) {
  const top = (event.levels ?? 2) - 1, canvas = $("picture"), width = 720, height = 200;
  heard = event.rate ? x.map((level) => {
    const f = (2 * level) / top - 1; // the mu-law of ITU-T G.711
    return (Math.sign(f) * Math.expm1(Math.abs(f) * Math.log1p(top))) / top;
  }) : x.map((level) => (2 * level) / top - 1);
  Object.assign(canvas, { width, height, hidden: false, className: "smooth" });
  canvas.setAttribute("aria-label", `a waveform of ${x.length} values`);
  const context = canvas.getContext("2d"), loudest = Math.max(1e-3, ...heard.map(Math.abs));
  context.strokeStyle = getComputedStyle(canvas).color;
  context.beginPath();
  heard.forEach((value, i) => context.lineTo((i / Math.max(1, heard.length - 1)) * width, (height / 2) * (1 - (0.95 * value) / loudest)));
  context.stroke();
}

function play(samples, rate) {
  if (!samples.length) return;
  const context = new AudioContext(), buffer = context.createBuffer(1, samples.length, rate), source = context.createBufferSource();
  buffer.copyToChannel(Float32Array.from(samples), 0);
  source.buffer = buffer;
  source.connect(context.destination);
  source.onended = () => context.close();
  source.start();
}
