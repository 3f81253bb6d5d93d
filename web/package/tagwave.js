// Music tags in a browser: a tagger whose work is done in a worker.

/** Error of a tagger. `kind` is that of the library: input, unsupported, resource, device, ... */
export class TagwaveError extends Error {
  constructor(message, kind) {
    super(message);
    this.name = 'TagwaveError';
    this.kind = kind;
  }
}

const aborted = () => new DOMException('the call was cancelled', 'AbortError');

/** Result of a track. */
class TrackResult {
  constructor(values, labels) {
    Object.assign(this, values);
    Object.defineProperty(this, 'labels', { value: labels });
  }

  /** The tags with the highest scores. */
  top(count = 5) {
    const order = [...this.scores.keys()].sort((a, b) => this.scores[b] - this.scores[a]);
    return order.slice(0, count).map(place => ({ tag: this.labels[place], score: this.scores[place] }));
  }
}

/** A worker and the calls that wait for its answers. */
class WorkerCalls {
  constructor() {
    this.worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
    this.calls = new Map();
    this.last = 0;
    this.worker.onmessage = ({ data }) => this.answer(data);
    // A trap of the module, or a module that cannot be loaded: no call will be answered any more.
    this.worker.onerror = event => this.fail(new TagwaveError(event.message ? `the module failed (${event.message})` : 'the worker stopped', 'internal'));
  }

  answer({ id, progress, result, error }) {
    const call = this.calls.get(id);
    if (!call) return;
    if (progress) return call.onProgress?.(progress);
    this.calls.delete(id);
    if (error?.kind === 'cancelled') call.reject(aborted());
    else if (error) call.reject(new TagwaveError(error.message, error.kind));
    else call.resolve(result);
    if (error?.isFatal) this.fail(new TagwaveError(error.message, error.kind));
  }

  fail(error) {
    this.error = error;
    this.worker.terminate();
    for (const call of this.calls.values()) call.reject(error);
    this.calls.clear();
  }

  /** Sends a message and waits for its answer. Buffers in `moved` belong to the worker afterwards. */
  call(message, moved = [], { signal, onProgress } = {}) {
    if (this.error) return Promise.reject(this.error);
    if (signal?.aborted) return Promise.reject(aborted());
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      let timer;
      const stop = () => {
        this.worker.postMessage({ id, stop: true });
        const late = () => this.fail(new TagwaveError('the worker did not stop within 10 s', 'internal'));
        timer = setTimeout(late, 10_000);
      };
      const end = settle => value => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', stop);
        settle(value);
      };
      this.calls.set(id, { resolve: end(resolve), reject: end(reject), onProgress });
      signal?.addEventListener('abort', stop);
      this.worker.postMessage({ id, ...message }, moved);
    });
  }
}

/** A model on a device. Calls run one at a time, in their order. */
export class Tagger {
  #options;
  #remote;
  #last = Promise.resolve();

  constructor(options, remote, about) {
    this.#options = options;
    this.#remote = remote;
    Object.assign(this, about);
  }

  /**
   * Opens a tagger. `model`: 'small', or the bytes of a model file; `device`: 'auto' (the GPU, else the CPU), 'webgpu' or
   * 'cpu'.
   */
  static async create({ model = 'small', device = 'auto' } = {}) {
    if (!['auto', 'webgpu', 'cpu'].includes(device)) throw new TagwaveError(`device ${device}: expected auto, webgpu or cpu`, 'input');
    if (typeof model === 'string' && model !== 'small') {
      throw new TagwaveError(`model ${model}: expected small, or the bytes of a model file`, 'input');
    }
    const options = { model: typeof model === 'string' ? null : copied(model), device };
    const remote = new WorkerCalls();
    try {
      return new Tagger(options, remote, await remote.call({ create: options }));
    } catch (error) {
      remote.worker.terminate();
      throw error;
    }
  }

  /**
   * Tags the bytes of an audio file, which stay the caller's. `clips`: 'all', or 'one' from the middle; `signal` cancels;
   * `onProgress({ done, total })` counts clips. Formats without a decoder of its own are decoded by the browser.
   */
  async tagFile(bytes, { clips = 'all', ...options } = {}) {
    const copy = copied(bytes);
    try {
      return await this.#tag({ bytes: copy, clips }, [copy.buffer], options);
    } catch (error) {
      if (error.kind !== 'unsupported' || !globalThis.OfflineAudioContext) throw error;
      const decoded = await decodedByBrowser(bytes, error);
      const result = await this.#tag({ ...decoded, clips }, [decoded.samples.buffer], options);
      result.decoder = 'browser';
      return result;
    }
  }

