// Colours of scores and spectrograms: from the paper over the page's blue to the ink, in both themes.

const dark = matchMedia('(prefers-color-scheme: dark)');

const LIGHT = [
  [255, 255, 255],
  [190, 215, 238],
  [18, 78, 130],
  [6, 22, 40],
];
const DARK = [
  [24, 26, 29],
  [34, 66, 98],
  [125, 180, 230],
  [244, 250, 255],
];

/// Table of 256 colours as little-endian RGBA words, as the pixels of an image hold them.
export function palette() {
  const stops = dark.matches ? DARK : LIGHT;
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1),
      below = Math.min(stops.length - 2, Math.floor(place)),
      part = place - below;
    const [r, g, b] = [0, 1, 2].map(c => Math.round(stops[below][c] * (1 - part) + stops[below + 1][c] * part));
    table[i] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  }
  return table;
}

/// Place of a score in the palette. The root spreads low scores, which most tags have.
export const shade = score => Math.round(255 * Math.sqrt(Math.min(1, Math.max(0, score))));

export function css(word) {
  return `rgb(${word & 255} ${(word >> 8) & 255} ${(word >> 16) & 255})`;
}

export function onThemeChange(listener) {
  dark.addEventListener('change', listener);
}
