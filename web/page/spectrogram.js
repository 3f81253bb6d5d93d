// Mel spectrograms: reduced to bytes for keeping, and drawn.

import { palette } from './colours.js';

/// Columns that are kept of a track, enough for the widest drawing on a common screen.
const COLUMNS = 720;
/// Range that is shown below the loudest value.
const RANGE_DB = 80;

/// `{ bands, columns, seconds, values }`: a byte per column and band, 255 for the loudest value, 0 for 80 dB below.
export function reduced({ bands, frames, hop, values }) {
  if (!frames) return null;
  let highest = -Infinity;
  for (const value of values) if (value > highest) highest = value;
  const columns = Math.min(COLUMNS, frames),
    bytes = new Uint8Array(columns * bands);
  for (let column = 0; column < columns; column++) {
    const first = Math.floor((column * frames) / columns),
      last = Math.max(first + 1, Math.floor(((column + 1) * frames) / columns));
    for (let band = 0; band < bands; band++) {
      let sum = 0;
      for (let frame = first; frame < last; frame++) sum += values[frame * bands + band];
      const below = highest - sum / (last - first);
      bytes[column * bands + band] = 255 * Math.min(1, Math.max(0, 1 - below / RANGE_DB));
    }
  }
  return { bands, columns, seconds: frames * hop, values: bytes };
}

/// Draws into the left part of `canvas` that the spectrogram has of `seconds`; low frequencies below.
export function drawSpectrogram(canvas, spectrogram, seconds) {
  const { bands, columns, values } = spectrogram;
  const colours = palette(),
    image = new ImageData(columns, bands),
    pixels = new Uint32Array(image.data.buffer);
  for (let column = 0; column < columns; column++) {
    for (let band = 0; band < bands; band++)
      pixels[(bands - 1 - band) * columns + column] = colours[values[column * bands + band]];
  }
  const small = new OffscreenCanvas(columns, bands);
  small.getContext('2d').putImageData(image, 0, 0);
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(small, 0, 0, canvas.width * Math.min(1, spectrogram.seconds / seconds), canvas.height);
}
