// batch_stats: mean and variance of each channel over the whole batch, the same row for every clip.
//
//   mean[c]     = mean over n,f,t of x[n,c,f,t]
//   variance[c] = mean over n,f,t of (x[n,c,f,t] - mean[c])^2
//   y[n]        = (mean[0..C], variance[0..C])
//
// One workgroup makes four neighbouring channels and goes over them twice, so that the variance is taken from
// the true mean.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[N, L, C/4]  (L = F * T)
//   2  y       storage, read_write (only written)  f32[N, 2*C]  (rows padded to YS)
//
// constants  WG threads per workgroup, a power of two
// dispatch   C/4 workgroups, folded over x and y
// numerics   f32; runs of 32 values are summed apart, then over the threads as the reduction says
// includes   element_*, index, and reduce or reduce_subgroup
// host  src/kernels/batch_stats.rs    reference  src/reference/batch_stats.rs

struct Params {
    N: u32,
    ROWS: u32,  // N * L
    C: u32,
    C4: u32,
    YS: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element4>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

override WG: u32 = 256u;

const RUN = 32u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    thread: Thread,
) {
    let c = min(workgroup_index(workgroup, workgroups), params.C4 - 1u);
    let count = f32(params.ROWS);

    // Relative to the first value: the sum keeps its digits however far from zero the channel lies.
    let origin = vec4<f32>(x[c]);
    var sum = vec4<f32>(0.0);
    for (var first = thread.index; first < params.ROWS; first += WG * RUN) {
        var run = vec4<f32>(0.0);
        for (var k = 0u; k < RUN; k++) {
            let row = first + k * WG;
            if row < params.ROWS {
                run += vec4<f32>(x[row * params.C4 + c]) - origin;
            }
        }
        sum += run;
    }
    let mean = origin + reduce_sum4(sum, thread) / count;

    var squares = vec4<f32>(0.0);
    for (var first = thread.index; first < params.ROWS; first += WG * RUN) {
        var run = vec4<f32>(0.0);
        for (var k = 0u; k < RUN; k++) {
            let row = first + k * WG;
            if row < params.ROWS {
                let difference = vec4<f32>(x[row * params.C4 + c]) - mean;
                run += difference * difference;
            }
        }
        squares += run;
    }
    let variance = reduce_sum4(squares, thread) / count;

    for (var n = thread.index; n < params.N; n += WG) {
        for (var lane = 0u; lane < 4u; lane++) {
            let channel = 4u * c + lane;
            if channel < params.C {
                y[n * params.YS + channel] = mean[lane];
                y[n * params.YS + params.C + channel] = variance[lane];
            }
        }
    }
}
