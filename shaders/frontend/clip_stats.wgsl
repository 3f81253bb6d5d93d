// clip_stats: maximum, mean and standard deviation of each clip's spectrogram, floored below its maximum.
//
//   maximum = max over f,t of x[n,f,t]         SCOPE 0: of the clip
//           = max over n,f,t of x[n,f,t]       SCOPE 1: of the batch
//   v[f,t]  = max(x[n,f,t], maximum - range_db)
//   y[n]    = (maximum, mean of v, sqrt(mean of (v - mean)^2), 0)    dB
//
// One workgroup goes over a clip three times, so that the deviation is taken from the true mean.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         f32[N, L]
//   2  y       storage, read_write (only written)  vec4<f32>[N]
//
// constants  WG threads per workgroup, a power of two; SCOPE as above
// dispatch   N workgroups, folded over x and y
// numerics   f32; each thread sums L / WG values, then over the threads as the reduction says
// includes   element_*, index, and reduce or reduce_subgroup
// host  src/kernels/clip_stats.rs    reference  src/reference/clip_stats.rs

struct Params {
    N: u32,
    L: u32,
    range_db: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

override WG: u32 = 256u;
override SCOPE: u32 = 0u;

// Values of a thread that are loaded before the first is used: a clip has one workgroup, which waits for memory.
const LOADS = 8u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    thread: Thread,
) {
    let n = min(workgroup_index(workgroup, workgroups), params.N - 1u);
    let start = n * params.L;
    let end = start + params.L;

    // For the maximum of a batch every workgroup reads all of it: batches are small where it is asked for.
    let first = select(start, 0u, SCOPE == 1u);
    let last = select(end, params.N * params.L, SCOPE == 1u);
    var largest = x[first];
    for (var i = first + thread.index; i < last; i += LOADS * WG) {
        for (var l = 0u; l < LOADS; l++) { // unrolled
            largest = max(largest, x[min(i + l * WG, last - 1u)]);
        }
    }
    let maximum = reduce_max(largest, thread);
    let floor_db = maximum - params.range_db;

    var sum = 0.0;
    for (var i = start + thread.index; i < end; i += LOADS * WG) {
        for (var l = 0u; l < LOADS; l++) { // unrolled
            // Relative to the maximum: the sum keeps its digits however loud the clip is.
            let place = i + l * WG;
            sum += select(0.0, max(x[min(place, end - 1u)], floor_db) - maximum, place < end);
        }
    }
    let mean = maximum + reduce_sum(sum, thread) / f32(params.L);

    var squares = 0.0;
    for (var i = start + thread.index; i < end; i += LOADS * WG) {
        for (var l = 0u; l < LOADS; l++) { // unrolled
            let place = i + l * WG;
            let difference = select(0.0, max(x[min(place, end - 1u)], floor_db) - mean, place < end);
            squares += difference * difference;
        }
    }
    let deviation = sqrt(reduce_sum(squares, thread) / f32(params.L));

    if thread.index == 0u {
        y[n] = vec4<f32>(maximum, mean, deviation, 0.0);
    }
}