  /** Tags mono samples in -1..1 at a rate in Hz. Options as of `tagFile`. */
  async tag(samples, sampleRate, { clips = 'all', ...options } = {}) {
    const copy = new Float32Array(samples);
    return this.#tag({ samples: copy, sampleRate, clips }, [copy.buffer], options);
  }

  /** The embedding of a file: the features before the last layer, averaged over the clips. */
  async embed(bytes, options) {
    return (await this.tagFile(bytes, options)).embedding;
  }

  // One call at a time is with the worker, so that a file on which the module traps costs that file only.
  #tag(message, moved, options) {
    const result = this.#last.then(() => this.#tagNow(message, moved, options));
    this.#last = result.catch(() => {});
    return result;
  }

  async #tagNow(message, moved, options) {
    if (this.#remote.error && !this.isFreed) await this.#reopen();
    try {
      return new TrackResult(await this.#remote.call({ tag: message }, moved, options), this.labels);
    } catch (error) {
      // The next call opens the device anew.
      if (error.kind === 'device' && !this.isFreed) this.#remote.fail(error);
      throw error;
    }
  }

  async #reopen() {
    const remote = this.#remote = new WorkerCalls();
    try {
      Object.assign(this, await remote.call({ create: this.#options }));
    } catch (error) {
      remote.fail(error);
      throw error;
    }
  }

  /** Ends the worker and frees what it holds. Calls that wait fail. */
  free() {
    this.isFreed = true;
    this.#remote.fail(new TagwaveError('the tagger was freed', 'cancelled'));
  }
}

/**
 * Checks the kernels on a device, 'webgpu' or 'cpu', against their reference implementations. `quick`: one configuration
 * of each test case. `onLine` gets a line for each check, which begins with ok, FAILED or not run.
 */
export async function selftest({ device = 'webgpu', quick = false, onLine, signal } = {}) {
  const remote = new WorkerCalls();
  try {
    return await remote.call({ selftest: { device, quick } }, [], { signal, onProgress: onLine });
  } finally {
    remote.worker.terminate();
  }
}

/** A laboratory for kernels on the visitor's GPU. */
export class KernelLab {
  #remote;

  constructor(remote, { device, kernels }) {
    this.#remote = remote;
    this.device = device;
    this.kernels = kernels;
  }

  static async create() {
    const remote = new WorkerCalls();
    try {
      return new KernelLab(remote, await remote.call({ lab: { call: 'open' } }));
    } catch (error) {
      remote.worker.terminate();
      throw error;
    }
  }

  /** Text of a built-in kernel with its contract, to begin with; null for an unknown name. */
  template(name) {
    return this.#remote.call({ lab: { call: 'template', name } });
  }

  /** Names of the layers of the models that a kernel can run. */
  layers(source) {
    return this.#remote.call({ lab: { call: 'layers', source } });
  }

  /** Compares a kernel with the reference implementation on all test cases of its op; their number. */
  check(source, { onLine, signal } = {}) {
    return this.#remote.call({ lab: { call: 'check', source } }, [], { signal, onProgress: onLine });
  }

  /** Times a kernel on a layer beside the built-in ones; records, that of the kernel first. */
  time(source, layer) {
    return this.#remote.call({ lab: { call: 'time', source, name: layer } });
  }

  free() {
    this.#remote.fail(new TagwaveError('the laboratory was freed', 'cancelled'));
  }
}

function copied(bytes) {
  if (!(bytes instanceof ArrayBuffer || bytes instanceof Uint8Array)) {
    throw new TagwaveError('expected an ArrayBuffer or a Uint8Array', 'input');
  }
  return new Uint8Array(bytes instanceof ArrayBuffer ? bytes.slice(0) : bytes);
}

// The browser decodes a file as a whole; of this many bytes it may make some gigabytes of samples.
const MOST_BYTES = 64 * 2 ** 20;

// The browser resamples to the rate of the context; the usual rate of music keeps most files as they are.
async function decodedByBrowser(bytes, first) {
  const sampleRate = 44100;
  if (bytes.byteLength > MOST_BYTES) {
    throw new TagwaveError(`${first.message}; the browser's decoder takes at most ${MOST_BYTES >> 20} MiB`, 'resource');
  }
  try {
    const audio = await new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(copied(bytes).buffer);
    const samples = new Float32Array(audio.length);
    for (let channel = 0; channel < audio.numberOfChannels; channel++) {
      const values = audio.getChannelData(channel);
      for (let at = 0; at < values.length; at++) samples[at] += values[at] / audio.numberOfChannels;
    }
    return { samples, sampleRate };
  } catch {
    throw first;
  }
}
