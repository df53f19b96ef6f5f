// The page: its state is a request, and what it shows is the answer to the newest request.

import { completion } from "./completion.js";
import { $, element, number, option, radios, selection, slider, short } from "./controls.js";
import { follow } from "./fit.js";
import { scatter } from "./map.js";
import { figure, paint } from "./pixels.js";
import { sequence } from "./sequences.js";
import { array, ask, newest } from "./wire.js";
import { given_columns, show } from "./views.js";

const problem = (words) => {
  $("problem").textContent = words;
  $("problem").hidden = !words;
};

const SHOWN = 10; // directions that are not folded
const LITTLE = 0.005; // the share in x of a direction that is folded
const FEW = 12; // classes that are buttons

async function main() {
  let about;
  try {
    about = await (await ask("/api/describe")).json();
  } catch (error) {
    problem(error.status === 403 ? "Open the address that probgen explore printed: it contains the token of this page." : error.message);
    return;
  }
  document.title = `${about.run}: probgen explore`;
  $("run").textContent = about.run;
  $("about").textContent = about.event ? `${about.family}; x is ${about.event.words}` : about.family;
  $("notes").replaceChildren(...(about.notes ?? []).map((note) => element("li", { textContent: note })));
  follow(problem, about);
  if (about.event) sampling(about);
}

function sampling(about) {
  const { event } = about;
  const state = { n: usual(about), seed: 0, given: { ...about.given }, options: {} };
  const moves = { latent: "", by: [], attributes: {}, hold: [], layers: null, mix: null, mixed: null };
  let latest = null, began = 0, count = 0;

  const amount = () => {
    const x = state.given.x;
    if (x === undefined) return "nothing";
    return typeof x === "string" ? "prompt" : [x].flat(Infinity).includes(null) ? "part" : "all";
  };
  const request = () => {
    const options = {};
    for (const control of about.controls)
      if (control.name in state.options && (!control.when.length || control.when.includes(amount()))) options[control.name] = state.options[control.name];
    const moved = moves.latent && (moves.by.some(Boolean) || Object.values(moves.attributes).some(Boolean) || moves.mix !== null);
    return { n: state.n, seed: state.seed, given: state.given, options, moves: moved ? moves : null };
  };

  const drawn = about.streams
    ? sequence(about, request, problem)
    : newest(async () => {
        const start = began || performance.now();
        began = 0;
        latest = await array(await ask("/api/draw", request()));
        show(about, latest, state);
        performance.measure("slider to pixels", { start });
        $("figure").dataset.drawn = ++count;
        settle();
      }, problem);
  const changed = () => {
    began ||= performance.now();
    $("code").hidden = true;
    $("copied").textContent = "";
    drawn();
  };

  let waiting;
  const settle = () => {
    clearTimeout(waiting);
    waiting = setTimeout(neighbors, 150);
  };
  const neighbors = newest(async () => {
    if (!about.rows || event.view !== "image" || event.shape.includes(null) || state.n !== 1 || !latest) return;
    const answer = await ask("/api/nearest", { x: Array.from(latest.values) });
    const rows = JSON.parse(answer.headers.get("x-rows")), far = JSON.parse(answer.headers.get("x-distances")), { values } = await array(answer);
    const size = values.length / rows.length;
    $("nearest").replaceChildren(...rows.map((row, i) => {
      const { whole, canvas } = figure(`row ${row}, distance ${far[i].toPrecision(3)}`);
      paint(canvas, values, i * size, event, about.limits);
      return whole;
    }));
    $("neighbors").hidden = false;
  }, problem);

  for (const [id, name] of [["seed", "seed"], ["n", "n"]]) {
    $(id).value = state[name];
    $(id).addEventListener("change", () => {
      if (!$(id).checkValidity() || $(id).value === "") return;
      state[name] = +$(id).value;
      changed();
    });
  }
  $("n-label").hidden = about.streams;
  $("another").addEventListener("click", () => {
    $("seed").value = state.seed = (state.seed + 1) % 2 ** 32;
    changed();
  });
  conditions(about, state, changed);
  for (const control of about.controls) {
    const noiseless = about.noiseless.includes(control.name) && about.spaces.length > 0;
    if (noiseless) state.options[control.name] = true;
    if (control.when.length && !control.when.some((when) => when === "nothing" || when === "prompt") && event.view !== "table") continue;
    $("options").append(option(control, noiseless || control.default, (value) => {
      state.options[control.name] = value;
      changed();
    }));
  }
  if (about.spaces.length) sliders(about, moves, changed);
  for (const [id, key] of [["copy-python", "python"], ["copy-command", "command"]])
    $(id).addEventListener("click", () => copy(request(), key));
  if (event.view === "image") {
    $("save").hidden = false;
    $("save").addEventListener("click", () => element("a", { href: $("picture").toDataURL(), download: `${about.run}-seed-${state.seed}.png` }).click());
    if (!about.incomplete) completion(about, state, () => latest, problem, copy);
  }
  if (about.codes.length) scatter(about, moves, problem);
  $("without").textContent = [about.missing, about.incomplete && event.view === "image" ? `No completion: ${about.incomplete}` : ""].filter(Boolean).join(" ");
  $("draw").hidden = false;
  addEventListener("weights", changed);
  changed();
}

