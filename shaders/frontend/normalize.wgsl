// normalize: floors, standardises and pads spectrograms, then applies a scale and shift per frame.
//
//   v[f,t]     = max(x[n,f,t], maximum[n] - range_db)                 LEVEL 0: dB as they are
//              = max(x[n,f,t] - maximum[n], -range_db)                LEVEL 1: dB below the maximum
//              = (max(x[n,f,t], maximum[n] - range_db) - mean[n]) / (deviation[n] + epsilon)   LEVEL 2
//   y[n,f,t+LEFT] = v[f,t] * scale[t+LEFT] + shift[t+LEFT], and v = 0 in the padding
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         f32[N, F, T]
//   2  stats   storage, read         vec4<f32>[N]  (maximum, mean, deviation of clip_stats)
//   3  scale   storage, read         f32[TO]
//   4  shift   storage, read         f32[TO]
//   5  y       storage, read_write (only written)  Element[N, F, TO]
//
// constants  WG threads per workgroup; LEVEL as above
// dispatch   ceil(N*F*TO / WG) workgroups, folded over x and y
// numerics   f32
// includes   element_*, index
// host  src/kernels/normalize.rs    reference  src/reference/normalize.rs

struct Params {
    N: u32,
    F: u32,
    T: u32,
    TO: u32,
    LEFT: u32,
    range_db: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> scale: array<f32>;
@group(0) @binding(4) var<storage, read> shift: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<Element>;

override WG: u32 = 64u;
override LEVEL: u32 = 0u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = workgroup_index(workgroup, workgroups) * WG + thread;
    if index >= params.N * params.F * params.TO {
        return;
    }
    let to = index % params.TO;
    let row = index / params.TO;
    let clip = stats[row / params.F];

    var v = 0.0;
    if to >= params.LEFT && to - params.LEFT < params.T {
        let db = x[row * params.T + to - params.LEFT];
        switch LEVEL {
            case 1u: { v = max(db - clip.x, -params.range_db); }
            case 2u: { v = (max(db, clip.x - params.range_db) - clip.y) / (clip.z + params.epsilon); }
            default: { v = max(db, clip.x - params.range_db); }
        }
    }
    y[index] = Element(v * scale[to] + shift[to]);
}
