/** Error of a tagger. */
export class TagwaveError extends Error {
  /** Kind of the library's error (`input`, `unsupported`, `resource`, `device`, `internal`, ...), `cancelled`, or `kernel`. */
  readonly kind: string;
}

export interface TaggerOptions {
  /** The built-in model, or the bytes of a model file (.safetensors, .hdf5). */
  model?: 'small' | ArrayBuffer | Uint8Array;
  /** `auto`: the GPU, else the CPU. */
  device?: 'auto' | 'webgpu' | 'cpu';
}

export interface TagOptions {
  /** Clips of the whole track, or one from its middle. Default: `all`. */
  clips?: 'all' | 'one';
  /** Cancels the call between two clips; it then rejects with an `AbortError`. */
  signal?: AbortSignal;
  /** Called with the number of clips. */
  onProgress?: (progress: { done: number; total: number }) => void;
}

export interface Tag {
  tag: string;
  /** 0..1 */
  score: number;
}

export interface Spectrogram {
  /** Number of mel bands. */
  bands: number;
  /** Number of frames; the first one is at the start of the first clip. */
  frames: number;
  /** Seconds between two frames. */
  hop: number;
  /** dB, `[frames, bands]`. */
  values: Float32Array;
}

export interface TrackResult {
  /** Scores in the order of the labels, 0..1, the mean over the clips. */
  readonly scores: Float32Array;
  /** Features before the last layer, the mean over the clips. */
  readonly embedding: Float32Array;
  /** Start in seconds and scores of each clip. */
  readonly clips: { start: number; scores: Float32Array }[];
  /** Length of the track in seconds. */
  readonly seconds: number | null;
  readonly warnings: string[];
  /** `browser` if the browser decoded the file, `samples` for samples. */
  readonly decoder: string;
  readonly device: 'webgpu' | 'cpu';
  readonly mel: Spectrogram | null;
  readonly labels: string[];
  /** The tags with the highest scores. Default: 5. */
  top(count?: number): Tag[];
}

export interface SelftestLine {
  /** Begins with `ok`, `FAILED` or `not run`. */
  line: string;
  done: number;
  total: number;
}

/** Checks the kernels on a device against their reference implementations. */
export function selftest(options?: {
  device?: 'webgpu' | 'cpu';
  /** One configuration of each test case, and no large ones. */
  quick?: boolean;
  onLine?: (line: SelftestLine) => void;
  signal?: AbortSignal;
}): Promise<{ total: number; failed: number; device: string }>;

/** Times of a kernel on a layer, as a line of the project's benches/records. */
export interface KernelRecord {
  adapter: string;
  layer: string;
  /** Built-in kernel and its constants. */
  kernel?: string;
  /** Contract of the caller's kernel. */
  user_kernel?: string;
  default: boolean;
  median_ms: number;
  least_ms: number;
  most_ms: number;
  gflops: number;
  gbytes: number;
  /** Largest difference from the results of the default kernel. */
  error: number;
  [key: string]: unknown;
}

/** A laboratory for kernels on the visitor's GPU. */
export class KernelLab {
  static create(): Promise<KernelLab>;
  readonly device: string;
  /** Names of the built-in kernels. */
  readonly kernels: string[];
  template(name: string): Promise<string | null>;
  layers(source: string): Promise<string[]>;
  check(source: string, options?: { onLine?: (line: SelftestLine) => void; signal?: AbortSignal }): Promise<number>;
  time(source: string, layer: string): Promise<KernelRecord[]>;
  free(): void;
}

/** A model on a device, in a worker. Calls run one at a time, in their order. */
export class Tagger {
  static create(options?: TaggerOptions): Promise<Tagger>;
  readonly model: string;
  readonly labels: string[];
  readonly device: { kind: 'webgpu' | 'cpu'; name: string; note: string };
  /** Tags the bytes of an audio file. */
  tagFile(bytes: ArrayBuffer | Uint8Array, options?: TagOptions): Promise<TrackResult>;
  /** Tags mono samples in -1..1 at a rate in Hz. */
  tag(samples: Float32Array | number[], sampleRate: number, options?: TagOptions): Promise<TrackResult>;
  /** The embedding of an audio file. */
  embed(bytes: ArrayBuffer | Uint8Array, options?: TagOptions): Promise<Float32Array>;
  /** Ends the worker and frees what it holds. */
  free(): void;
}
