// Tags over time as a heat map: a row per tag, a column per clip.

import { css, palette, shade } from './colours.js';

/// Rows that are drawn.
export const ROWS = 12;

const CLIP_S = 29.12;

/// Start and end in seconds of the time that each clip stands for: up to the middle between its centre and the next
/// one's. Where the last clip of a track begins inside the one before, both have half of what they share.
export function spans(clips, seconds) {
  const edge = i => (i === 0 ? 0 : i === clips.length ? seconds : (clips[i - 1].start + clips[i].start + CLIP_S) / 2);
  return clips.map((_, i) => ({ start: edge(i), end: edge(i + 1) }));
}

/// Draws the rows of `labels` (indices) over `seconds` seconds.
export function drawHeatmap(canvas, clips, labels, seconds) {
  const context = canvas.getContext('2d'),
    colours = palette();
  const height = canvas.height / labels.length,
    gap = Math.max(1, Math.round(height / 20));
  context.clearRect(0, 0, canvas.width, canvas.height);
  spans(clips, seconds).forEach(({ start, end }, clip) => {
    // Whole pixels, so that neighbours touch without a seam.
    const left = Math.round((start / seconds) * canvas.width),
      right = Math.round((end / seconds) * canvas.width);
    labels.forEach((label, row) => {
      context.fillStyle = css(colours[shade(clips[clip].scores[label])]);
      context.fillRect(left, Math.round(row * height), Math.max(1, right - left), Math.round(height) - gap);
    });
  });
}

/// Draws the colours of scores from 0 to 1.
export function drawLegend(canvas) {
  const context = canvas.getContext('2d'),
    colours = palette();
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = css(colours[shade(x / (canvas.width - 1))]);
    context.fillRect(x, 0, 1, canvas.height);
  }
}
