// Arrays as pixels, and pixels as arrays.

export function imageOf(event) {
  const [height, width] = event.shape.slice(-2);
  return { height, width, channels: event.shape.length === 3 ? event.shape[0] : 1, size: event.shape.reduce((a, b) => a * b, 1) };
}

// Few levels are ink on paper; 256 levels are a photograph, in which the highest level is white.
export function colors(event, limits) {
  const [low, high] = limits, ink = (event.levels ?? 0) < 256 && event.shape.length === 2 && event.support !== "real";
  return (value) => {
    const shade = Math.max(0, Math.min(255, ((value - low) / (high - low || 1)) * 255));
    return ink ? 255 - shade : shade;
  };
}

export function paint(canvas, values, start, event, limits) {
  const { height, width, channels } = imageOf(event), shade = colors(event, limits);
  const image = new ImageData(width, height), n = width * height;
  for (let i = 0; i < n; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = shade(values[start + (channels === 3 ? c * n + i : i)]);
    image.data[4 * i + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return image;
}

export function grid(canvas, values, n, event, limits) {
  const { height, width, size } = imageOf(event), across = Math.ceil(Math.sqrt(n)), one = document.createElement("canvas");
  const images = Array.from({ length: n }, (_, i) => paint(one, values, i * size, event, limits));
  const gap = n > 1 ? 1 : 0;
  canvas.width = across * (width + gap) - gap;
  canvas.height = Math.ceil(n / across) * (height + gap) - gap;
  const context = canvas.getContext("2d");
  images.forEach((image, i) => context.putImageData(image, (i % across) * (width + gap), Math.floor(i / across) * (height + gap)));
}

export function figure(caption) {
  const whole = document.createElement("figure"), canvas = document.createElement("canvas"), words = document.createElement("figcaption");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", caption);
  words.textContent = caption;
  whole.append(canvas, words);
  return { whole, canvas };
}

export function nested(flat, shape) {
  if (shape.length < 2) return Array.from(flat);
  const size = flat.length / shape[0];
  return Array.from({ length: shape[0] }, (_, i) => nested(flat.slice(i * size, (i + 1) * size), shape.slice(1)));
}

// A value that x may have: samples of a density on whole numbers lie between them.
export function legal(value, event) {
  if (!event.levels && event.support !== "count") return value;
  return Math.max(0, Math.min(event.levels ? event.levels - 1 : Infinity, Math.round(value)));
}
