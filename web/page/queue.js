// Tags the waiting tracks one after the other.

import { described } from './engine.js';

/// Largest file that is read; a browser holds it in memory as a whole.
const LARGEST = 1 << 30;

export class Queue {
  #tracks;
  #engine;
  #listener;
  #abort = null;
  /// Tracks of this run, for the time left.
  #run = [];
  #startedAt = 0;
  #holds = 0;

  isRunning = false;

  constructor(tracks, engine, listener) {
    this.#tracks = tracks;
    this.#engine = engine;
    this.#listener = listener;
  }

  /// Starts, unless it runs already or the tagger is not ready.
  async start() {
    if (this.isRunning || this.#holds || this.#engine.state !== 'ready' || !this.#tracks.next()) return;
    this.isRunning = true;
    this.#run = [];
    this.#startedAt = performance.now();
    let track;
    while (!this.#holds && (track = this.#tracks.next())) await this.#tag(track);
    this.isRunning = false;
    this.#listener();
  }

  async #tag(track) {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#tracks.start(track);
    this.#run.push(track);
    // Of a track that was cancelled, removed or put back meanwhile nothing is kept.
    const isCurrent = () => !signal.aborted && track.state === 'running' && this.#tracks.has(track);
    try {
      if (track.file.size > LARGEST) {
        throw Object.assign(new Error('larger than 1 GiB'), { kind: 'resource' });
      }
      const onProgress = ({ done, total }) => {
        if (isCurrent()) this.#tracks.advance(track, total ? done / total : 0);
      };
      const result = await this.#engine.tag(track.file, { signal, onProgress });
      if (isCurrent()) this.#tracks.finish(track, result);
    } catch (error) {
      if (isCurrent()) this.#tracks.fail(track, described(error));
    }
  }

  /// Stops the running track and those that wait.
  cancel() {
    this.#tracks.cancel();
    this.#abort?.abort();
  }

  /// Stops the running track, which was removed.
  abandon() {
    this.#abort?.abort();
  }

  /// Tags nothing while `work` replaces the tagger; the running track waits again.
  async during(work) {
    this.#holds++;
    const running = this.#run.at(-1);
    if (running?.state === 'running') this.#tracks.retry([running]);
    this.#abort?.abort();
    try {
      await work();
    } finally {
      this.#holds--;
      this.start();
    }
  }

  /// `{ track, place, count, part, seconds }` of this run: the running track, its place among all, the part of all
  /// bytes that are done, and an estimate of the time left (null at first).
  progress() {
    const waiting = this.#tracks.list.filter(track => track.state === 'waiting');
    const size = track => Math.max(1, track.file.size);
    let done = 0;
    for (const track of this.#run) done += size(track) * (track.state === 'running' ? track.progress : 1);
    const running = this.#run.at(-1);
    let left = waiting.reduce((sum, track) => sum + size(track), 0);
    if (running?.state === 'running') left += size(running) * (1 - running.progress);
    const elapsed = (performance.now() - this.#startedAt) / 1000;
    return {
      track: running,
      place: this.#run.length,
      count: this.#run.length + waiting.length,
      part: done / (done + left || 1),
      seconds: done > 0 && elapsed > 3 ? (elapsed * left) / done : null,
    };
  }
}
