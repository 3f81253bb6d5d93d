// log_mel: log-mel spectrogram; one workgroup makes PAIRS pairs of neighbouring frames of one clip.
//
//   X[t,k]   = sum over s of window[s] * x[n, t*HOP + s - LEFT] * e^(-2 pi i k s / 512)
//   y[n,m,t] = 10 log10(max(POWER_FLOOR, (sum over k of filters[m,k] * |X[t,k]|^2) ^ EXPONENT))    dB
//
// Samples outside the clip are reflected about its ends (REFLECT = 1) or zero. The two frames of a pair are the real
// and the imaginary part of one complex FFT (radix 8, Stockham's order: Govindaraju et al., SC 2008), taken
// apart by symmetry afterwards. A thread keeps its part of the window and its twiddles for all pairs of the workgroup,
// and reads each filter once for all of them.
//
// group(0)
//   0  params    uniform               Params
//   1  x         storage, read         f32[N, S]  (rows of S padded to XS)
//   2  window    storage, read         f32[512]
//   3  twiddles  storage, read         vec2<f32>[512]  (cos, -sin of 2 pi k / 512, made in f64)
//   4  bands     storage, read         vec4<u32>[M]  (first FFT bin, number of bins, place in filters, 0)
//   5  filters   storage, read         f32[]  (the non-zero run of each band)
//   6  y         storage, read_write (only written)  f32[N, M, T]
//
// constants  REFLECT 0 zeros, 1 reflection; EXPONENT of the mel power, 1 or 2
// header     PAIRS pairs of frames per workgroup
// dispatch   N * ceil(ceil(T / 2) / PAIRS) workgroups of 64 threads, folded over x and y
// numerics   f32; a frame leaks into its partner by about 1e-7 of its amplitude
// includes   element_*, index
// host  src/kernels/log_mel.rs    reference  src/reference/log_mel.rs

