// dense_direct: a matrix product with bias and activation; one thread makes four neighbouring outputs of a row.
//
//   y[r,o] = act(b[o] + sum over d of x[r,d] * w[d,o])
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[R, D/4]
//   2  w       storage, read         vec4<f32>[D, O/4]
//   3  b       storage, read         vec4<f32>[O/4]
//   4  y       storage, read_write (only written)  vec4<f32>[R, O/4]
//
// constants  ACT index into common/activation.wgsl
// header     WG threads per workgroup
// dispatch   ceil(R*O/4 / WG) workgroups, folded over x and y
// numerics   sums in f32, in the order of d
// includes   element_*, activation, index
// host  src/kernels/dense.rs    reference  src/reference/dense.rs

struct Params {
    R: u32,
    D4: u32,
    O4: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element4>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = workgroup_index(workgroup, workgroups) * WG + thread;
    if index >= params.R * params.O4 {
        return;
    }
    let o = index % params.O4;
    let r = index / params.O4;
    var sum = b[o];
    for (var d = 0u; d < params.D4; d++) {
        let v = vec4<f32>(x[r * params.D4 + d]);
        let column = 4u * d * params.O4 + o;
        sum += v.x * w[column];
        sum += v.y * w[column + params.O4];
        sum += v.z * w[column + 2u * params.O4];
        sum += v.w * w[column + 3u * params.O4];
    }
    y[index] = activate4(sum);
}
