// batch_norm: a scale and a shift per channel or per frame; the statistics are folded into them by the host.
//
//   y[n,c,f,t] = x[n,c,f,t] * scale[c] + shift[c]      AXIS 0
//              = x[n,c,f,t] * scale[t] + shift[t]      AXIS 1
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element[N, F, T, C]
//   2  scale   storage, read         f32[C or T]
//   3  shift   storage, read         f32[C or T]
//   4  y       storage, read_write (only written)  Element[N, F, T, C]
//
// constants  WG threads per workgroup; AXIS as above
// dispatch   ceil(N*F*T*C / WG) workgroups, folded over x and y
// numerics   f32
// includes   element_*, index
// host  src/kernels/batch_norm.rs    reference  src/reference/batch_norm.rs

struct Params {
    LEN: u32,  // N * F * T * C
    T: u32,
    C: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read> shift: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<Element>;

override WG: u32 = 64u;
override AXIS: u32 = 0u;

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
    let k = select(index % params.C, index / params.C % params.T, AXIS == 1u);
    y[index] = Element(f32(x[index]) * scale[k] + shift[k]);
}
