// max_pool2d: the largest value of each window; rows and frames that do not fill a window are dropped.
//
//   y[n,c,f,t] = max over i < PF, j < PT of x[n, c, f*PF+i, t*PT+j]
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element[N, F, T, C]
//   2  y       storage, read_write (only written)  Element[N, FO, TO, C]
//
// constants  WG threads per workgroup
// dispatch   ceil(N*FO*TO*C / WG) workgroups, folded over x and y
// numerics   copies
// includes   element_*, index
// host  src/kernels/max_pool2d.rs    reference  src/reference/max_pool2d.rs

struct Params {
    N: u32,
    F: u32,
    T: u32,
    C: u32,
    FO: u32,
    TO: u32,
    PF: u32,
    PT: u32,
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
    if index >= params.N * params.FO * params.TO * params.C {
        return;
    }
    let c = index % params.C;
    let to = index / params.C % params.TO;
    let fo = index / params.C / params.TO % params.FO;
    let n = index / params.C / params.TO / params.FO;
    let corner = ((n * params.F + fo * params.PF) * params.T + to * params.PT) * params.C + c;
    var largest = x[corner];
    for (var i = 0u; i < params.PF; i++) {
        for (var j = 0u; j < params.PT; j++) {
            largest = max(largest, x[corner + (i * params.T + j) * params.C]);
        }
    }
    y[index] = largest;
}
