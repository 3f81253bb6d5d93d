// The worker of a tagger: loads the module, and answers one message after the other.
import load, { KernelLab, Selftest, WebTagger } from './tagwave_web.js';

// An error in a callback of the browser would leave its call without an answer; the owner of the worker ends it.
self.addEventListener('unhandledrejection', event => { setTimeout(() => { throw event.reason; }); });

const loaded = load({ module_or_path: new URL('./tagwave_web_bg.wasm', import.meta.url) });
const stopped = new Set();
let tagger = null, kernels = null;
let queue = Promise.resolve();

self.onmessage = ({ data }) => {
  if (data.stop) {
    stopped.add(data.id);
  } else {
    queue = queue.then(() => answer(data));
  }
};

async function answer(message) {
  const { id } = message;
  try {
    await loaded;
    const work = message.create ? create : message.selftest ? selftest : message.lab ? lab : tag;
    const [result, moved] = await work(message);
    self.postMessage({ id, result }, moved);
  } catch (error) {
    // After a trap or a full stack the module's memory may be inconsistent.
    const isFatal = error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
    const text = isFatal ? `the module failed (${error.message})` : String(error.message ?? error);
    self.postMessage({ id, error: { message: text, kind: error.kind ?? 'internal', isFatal } });
  } finally {
    stopped.delete(id);
  }
}

async function create({ create: { model, device } }) {
  tagger = await WebTagger.create(model ?? undefined, device);
  const about = {
    model: tagger.model(),
    labels: tagger.labels(),
    device: { kind: tagger.deviceKind(), name: await deviceName(tagger.deviceKind()), note: tagger.deviceNote() },
  };
  return [about, []];
}

// Every line is a progress message.
async function selftest({ id, selftest: { device, quick } }) {
  const checks = await Selftest.create(device, quick);
  const total = checks.left();
  let failed = 0;
  for (let line = await checks.next(); line !== undefined; line = await checks.next()) {
    failed += line.startsWith('FAILED');
    self.postMessage({ id, progress: { line, done: total - checks.left(), total } });
    await readMessages();
    if (stopped.has(id)) throw Object.assign(new Error('cancelled'), { kind: 'cancelled' });
  }
  return [{ total, failed, device: await deviceName(device) }, []];
}

const adapterInfo = async () =>
  (await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' }))?.info ?? {};

// Browsers tell vendor and architecture, such as `nvidia ada`, and seldom more.
async function deviceName(kind) {
  if (kind === 'cpu') return 'WebAssembly';
  const info = await adapterInfo();
  return info.description || [info.vendor, info.architecture].filter(Boolean).join(' ') || 'WebGPU';
}

// Calls of the kernel laboratory, by name.
async function lab({ id, lab: { call, source, name } }) {
  if (call === 'open') {
    const { vendor = '' } = await adapterInfo();
    const device = await deviceName('webgpu');
    kernels = await KernelLab.create(device, vendor, navigator.userAgent);
    return [{ device, kernels: kernels.kernelNames() }, []];
  }
  if (call === 'template') return [kernels.template(name) ?? null, []];
  if (call === 'layers') return [kernels.layers(source), []];
  if (call === 'time') return [(await kernels.time(source, name)).map(line => JSON.parse(line)), []];
  const total = kernels.beginChecks(source);
  for (let done = 1, line = await kernels.nextCheck(); line !== undefined; line = await kernels.nextCheck()) {
    self.postMessage({ id, progress: { line, done: done++, total } });
    await readMessages();
    if (stopped.has(id)) throw Object.assign(new Error('cancelled'), { kind: 'cancelled' });
  }
  return [total, []];
}

// Messages that arrived in the meantime, such as a cancellation, are read here.
const readMessages = () => new Promise(resolve => setTimeout(resolve));

async function tag({ id, tag: { bytes, samples, sampleRate, clips } }) {
  const all = clips === 'all';
  const track = bytes ? tagger.openFile(bytes, all) : tagger.openSamples(samples, sampleRate, all);
  try {
    do {
      self.postMessage({ id, progress: { done: track.done(), total: all ? track.total() : 1 } });
      await readMessages();
      if (stopped.has(id)) throw Object.assign(new Error('cancelled'), { kind: 'cancelled' });
    } while (await track.next(tagger));
    return result(track);
  } finally {
    track.free();
  }
}

function result(track) {
  const starts = track.starts(), scores = track.clipScores();
  const mel = spectrogram(track);
  const found = {
    scores: track.scores(),
    embedding: track.embedding(),
    clips: [...starts].map((start, place) => ({ start, scores: scores[place] })),
    seconds: track.seconds() ?? null,
    warnings: track.warnings(),
    decoder: track.decoder() === 'none' ? 'samples' : track.decoder(),
    device: tagger.deviceKind(),
    mel,
  };
  return [found, mel ? [mel.values.buffer] : []];
}

// One spectrogram of all clips, frame by frame. The last clip of a track overlaps the one before: its first frames are
// left out.
function spectrogram(track) {
  const bands = tagger.melBands(), hop = tagger.melHop();
  const clips = track.spectrograms(), starts = track.starts();
  if (!bands || !clips.length || !clips[0].length) return null;
  const parts = [];
  let frames = 0;
  clips.forEach((clip, place) => {
    const length = clip.length / bands;
    const first = Math.min(length, Math.max(0, frames - Math.round(starts[place] / hop)));
    const part = new Float32Array((length - first) * bands);
    for (let frame = first; frame < length; frame++) {
      for (let band = 0; band < bands; band++) part[(frame - first) * bands + band] = clip[band * length + frame];
    }
    parts.push(part);
    frames += length - first;
  });
  const values = new Float32Array(frames * bands);
  let at = 0;
  for (const part of parts) { values.set(part, at); at += part.length; }
  // A short track is padded to a clip; its frames end with its audio.
  const audio = Math.ceil(((track.seconds() ?? Infinity) - starts[0]) / hop);
  const kept = Math.min(frames, Math.max(1, audio));
  return { bands, frames: kept, hop, values: values.slice(0, kept * bands) };
}
