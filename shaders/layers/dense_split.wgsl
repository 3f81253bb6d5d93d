// dense_split: a matrix product with bias and activation whose sums are shared out, for few rows and a long D.
//
//   y[r,o] = act(b[o] + sum over d of x[r,d] * w[d,o])
//
// A workgroup makes TX*4 columns of one row. The vec4s of D are dealt out to KS slices of TX threads, whose sums are
// added at the end, always in the same order (split-K).
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[R, D/4]
//   2  w       storage, read         vec4<f32>[D, O/4]
//   3  b       storage, read         vec4<f32>[O/4]
//   4  y       storage, read_write (only written)  vec4<f32>[R, O/4]
//
// constants  ACT index into common/activation.wgsl
// header     TX threads of a slice, each with a vec4 of columns; KS slices
// dispatch   R * ceil(O/4 / TX) workgroups of TX*KS threads, folded over x and y
// numerics   sums in f32: each slice in the order of d, then the slices
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

var<workgroup> partial: array<vec4<f32>, TX * KS>;

@compute @workgroup_size(TX * KS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slice = thread / TX;
    let blocks = (params.O4 + TX - 1u) / TX;
    let index = workgroup_index(workgroup, workgroups);
    let r = index / blocks;
    let o = index % blocks * TX + thread % TX;
    let inside = r < params.R && o < params.O4;

    var sum = vec4<f32>(0.0);
    if inside {
        for (var d = slice; d < params.D4; d += KS) {
            let v = vec4<f32>(x[r * params.D4 + d]);
            let column = 4u * d * params.O4 + o;
            sum += v.x * w[column];
            sum += v.y * w[column + params.O4];
            sum += v.z * w[column + 2u * params.O4];
            sum += v.w * w[column + 3u * params.O4];
        }
    }
    partial[thread] = sum;
    workgroupBarrier();
    if inside && slice == 0u {
        for (var s = 1u; s < KS; s++) {
            sum += partial[s * TX + thread];
        }
        y[r * params.O4 + o] = activate4(b[o] + sum);
    }
}
