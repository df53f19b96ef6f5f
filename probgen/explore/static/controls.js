// Controls that are built from what the server describes.

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export const short = (value, digits = 1) => (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits);

export function slider(name, { least, most, step, value }, changed) {
  const input = element("input", { type: "range", min: least, max: most, step, value });
  const told = element("output", { textContent: short(value, step < 0.1 ? 2 : 1) });
  const show = (to) => {
    input.value = to;
    told.textContent = short(+input.value, step < 0.1 ? 2 : 1);
  };
  input.addEventListener("input", () => {
    show(input.value);
    changed(+input.value);
  });
  return { whole: element("label", { className: "slider" }, element("span", { textContent: name }), input, told), input, show };
}

export function selection(name, choices, changed, empty) {
  const select = element("select", {}, ...(empty ? [element("option", { value: "", textContent: empty })] : []));
  for (const [value, words] of choices) select.append(element("option", { value, textContent: words }));
  select.addEventListener("change", () => changed(select.value));
  return element("label", {}, name, select);
}

export function radios(name, choices, value, changed) {
  const chips = element("div", { className: "chips" });
  for (const [number, words] of choices) {
    const input = element("input", { type: "radio", name, value: number, checked: number === value });
    input.addEventListener("change", () => changed(number));
    chips.append(element("label", {}, input, words));
  }
  return element("fieldset", {}, element("legend", { textContent: name }), chips);
}

export function number(name, { least, most, step, value = "", placeholder = "" }, changed) {
  const input = element("input", { type: "number", min: least ?? "", max: most ?? "", step: step ?? "any", value, placeholder });
  input.addEventListener("change", () => {
    if (input.checkValidity()) changed(input.value === "" ? null : +input.value);
  });
  return element("label", {}, name, input);
}

// An option of `sample` by its description: a switch, a choice, a slider, or a number that may be left empty.
export function option(control, value, changed) {
  const name = control.name.replaceAll("_", " ");
  let made;
  if (control.kind === "switch") {
    const input = element("input", { type: "checkbox", checked: value });
    input.addEventListener("change", () => changed(input.checked));
    made = element("label", { className: "check" }, input, name);
  } else if (control.kind === "choice") {
    made = selection(name, control.choices.map((choice) => [choice, choice]), changed);
    made.querySelector("select").value = value;
  } else if (control.kind === "number" && value !== null) {
    const step = control.most > 1 ? 0.05 : 0.01;
    made = slider(name, { least: control.least + (control.above ? step : 0), most: control.most, step, value }, changed).whole;
  } else {
    const step = control.kind === "whole" ? 1 : "any";
    made = number(name, { least: control.least, most: control.most, step, value: value ?? "", placeholder: "any" }, (to) => changed(to ?? control.default));
  }
  made.title = control.says;
  return element("div", {}, made);
}
