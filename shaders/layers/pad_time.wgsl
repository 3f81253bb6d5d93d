// pad_time: frames of zeros before and after.
//
//   y[n,c,f,t+LEFT] = x[n,c,f,t], and 0 elsewhere
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element[N, F, T, C]
//   2  y       storage, read_write (only written)  Element[N, F, TO, C]
//
// constants  WG threads per workgroup
// dispatch   ceil(N*F*TO*C / WG) workgroups, folded over x and y
// numerics   copies
// includes   element_*, index
// host  src/kernels/pad_time.rs    reference  src/reference/pad_time.rs

struct Params {
    ROWS: u32,  // N * F
    T: u32,
    C: u32,
    TO: u32,
    LEFT: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = workgroup_index(workgroup, workgroups) * WG + thread;
    if index >= params.ROWS * params.TO * params.C {
        return;
    }
    let c = index % params.C;
    let to = index / params.C % params.TO;
    let row = index / params.C / params.TO;
    var v = Element(0.0);
    if to >= params.LEFT && to - params.LEFT < params.T {
        v = x[(row * params.T + to - params.LEFT) * params.C + c];
    }
    y[index] = v;
}
