// The tagger: which model, on which device, and what to do when a device fails.

import { installed } from './offline.js';

/// Advice per kind of error: what the visitor can do.
const ADVICE = {
  input: 'The file is damaged or holds no audio. Check that a music player plays it.',
  unsupported:
    'Neither tagwave nor this browser can decode this format. Convert it to FLAC, MP3, Ogg or WAV and add that file.',
  resource:
    'Too little memory, or the file was moved or changed. Close other tabs or add the file again; cut very long files into parts.',
  device: 'The device failed. Choose the CPU under “Run on” at the top, then try again.',
  internal: 'This is an error of tagwave itself. Please report it with the text above.',
};

/// Error as it is kept and shown. `error` may be of the package or of the browser.
export function described(error) {
  const kind =
    error.kind ??
    (/NotFound|NotReadable|Quota/.test(error.name) || error instanceof RangeError ? 'resource' : 'internal');
  return {
    kind,
    message: (error.message || String(error)).replace(/\.$/, ''),
    advice: ADVICE[kind] ?? ADVICE.internal,
  };
}

export class Engine {
  #package = null;
  #tagger = null;
  #listener;
  /// Number of the latest `open`: an older one that ends later is given up.
  #latest = 0;

  /// 'loading', 'ready' or 'failed'.
  state = 'loading';
  /// `{ kind, name, note }` once ready.
  device = null;
  error = null;
  /// `{ name, file }`; the file is null for the built-in model.
  model = { name: 'small', file: null };

  constructor(listener) {
    this.#listener = listener;
  }

  get labels() {
    return this.#tagger?.labels ?? [];
  }

  /// Opens a tagger. If it cannot be opened, the former one stays in use and the promise rejects.
  async open({ model = this.model, device = 'auto' } = {}) {
    const number = ++this.#latest;
    if (!this.#tagger) {
      this.state = 'loading';
      this.#listener();
    }
    try {
      if (!this.#package) {
        await installed();
        this.#package = await import('./package/tagwave.js');
      }
      const tagger = await this.#package.Tagger.create({
        model: model.file ? await model.file.arrayBuffer() : 'small',
        device,
      });
      if (number !== this.#latest) {
        tagger.free();
        return;
      }
      this.#tagger?.free();
      this.#tagger = tagger;
      const { kind, name, note } = tagger.device;
      Object.assign(this, { model, state: 'ready', error: null, device: { kind, name, note } });
    } catch (error) {
      if (number !== this.#latest) return;
      if (!this.#tagger) Object.assign(this, { state: 'failed', error: described(error) });
      throw error;
    } finally {
      if (number === this.#latest) this.#listener();
    }
  }

  /// Tags a file. If the GPU fails at it, the CPU takes over for this file and those after it.
  async tag(file, { signal, onProgress }) {
    const options = { name: file.name, clips: 'all', signal, onProgress };
    try {
      // Read here, so that the contents of one file only are in memory.
      return await this.#tagger.tagFile(await file.arrayBuffer(), options);
    } catch (error) {
      if (error.kind !== 'device' || this.device.kind === 'cpu' || signal.aborted) throw error;
      await this.open({ device: 'cpu' });
      signal.throwIfAborted();
      this.device.note = `The GPU failed (${error.message}), so the CPU is used.`;
      this.#listener();
      return await this.#tagger.tagFile(await file.arrayBuffer(), options);
    }
  }
}
