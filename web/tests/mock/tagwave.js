// Stand-in for the package in tests of the page: the same interface, with scores made up from the file's bytes.

const LABELS = (
  'rock|pop|alternative|indie|electronic|female vocalists|dance|00s|alternative rock|jazz|beautiful|metal|chillout|' +
  'male vocalists|classic rock|soul|indie rock|Mellow|electronica|80s|folk|90s|chill|instrumental|punk|oldies|blues|hard rock|ambient|' +
  'acoustic|experimental|female vocalist|guitar|Hip-Hop|70s|party|country|easy listening|sexy|catchy|funk|electro|heavy metal|' +
  'Progressive rock|60s|rnb|indie pop|sad|House|happy'
).split('|');
const CLIP_S = 29.12;

export class TagwaveError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = 'TagwaveError';
    this.kind = kind;
  }
}

export class Tagger {
  #queue = Promise.resolve();
  labels = LABELS;

  static async create({ model = 'small', device = 'auto' } = {}) {
    if (model instanceof ArrayBuffer && !new TextDecoder().decode(model.slice(0, 64)).includes('tagwave mock')) {
      throw new TagwaveError('input', 'not a model file');
    }
    const adapter = await navigator.gpu?.requestAdapter();
    if (device === 'webgpu' && !adapter) throw new TagwaveError('device', 'no WebGPU adapter');
    const tagger = new Tagger();
    tagger.model = model instanceof ArrayBuffer ? 'own' : model;
    if (model instanceof ArrayBuffer) tagger.labels = LABELS.map(label => `own ${label}`);
    tagger.device =
      adapter && device !== 'cpu'
        ? { kind: 'webgpu', name: `${adapter.info?.vendor} ${adapter.info?.architecture}`, note: '' }
        : { kind: 'cpu', name: '', note: adapter ? '' : 'This browser has no WebGPU adapter, so the CPU is used.' };
    return tagger;
  }

  tagFile(buffer, options = {}) {
    const run = this.#queue.then(() => this.#tag(new Uint8Array(buffer), options));
    this.#queue = run.catch(() => {});
    return run;
  }

  async #tag(bytes, { name, signal, onProgress }) {
    if (name.includes('device lost') && this.device.kind === 'webgpu') throw new TagwaveError('device', 'device lost');
    const magic = new TextDecoder('latin1').decode(bytes.slice(0, 4));
    if (!['RIFF', 'OggS', 'fLaC'].includes(magic)) throw new TagwaveError('unsupported', 'no decoder for this format');
    const view = new DataView(bytes.buffer);
    const seconds = magic === 'RIFF' ? view.getUint32(40, true) / view.getUint32(28, true) : 32;
    const count = Math.max(1, Math.ceil(seconds / CLIP_S)),
      clips = [];
    let seed = bytes.length;
    for (let i = 44; i < Math.min(bytes.length, 20000); i++) seed = (Math.imul(seed, 31) + bytes[i]) | 0;
    const random = () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      return (seed >>> 0) / 2 ** 32;
    };
    const base = LABELS.map(() => random() ** 6);
    for (let done = 0; done < count; done++) {
      signal?.throwIfAborted();
      await new Promise(resolve => setTimeout(resolve, 40));
      signal?.throwIfAborted();
      clips.push({
        start: Math.max(0, Math.min(done * CLIP_S, seconds - CLIP_S)),
        scores: Float32Array.from(base, value => value * (0.5 + random() / 2)),
      });
      onProgress?.({ done: done + 1, total: count });
    }
    const scores = Float32Array.from(
      LABELS,
      (_, label) => clips.reduce((sum, clip) => sum + clip.scores[label], 0) / count,
    );
    const embedding = Float32Array.from({ length: 32 }, () => 1 + random());
    const hop = 256 / 12000,
      frames = Math.ceil(seconds / hop);
    const values = Float32Array.from({ length: frames * 96 }, (_, i) => {
      const frame = Math.floor(i / 96),
        band = i % 96;
      const harmonic = Math.cos((band - 8 * Math.sin(frame / 200)) * 0.9) ** 8,
        beat = Math.exp(-(frame % 24) / 8);
      return -75 + 45 * harmonic * (1 - band / 130) + 25 * beat + 6 * random();
    });
    const { labels } = this;
    return {
      scores,
      embedding,
      clips,
      seconds,
      warnings: seconds < CLIP_S ? [`shorter than a clip: ${seconds} s`] : [],
      decoder: 'symphonia',
      device: this.device.kind,
      mel: { bands: 96, frames, hop, values },
      top: n =>
        [...scores.keys()]
          .sort((a, b) => scores[b] - scores[a])
          .slice(0, n)
          .map(i => ({ tag: labels[i], score: scores[i] })),
    };
  }

  free() {}
}
