// Audio thread of a recording: mixes to mono and sends blocks of 16-bit samples.

class Recorder extends AudioWorkletProcessor {
  #block = new Int16Array(4096);
  #filled = 0;

  process([channels]) {
    if (!channels.length) return true;
    for (let i = 0; i < channels[0].length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.#block[this.#filled++] = 32767 * Math.min(1, Math.max(-1, sum / channels.length));
      if (this.#filled === this.#block.length) {
        this.port.postMessage(this.#block, [this.#block.buffer]);
        this.#block = new Int16Array(4096);
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor('recorder', Recorder);
