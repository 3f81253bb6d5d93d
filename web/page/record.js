// Recording from the microphone to a WAV file, which is then tagged like any other. Samples rather than MediaRecorder:
// its files have no length and differ between browsers.

import { wavBlob } from './wav.js';

/// Longest recording; about 58 MB of samples at 48 kHz.
export const LONGEST_S = 600;

const REASONS = {
  NotAllowedError:
    "The microphone is not permitted. Allow it in the browser's settings for this page, then record again.",
  NotFoundError: 'No microphone was found. Connect one, then record again.',
  NotReadableError: 'The microphone is in use by another program. Close that, then record again.',
};

export class Recording {
  #chunks = [];
  #samples = 0;
  #stream;
  #context;
  #isStopped = false;

  /// Starts to record; `onBlock({ seconds, level })` is called several times a second, `onEnd()` when the device ends
  /// or the recording has its longest length. Rejects with an Error whose message says what to do.
  static async start(onBlock, onEnd) {
    const recording = new Recording();
    try {
      if (!navigator.mediaDevices)
        throw new Error('This browser does not offer the microphone here: open the page over https.');
      // Treatment for speech would remove music.
      const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      recording.#stream = await navigator.mediaDevices.getUserMedia({ audio });
      const context = (recording.#context = new AudioContext());
      await context.audioWorklet.addModule('record-worklet.js');
      const node = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 0 });
      node.port.onmessage = ({ data }) => recording.#take(data, onBlock, onEnd);
      context.createMediaStreamSource(recording.#stream).connect(node);
      recording.#stream.getTracks()[0].addEventListener('ended', onEnd);
      await context.resume();
    } catch (error) {
      await recording.#close();
      throw new Error(REASONS[error.name] ?? `The microphone cannot be recorded: ${error.message}`);
    }
    return recording;
  }

  get seconds() {
    return this.#context ? this.#samples / this.#context.sampleRate : 0;
  }

  #take(block, onBlock, onEnd) {
    if (this.#isStopped) return;
    this.#chunks.push(block);
    this.#samples += block.length;
    let highest = 0;
    for (const sample of block) highest = Math.max(highest, Math.abs(sample));
    onBlock({ seconds: this.seconds, level: highest / 32768 });
    if (this.seconds >= LONGEST_S) onEnd();
  }

  /// Ends the recording and returns it as a file, or `null` if it is shorter than a second.
  async stop() {
    this.#isStopped = true;
    const seconds = this.seconds,
      rate = this.#context.sampleRate;
    await this.#close();
    if (seconds < 1) return null;
    const now = new Date(),
      two = number => String(number).padStart(2, '0');
    const name = `recording ${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())} ${two(now.getHours())}.${two(now.getMinutes())}.${two(now.getSeconds())}.wav`;
    return new File([wavBlob(this.#chunks, rate)], name, { type: 'audio/wav', lastModified: now.getTime() });
  }

  async #close() {
    this.#isStopped = true;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    await this.#context?.close();
  }
}
