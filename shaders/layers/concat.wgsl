// concat: two feature vectors of each clip, one behind the other.
//
//   y[n] = (a[n,0..DA], b[n,0..DB])
//
// group(0)
//   0  params  uniform               Params
//   1  a       storage, read         f32[N, DA]  (rows padded to AS)
//   2  b       storage, read         f32[N, DB]  (rows padded to BS)
//   3  y       storage, read_write (only written)  f32[N, DA+DB]  (rows padded to YS)
//
// constants  WG threads per workgroup
// dispatch   ceil(N*YS / WG) workgroups, folded over x and y
// numerics   copies
// includes   element_*, index
// host  src/kernels/concat.rs    reference  src/reference/concat.rs

struct Params {
    N: u32,
    DA: u32,
    AS: u32,
    DB: u32,
    BS: u32,
    YS: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = workgroup_index(workgroup, workgroups) * WG + thread;
    if index >= params.N * params.YS {
        return;
    }
    let d = index % params.YS;
    let n = index / params.YS;
    var v = 0.0;  // padding
    if d < params.DA {
        v = a[n * params.AS + d];
    } else if d - params.DA < params.DB {
        v = b[n * params.BS + d - params.DA];
    }
    y[index] = v;
}
