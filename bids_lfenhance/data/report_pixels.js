"use strict";
// The volumes of the page, slice by slice: decoded, cut in three planes, outlined and tinted.

const PICTURES = JSON.parse(document.getElementById("pictures").textContent);
const PLANES = {
  axial: { across: 0, up: 1, along: 2, marks: ["L", "R"] },
  coronal: { across: 0, up: 2, along: 1, marks: ["L", "R"] },
  sagittal: { across: 1, up: 2, along: 0, marks: ["P", "A"] },
};
const PIXELS = 3; // of the screen's picture along one voxel
const TINT = 0.45;
const loaded = new Map();

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "text") element.textContent = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// The sheet of a volume as RGBA words; each is decoded once, and only when it is shown.
function sheet(key) {
  if (!loaded.has(key)) {
    loaded.set(key, (async () => {
      const image = new Image();
      image.src = PICTURES[PICTURES[key]] || PICTURES[key]; // its own, or that of the same picture
      await image.decode();
      const canvas = make("canvas", { width: image.width, height: image.height });
      const pen = canvas.getContext("2d", { willReadFrequently: true });
      pen.drawImage(image, 0, 0);
      const pixels = pen.getImageData(0, 0, image.width, image.height);
      return { words: new Uint32Array(pixels.data.buffer), width: image.width };
    })());
  }
  return loaded.get(key);
}

// One slice {words, cols, rows} of a sheet of axial slices, superior or anterior up, the person's left on the left.
function cut(one, data, plane, index) {
  const [nx, ny, nz] = data.size;
  const { across, up } = PLANES[plane];
  const cols = data.size[across], rows = data.size[up];
  const words = new Uint32Array(cols * rows);
  const at = (z) => Math.floor(z / data.across) * ny * one.width + (z % data.across) * nx;
  for (let row = 0; row < rows; row += 1) {
    const height = rows - 1 - row;
    for (let col = 0; col < cols; col += 1) {
      const x = across === 0 ? col : index;
      const y = plane === "axial" ? height : plane === "coronal" ? index : col;
      const z = plane === "axial" ? index : height;
      words[row * cols + col] = one.words[at(z) + (ny - 1 - y) * one.width + x];
    }
  }
  return { words, cols, rows };
}

function canvasOf(slice) {
  const canvas = make("canvas", { width: slice.cols, height: slice.rows });
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(slice.words.buffer), slice.cols, slice.rows), 0, 0);
  return canvas;
}

// The line around labels of at least a floor, smooth at the size of the screen's picture.
function outline(slice, floor, colour) {
  const inside = { ...slice, words: slice.words.map((word) => ((word & 255) >= floor ? 0xff000000 : 0)) };
  const large = make("canvas", { width: slice.cols * PIXELS, height: slice.rows * PIXELS });
  const pen = large.getContext("2d", { willReadFrequently: true });
  pen.drawImage(canvasOf(inside), 0, 0, large.width, large.height);
  const pixels = pen.getImageData(0, 0, large.width, large.height);
  const alpha = new Uint8Array(large.width * large.height).map((_, i) => (pixels.data[4 * i + 3] > 127 ? 1 : 0));
  pen.clearRect(0, 0, large.width, large.height);
  pen.fillStyle = colour;
  for (let i = large.width; i < alpha.length - large.width; i += 1) {
    const whole = alpha[i - 1] + alpha[i + 1] + alpha[i - large.width] + alpha[i + large.width];
    if (alpha[i] && whole < 4) pen.fillRect(i % large.width, Math.floor(i / large.width), 1, 1);
  }
  return large;
}

function tinted(slice, regions) {
  const colours = new Map(Object.entries(regions).map(([index, [, hex]]) => {
    const [r, g, b] = [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
    return [Number(index), ((Math.round(255 * TINT) << 24) | (b << 16) | (g << 8) | r) >>> 0];
  }));
  return canvasOf({ ...slice, words: slice.words.map((word) => colours.get(word & 255) || 0) });
}
