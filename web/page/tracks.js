// The tracks and what is known of them. All changes go through the methods here; the views are told afterwards and read.
//
// A track keeps its File (a reference, not the contents) and its results, never its audio.

import { reduced } from './spectrogram.js';

/// Spectrograms that are kept, about 70 kB each.
const SPECTROGRAMS = 1000;

export class Tracks {
  #listeners = [];
  #byKey = new Map();
  #next = 1;
  /// Tracks with a spectrogram, oldest first.
  #drawn = [];

  list = [];
  selected = null;
  labels = [];

  onChange(listener) {
    this.#listeners.push(listener);
  }

  #changed() {
    for (const listener of this.#listeners) listener();
  }

  /// Adds files; those already in the list are left out. Returns the tracks added.
  add(files) {
    const added = [];
    for (const { file, path } of files) {
      const key = `${path}\n${file.size}\n${file.lastModified}`;
      if (this.#byKey.has(key)) continue;
      const track = {
        id: this.#next++,
        key,
        name: file.name,
        path,
        file,
        state: 'waiting',
        progress: 0,
        error: null,
        result: null,
      };
      this.#byKey.set(key, track);
      this.list.push(track);
      added.push(track);
    }
    if (added.length) this.#changed();
    return added;
  }

  remove(track) {
    const index = this.list.indexOf(track);
    if (index < 0) return;
    this.list.splice(index, 1);
    this.#byKey.delete(track.key);
    this.#drawn = this.#drawn.filter(drawn => drawn !== track);
    if (this.selected === track) this.selected = null;
    this.#changed();
  }

  clear() {
    this.list = [];
    this.#byKey.clear();
    this.#drawn = [];
    this.selected = null;
    this.#changed();
  }

  select(track) {
    if (this.selected === track) return;
    this.selected = track;
    this.#changed();
  }

  next() {
    return this.list.find(track => track.state === 'waiting');
  }

  /// True for a track that was not removed meanwhile.
  has(track) {
    return this.#byKey.get(track.key) === track;
  }

  start(track) {
    Object.assign(track, { state: 'running', progress: 0, error: null });
    this.#changed();
  }

  advance(track, progress) {
    track.progress = progress;
    this.#changed();
  }

  finish(track, result) {
    const { scores, embedding, clips, seconds, warnings, decoder, device, mel } = result;
    const best = [...scores.keys()].sort((a, b) => scores[b] - scores[a]);
    const spectrogram = mel ? reduced(mel) : null;
    track.result = { scores, embedding, clips, seconds, warnings, decoder, device, best, spectrogram };
    track.state = 'done';
    if (spectrogram && this.has(track)) {
      this.#drawn.push(track);
      if (this.#drawn.length > SPECTROGRAMS) this.#drawn.shift().result.spectrogram = null;
    }
    // Something to look at without a click.
    if (!this.selected && this.has(track)) this.selected = track;
    this.#changed();
  }

  fail(track, error) {
    Object.assign(track, { state: 'failed', error, result: null });
    this.#changed();
  }

  /// The running track and all that wait become cancelled.
  cancel() {
    for (const track of this.list)
      if (track.state === 'waiting' || track.state === 'running') track.state = 'cancelled';
    this.#changed();
  }

  /// Puts a track, or all cancelled ones, back to those that wait.
  retry(tracks = this.list.filter(track => track.state === 'cancelled')) {
    for (const track of tracks) this.#reset(track);
    this.#changed();
  }

  /// Other labels: results of the former model are not comparable, so all tracks wait again.
  setLabels(labels, isOtherModel) {
    this.labels = labels;
    if (isOtherModel) {
      for (const track of this.list) this.#reset(track);
      this.#drawn = [];
    }
    this.#changed();
  }

  #reset(track) {
    Object.assign(track, { state: 'waiting', progress: 0, error: null, result: null });
    this.#drawn = this.#drawn.filter(drawn => drawn !== track);
  }
}
