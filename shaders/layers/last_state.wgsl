// last_state: the last frame of each clip's sequence.
//
//   y[n,d] = x[n, T-1, d]
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         f32[N, T, D]
//   2  y       storage, read_write (only written)  f32[N, D]
//
// constants  WG threads per workgroup
// dispatch   ceil(N*D / WG) workgroups, folded over x and y
// numerics   copies
// includes   element_*, index
// host  src/kernels/last_state.rs    reference  src/reference/last_state.rs

struct Params {
    N: u32,
    T: u32,
    D: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = workgroup_index(workgroup, workgroups) * WG + thread;
    if index >= params.N * params.D {
        return;
    }
    let n = index / params.D;
    y[index] = x[(n * params.T + params.T - 1u) * params.D + index % params.D];
}
