// Time line of the selected track: spectrogram, heat map and player on one axis.

import { onThemeChange } from './colours.js';
import { at, clock, element, setText } from './dom.js';
import { drawHeatmap, drawLegend, ROWS, spans } from './heatmap.js';
import { drawSpectrogram } from './spectrogram.js';

export class Timeline {
  #result = null;
  /// Labels of the rows, as indices, and the texts of all.
  #labels = [];
  #names = [];
  #seconds = 0;
  #position = 0;
  #address = null;
  #file = null;

  constructor() {
    const player = at('player'),
      area = at('area');
    player.addEventListener('timeupdate', () => this.#follow());
    player.addEventListener('seeking', () => this.#follow());
    player.addEventListener('play', () => this.#run());
    // A place chosen before the player was ready.
    player.addEventListener('loadedmetadata', () => {
      if (this.#position > 0) player.currentTime = this.#position;
    });
    player.addEventListener('error', () => {
      if (!player.hasAttribute('src')) return;
      at('player-note').hidden = false;
      setText(at('player-note'), 'This browser cannot play this file.');
    });
    area.addEventListener('click', event => {
      this.#seek(this.#under(event));
      this.#play();
    });
    area.addEventListener('pointermove', event => this.#point(this.#under(event)));
    area.addEventListener('pointerleave', () => this.#point(null));
    at('timeline').addEventListener('keydown', event => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(area);
    onThemeChange(() => this.#draw());
  }

  /// Gives the player another file, or none.
  listenTo(file) {
    if (this.#file === file) return;
    this.#file = file;
    const player = at('player');
    player.pause();
    at('player-note').hidden = true;
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = file ? URL.createObjectURL(file) : null;
    if (file) player.src = this.#address;
    else player.removeAttribute('src');
    this.#position = 0;
  }

  toggle() {
    if (at('player').paused) this.#play();
    else at('player').pause();
  }

  #play() {
    // A file that cannot be played is said by its `error` event.
    at('player')
      .play()
      .catch(() => {});
  }

  /// Shows a result with the texts of its labels.
  show(result, labels) {
    this.#result = result;
    const { clips, best, spectrogram } = result;
    this.#labels = best.slice(0, ROWS);
    this.#seconds = Math.max(result.seconds ?? 0, spectrogram?.seconds ?? 0, (clips.at(-1)?.start ?? 0) + 1);
    at('labels').replaceChildren(
      ...this.#labels.map(label => element('span', { textContent: labels[label], title: labels[label] })),
    );
    this.#names = labels;
    at('spectrogram').hidden = !spectrogram;
    at('pitch').hidden = !spectrogram;
    at('timeline').setAttribute('aria-valuemax', Math.round(this.#seconds));
    const ticks = [0, 0.25, 0.5, 0.75, 1].map(part => element('span', { textContent: clock(part * this.#seconds) }));
    at('ticks').replaceChildren(...ticks);
    this.#draw();
    this.#follow();
  }

  #draw() {
    if (!this.#result || !at('area').clientWidth) return;
    const ratio = devicePixelRatio || 1;
    for (const canvas of [at('spectrogram'), at('heatmap')]) {
      canvas.width = Math.round(canvas.clientWidth * ratio);
      canvas.height = Math.round(canvas.clientHeight * ratio);
    }
    if (this.#result.spectrogram && at('spectrogram').width)
      drawSpectrogram(at('spectrogram'), this.#result.spectrogram, this.#seconds);
    if (at('heatmap').width) drawHeatmap(at('heatmap'), this.#result.clips, this.#labels, this.#seconds);
    drawLegend(at('legend').querySelector('canvas'));
    this.#place();
  }

  /// While playing, the line moves with every frame; `timeupdate` comes four times a second only.
  #run() {
    const step = () => {
      this.#follow();
      if (!at('player').paused) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  #follow() {
    const player = at('player');
    if (player.readyState > 0) this.#position = player.currentTime;
    this.#place();
  }

  #place() {
    if (!this.#result) return;
    const timeline = at('timeline'),
      whole = Math.round(this.#position);
    at('playhead').style.left = `${100 * Math.min(1, this.#position / this.#seconds)}%`;
    if (timeline.getAttribute('aria-valuenow') !== String(whole)) {
      timeline.setAttribute('aria-valuenow', whole);
      timeline.setAttribute('aria-valuetext', this.#text(this.#position));
    } else if (!timeline.hasAttribute('aria-valuetext'))
      timeline.setAttribute('aria-valuetext', this.#text(this.#position));
    if (at('pointer').hidden) setText(at('readout'), this.#text(this.#position));
  }

  /// "1:02 of 3:50: rock 0.61, indie 0.30, pop 0.22"
  #text(position) {
    const { clips } = this.#result;
    const places = spans(clips, this.#seconds);
    const clip =
      clips[
        Math.max(
          0,
          places.findLastIndex(({ start }) => start <= position),
        )
      ];
    const time = `${clock(position)} of ${clock(this.#seconds)}`;
    if (!clip) return time;
    const best = [...clip.scores.keys()].sort((a, b) => clip.scores[b] - clip.scores[a]).slice(0, 3);
    return `${time}: ${best.map(label => `${this.#names[label]} ${clip.scores[label].toFixed(2)}`).join(', ')}`;
  }

  #under(event) {
    const box = at('area').getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * this.#seconds;
  }

  #point(position) {
    if (!this.#result) return;
    at('pointer').hidden = position === null;
    if (position === null) return this.#place();
    at('pointer').style.left = `${(100 * position) / this.#seconds}%`;
    setText(at('readout'), this.#text(position));
  }

  #seek(position) {
    const player = at('player');
    this.#position = Math.max(0, Math.min(this.#seconds, position));
    if (player.readyState > 0) player.currentTime = this.#position;
    this.#place();
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const moves = {
      ArrowLeft: -5,
      ArrowDown: -5,
      ArrowRight: 5,
      ArrowUp: 5,
      PageDown: -30,
      PageUp: 30,
      Home: -Infinity,
      End: Infinity,
    };
    if (event.key in moves) this.#seek(this.#position + moves[event.key]);
    else if (event.key === 'Enter' || event.key === ' ') this.toggle();
    else return;
    event.preventDefault();
  }
}
