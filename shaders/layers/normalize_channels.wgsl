// normalize_channels: batch normalisation with statistics that are made on the device.
//
//   y[n,c,f,t] = (x[n,c,f,t] - mean[n,c]) * gamma[c] / sqrt(variance[n,c] + epsilon) + beta[c]
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element[N, L, C]  (L = F * T)
//   2  stats   storage, read         f32[N, 2*C]  (mean, then variance; rows padded to SS)
//   3  gamma   storage, read         f32[C]
//   4  beta    storage, read         f32[C]
//   5  y       storage, read_write (only written)  Element[N, L, C]
//
// constants  WG threads per workgroup
// dispatch   ceil(N*L*C / WG) workgroups, folded over x and y
// numerics   f32
// includes   element_*, index
// host  src/kernels/normalize_channels.rs    reference  src/reference/normalize_channels.rs

struct Params {
    LEN: u32,  // N * L * CS
    L: u32,
    C: u32,
    CS: u32,  // C as it is stored
    SS: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> gamma: array<f32>;
@group(0) @binding(4) var<storage, read> beta: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<Element>;

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = workgroup_index(workgroup, workgroups) * WG + thread;
    if index >= params.LEN {
        return;
    }
    let c = index % params.CS;
    let n = index / params.CS / params.L;
    var v = 0.0;  // padding channels
    if c < params.C {
        let mean = stats[n * params.SS + c];
        let variance = stats[n * params.SS + params.C + c];
        v = (f32(x[index]) - mean) * (gamma[c] / sqrt(variance + params.epsilon)) + beta[c];
    }
    y[index] = Element(v);
}
