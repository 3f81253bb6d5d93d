// Button that records from the microphone.

import { at, clock, notify, setText } from './dom.js';
import { LONGEST_S, Recording } from './record.js';

export class Microphone {
  #recording = null;
  #add;

  /// `add(file)` takes a finished recording.
  constructor(add) {
    this.#add = add;
    at('record').addEventListener('click', () => (this.isRecording ? this.stop() : this.#start()));
  }

  get isRecording() {
    return this.#recording !== null;
  }

  async #start() {
    at('record').disabled = true;
    const onBlock = ({ seconds, level }) => {
      setText(at('record-text'), `Stop (${clock(Math.floor(seconds))})`);
      at('record-level').value = level;
    };
    try {
      this.#recording = await Recording.start(onBlock, () => this.stop());
      notify(`Recording; it ends by itself after ${LONGEST_S / 60} minutes.`);
    } catch (error) {
      notify(error.message);
    }
    at('record').disabled = false;
    this.#show();
  }

  async stop() {
    if (!this.#recording) return;
    const ended = this.#recording;
    this.#recording = null;
    this.#show();
    const file = await ended.stop();
    if (!file) return notify('Nothing was kept: the recording is shorter than a second.');
    notify('');
    this.#add(file);
  }

  #show() {
    at('record').setAttribute('aria-pressed', this.isRecording);
    at('record-level').hidden = !this.isRecording;
    setText(at('record-text'), this.isRecording ? 'Stop (0:00)' : 'Record');
  }
}
