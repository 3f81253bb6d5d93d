// Tags over time as a heat map: a row per tag, a column per clip.

import { css, palette, shade } from './colours.js';

/// Rows that are drawn.
export const ROWS = 12;

/// Start and end of each clip in seconds, without overlap: the last clip of a track may begin inside the one before.
export function spans(clips, seconds) {
  return clips.map(({ start }, i) => ({ start, end: i + 1 < clips.length ? clips[i + 1].start : Math.min(seconds, start + 29.12) }));
}

/// Draws the rows of `labels` (indices) over `seconds` seconds.
export function drawHeatmap(canvas, clips, labels, seconds) {
  const context = canvas.getContext('2d'), colours = palette();
  const height = canvas.height / labels.length, gap = Math.max(1, Math.round(height / 20));
  context.clearRect(0, 0, canvas.width, canvas.height);
  spans(clips, seconds).forEach(({ start, end }, clip) => {
    // Whole pixels, so that neighbours touch without a seam.
    const left = Math.round(start / seconds * canvas.width), right = Math.round(end / seconds * canvas.width);
    labels.forEach((label, row) => {
      context.fillStyle = css(colours[shade(clips[clip].scores[label])]);
      context.fillRect(left, Math.round(row * height), Math.max(1, right - left), Math.round(height) - gap);
    });
  });
}

/// Draws the colours of scores from 0 to 1.
export function drawLegend(canvas) {
  const context = canvas.getContext('2d'), colours = palette();
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = css(colours[shade(x / (canvas.width - 1))]);
    context.fillRect(x, 0, 1, canvas.height);
  }
}