// The number of samples that a view shows at first: one, if sliders or a condition decide what it is.
function usual({ event, spaces, conditions, streams }) {
  if (event.view === "points") return 64;
  if (spaces.length || streams || conditions.some((part) => part.kind === "row")) return 1;
  return event.view === "image" ? 16 : 10;
}

async function copy(request, key) {
  try {
    const code = (await (await ask("/api/code", request)).json())[key];
    $("code").textContent = code;
    $("code").hidden = false;
    await navigator.clipboard.writeText(code).then(
      () => ($("copied").textContent = "copied"),
      () => ($("copied").textContent = "The browser does not allow copying: select the text below."),
    );
  } catch (error) {
    problem(error.message);
  }
}

function conditions(about, state, changed) {
  const place = $("conditions");
  const set = (name) => (value) => {
    if (value === null || value === "") delete state.given[name];
    else state.given[name] = value;
    changed();
  };
  for (const [name, values] of Object.entries(about.choices))
    place.append(radios(name, [["", "any"], ...values.map((value) => [value, String(value)])], "", set(name)));
  for (const part of about.conditions) {
    const classes = Array.from({ length: part.levels ?? 0 }, (_, i) => [i, part.symbols[i] ?? String(i)]);
    if (part.kind === "class" && classes.length <= FEW) place.append(radios(part.name, classes, state.given[part.name], set(part.name)));
    else if (part.kind === "class") place.append(selection(part.name, classes, (value) => set(part.name)(+value)));
    else if (part.kind === "number") place.append(number(part.name, { value: state.given[part.name] }, set(part.name)));
    else if (part.kind === "text") place.append(written(part.name, state.given[part.name], set(part.name)));
    else place.append(...of_row(part, about, state, changed));
  }
  if (about.event.view === "text") place.append(written("prompt", "", set("x")));
  if (about.event.view === "table") place.append(given_columns(about.event.columns, (x) => set("x")(x)));
}

// A condition that is an array comes from a row of the data; an image is shown.
function of_row(part, about, state, changed) {
  const { whole, canvas } = figure(part.name);
  const look = () => {
    const shape = [];
    for (let inner = state.given[part.name]; Array.isArray(inner); inner = inner[0]) shape.push(inner.length);
    paint(canvas, state.given[part.name].flat(Infinity), 0, { ...part, shape }, [0, (part.levels ?? 2) - 1]);
  };
  const field = number(`${part.name} of row`, { least: 0, most: about.rows - 1, step: 1, value: 0 }, async (row) => {
    state.given[part.name] = (await (await ask("/api/row", { row })).json())[part.name];
    if (part.view === "image") look();
    changed();
  });
  whole.className = "condition";
  if (part.view === "image") look();
  return part.view === "image" ? [field, whole] : [field];
}

function written(name, value, changed) {
  const area = element("textarea", { rows: 2, value });
  let waiting;
  area.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => changed(area.value), 200);
  });
  return element("label", { className: "wide" }, name, area);
}