struct Params {
    N: u32,
    S: u32,
    XS: u32,
    T: u32,
    M: u32,
    HOP: u32,
    LEFT: u32,
    power_floor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> window: array<f32>;
@group(0) @binding(3) var<storage, read> twiddles: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> bands: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> filters: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

override REFLECT: u32 = 1u;
override EXPONENT: u32 = 1u;

const THREADS = 64u;
const BINS = 257u;
const DB_PER_OCTAVE = 3.0102999566398120;  // 10 log10(2)
const SQRT_HALF = 0.70710678118654752;

var<workgroup> spectrum: array<vec2<f32>, 512>;
var<workgroup> power: array<vec2<f32>, PAIRS * BINS>;

fn multiply(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

fn minus_i(a: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(a.y, -a.x);
}

// DFT of eight values in natural order.
fn fft8(v: array<vec2<f32>, 8>) -> array<vec2<f32>, 8> {
    let a0 = v[0] + v[4];
    let a1 = v[1] + v[5];
    let a2 = v[2] + v[6];
    let a3 = v[3] + v[7];
    let d0 = v[0] - v[4];
    let d1 = v[1] - v[5];
    let d2 = v[2] - v[6];
    let d3 = v[3] - v[7];
    let a5 = SQRT_HALF * vec2<f32>(d1.x + d1.y, d1.y - d1.x);
    let a6 = minus_i(d2);
    let a7 = SQRT_HALF * vec2<f32>(d3.y - d3.x, -d3.x - d3.y);

    let b0 = a0 + a2;
    let b1 = a1 + a3;
    let b2 = a0 - a2;
    let b3 = minus_i(a1 - a3);
    let c0 = d0 + a6;
    let c1 = a5 + a7;
    let c2 = d0 - a6;
    let c3 = minus_i(a5 - a7);
    return array<vec2<f32>, 8>(b0 + b1, c0 + c1, b2 + b3, c2 + c3, b0 - b1, c0 - c1, b2 - b3, c2 - c3);
}

// Sample `s` of frame `t` of clip `n`; 0 past the last frame.
fn sample(n: u32, t: u32, s: u32) -> f32 {
    let last = i32(params.S) - 1;
    var i = i32(t * params.HOP + s) - i32(params.LEFT);
    if REFLECT == 1u {
        i = select(i, -i, i < 0);
        i = select(i, 2 * last - i, i > last);
    }
    let inside = i >= 0 && i <= last && t < params.T;
    return select(0.0, x[n * params.XS + u32(clamp(i, 0, last))], inside);
}

// Twiddles of thread j in a radix-8 stage over `done` values that are already transformed.
fn factors(j: u32, done: u32) -> array<vec2<f32>, 8> {
    let step = (j % done) * (64u / done);
    return array<vec2<f32>, 8>(
        twiddles[0],
        twiddles[step],
        twiddles[2u * step],
        twiddles[3u * step],
        twiddles[4u * step],
        twiddles[5u * step],
        twiddles[6u * step],
        twiddles[7u * step],
    );
}

// The elements j + 64 r that thread j holds, each times its twiddle.
fn twiddle(v: array<vec2<f32>, 8>, w: array<vec2<f32>, 8>) -> array<vec2<f32>, 8> {
    return array<vec2<f32>, 8>(
        v[0],
        multiply(v[1], w[1]),
        multiply(v[2], w[2]),
        multiply(v[3], w[3]),
        multiply(v[4], w[4]),
        multiply(v[5], w[5]),
        multiply(v[6], w[6]),
        multiply(v[7], w[7]),
    );
}

fn load(j: u32) -> array<vec2<f32>, 8> {
    return array<vec2<f32>, 8>(
        spectrum[j],
        spectrum[j + 64u],
        spectrum[j + 128u],
        spectrum[j + 192u],
        spectrum[j + 256u],
        spectrum[j + 320u],
        spectrum[j + 384u],
        spectrum[j + 448u],
    );
}

fn store(v: array<vec2<f32>, 8>, j: u32, done: u32) {
    let base = (j / done) * done * 8u + j % done;
    spectrum[base] = v[0];
    spectrum[base + done] = v[1];
    spectrum[base + 2u * done] = v[2];
    spectrum[base + 3u * done] = v[3];
    spectrum[base + 4u * done] = v[4];
    spectrum[base + 5u * done] = v[5];
    spectrum[base + 6u * done] = v[6];
    spectrum[base + 7u * done] = v[7];
}

fn pair(n: u32, t: u32, s: u32, taper: f32) -> vec2<f32> {
    return taper * vec2<f32>(sample(n, t, s), sample(n, t + 1u, s));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) j: u32,
) {
    let groups = ((params.T + 1u) / 2u + PAIRS - 1u) / PAIRS;
    // Surplus workgroups of a folded dispatch repeat the last one: no early return before a barrier.
    let index = min(workgroup_index(workgroup, workgroups), params.N * groups - 1u);
    let n = index / groups;
    let first = 2u * PAIRS * (index % groups);

    let taper = array<f32, 8>(
        window[j],
        window[j + 64u],
        window[j + 128u],
        window[j + 192u],
        window[j + 256u],
        window[j + 320u],
        window[j + 384u],
        window[j + 448u],
    );
    let factors8 = factors(j, 8u);
    let factors64 = factors(j, 64u);
    for (var p = 0u; p < PAIRS; p++) { // unrolled
        // Three radix-8 stages; the first one reads the samples, thread j those at j + 64 r.
        let t = first + 2u * p;
        let samples = array<vec2<f32>, 8>(
            pair(n, t, j, taper[0]),
            pair(n, t, j + 64u, taper[1]),
            pair(n, t, j + 128u, taper[2]),
            pair(n, t, j + 192u, taper[3]),
            pair(n, t, j + 256u, taper[4]),
            pair(n, t, j + 320u, taper[5]),
            pair(n, t, j + 384u, taper[6]),
            pair(n, t, j + 448u, taper[7]),
        );
        workgroupBarrier();
        store(fft8(samples), j, 1u);
        workgroupBarrier();
        let second = load(j);
        workgroupBarrier();
        store(fft8(twiddle(second, factors8)), j, 8u);
        workgroupBarrier();
        let third = load(j);
        workgroupBarrier();
        store(fft8(twiddle(third, factors64)), j, 64u);
        workgroupBarrier();

        // The two frames apart: their spectra are the even and the odd part of the complex one.
        for (var k = j; k < BINS; k += THREADS) {
            let z = spectrum[k];
            let mirrored = spectrum[(512u - k) % 512u];
            let even = vec2<f32>(z.x + mirrored.x, z.y - mirrored.y);
            let odd = vec2<f32>(z.x - mirrored.x, z.y + mirrored.y);
            power[p * BINS + k] = 0.25 * vec2<f32>(dot(even, even), dot(odd, odd));
        }
    }
    workgroupBarrier();

    // A thread per band: the bands overlap, so each reads its own run of bins.
    for (var m = j; m < params.M; m += THREADS) {
        let band = bands[m];
        // Zeros stated: in Chromium 156 with SwiftShader a variable of a loop otherwise keeps its value of the last turn.
        var mel = array<vec2<f32>, PAIRS>();
        for (var k = 0u; k < band.y; k++) {
            let filter_weight = filters[band.z + k];
            for (var p = 0u; p < PAIRS; p++) { // unrolled
                mel[p] += filter_weight * power[p * BINS + band.x + k];
            }
        }
        for (var p = 0u; p < PAIRS; p++) { // unrolled
            var powers = mel[p];
            if EXPONENT == 2u {
                powers *= powers;
            }
            let db = DB_PER_OCTAVE * log2(max(powers, vec2<f32>(params.power_floor)));
            let t = first + 2u * p;
            let row = (n * params.M + m) * params.T + t;
            if t < params.T {
                y[row] = db.x;
            }
            if t + 1u < params.T {
                y[row + 1u] = db.y;
            }
        }
    }
}
