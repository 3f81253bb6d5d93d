// activation: an activation function, element by element.
//
//   y[i] = act(x[i])
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element[LEN]
//   2  y       storage, read_write (only written)  Element[LEN]
//
// constants  WG threads per workgroup; ACT index into common/activation.wgsl
// dispatch   ceil(LEN / WG) workgroups, folded over x and y
// numerics   f32
// includes   element_*, activation, index
// host  src/kernels/activation.rs    reference  src/reference/activation.rs

struct Params {
    LEN: u32,
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
    if index >= params.LEN {
        return;
    }
    y[index] = Element(activate(f32(x[index])));
}