function sliders(about, moves, changed) {
  const shown = []; // [set, is a direction]
  const build = (space) => {
    Object.assign(moves, { latent: space.latent, by: space.shares.map(() => 0), attributes: {}, hold: [], layers: null, mix: null, mixed: null });
    shown.length = 0;
    const made = space.shares.map((share, i) => {
      const one = slider(`${i + 1}: ${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`, { least: -4, most: 4, step: 0.05, value: 0 }, (value) => {
        moves.by[i] = value;
        changed();
      });
      one.input.id = `direction-${i}`;
      return one;
    });
    const folded = (i) => i >= SHOWN || space.shares[i] < LITTLE;
    $("directions").querySelector(".sliders").replaceChildren(...made.filter((_, i) => !folded(i)).map((one) => one.whole));
    const rest = made.filter((_, i) => folded(i)), share = space.shares.filter((_, i) => folded(i)).reduce((a, b) => a + b, 0);
    $("rest").hidden = !rest.length;
    $("rest").querySelector("summary").textContent = `${rest.length} more, which change ${(100 * share).toFixed(1)} % together`;
    $("rest").querySelector(".sliders").replaceChildren(...rest.map((one) => one.whole));
    made.forEach((one, i) => shown.push({ set: (value) => { moves.by[i] = value; one.show(value); }, get: () => moves.by[i], walks: !folded(i) }));
    attributes(space, moves, changed, shown);
    layers(space, moves, changed);
  };
  const spaces = Object.fromEntries(about.spaces.map((space) => [space.latent, space]));
  const first = about.spaces.find((space) => Object.keys(space.attributes).length) ?? about.spaces.at(-1);
  for (const name of Object.keys(spaces)) $("latent").append(element("option", { value: name, textContent: name, selected: name === first.latent }));
  $("latent-label").hidden = about.spaces.length < 2;
  $("latent").addEventListener("change", () => {
    build(spaces[$("latent").value]);
    changed();
  });
  $("center").addEventListener("click", () => {
    shown.forEach((one) => one.set(0));
    changed();
  });
  walking(shown, changed);
  build(first);
  $("space").hidden = false;
}

function attributes(space, moves, changed, shown) {
  const names = Object.keys(space.attributes), place = $("attributes").querySelector(".sliders");
  $("attributes").hidden = !names.length;
  const held = element("div", { className: "chips" }, "hold:");
  place.replaceChildren(...names.map((name) => {
    const one = slider(name, { least: -4, most: 4, step: 0.05, value: 0 }, (value) => {
      moves.attributes[name] = value;
      changed();
    });
    shown.push({ set: (value) => { moves.attributes[name] = value; one.show(value); }, get: () => moves.attributes[name] ?? 0, walks: false });
    const input = element("input", { type: "checkbox", value: name });
    input.addEventListener("change", () => {
      moves.hold = [...held.querySelectorAll(":checked")].map((each) => each.value);
      changed();
    });
    held.append(element("label", { className: "holding" }, input, name));
    return one.whole;
  }), held);
}

function layers(space, moves, changed) {
  $("layers").hidden = !space.layers;
  if (!space.layers) return;
  const most = space.layers - 1;
  for (const id of ["first", "last", "mix-first", "mix-last"]) $(id).max = most;
  $("last").value = most;
  $("mix-last").value = Math.floor(most / 2);
  const read = () => {
    const inputs = ["first", "last", "mix-seed", "mix-first", "mix-last"].map($);
    if (inputs.some((input) => !input.checkValidity() || input.value === "")) return;
    const [from, to, seed, mixFrom, mixTo] = inputs.map((input) => +input.value), mixing = $("mixing").checked;
    Object.assign(moves, { layers: from === 0 && to === most ? null : [from, to], mix: mixing ? seed : null, mixed: mixing ? [mixFrom, mixTo] : null });
    $("mix").hidden = !mixing;
    changed();
  };
  for (const id of ["first", "last", "mixing", "mix-seed", "mix-first", "mix-last"]) $(id).onchange = read;
}

// A walk of the sliders that keeps the distribution of codes: each step shrinks a slider and adds noise.
function walking(shown, changed) {
  const size = 0.08;
  let on = false;
  const step = () => {
    if (!on) return;
    for (const one of shown.filter((each) => each.walks)) {
      const noise = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
      one.set(+short(Math.max(-4, Math.min(4, Math.sqrt(1 - size ** 2) * one.get() + size * noise)), 3));
    }
    changed();
    setTimeout(() => requestAnimationFrame(step), matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 40);
  };
  $("walk").addEventListener("click", () => {
    on = !on;
    $("walk").setAttribute("aria-pressed", on);
    step();
  });
}

main();
