// mean_pool2d: the mean of each channel over frequency and time; one workgroup per clip and four channels.
//
//   y[n,c] = mean over f,t of x[n,c,f,t]
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[N, L, C/4]  (L = F * T)
//   2  y       storage, read_write (only written)  vec4<f32>[N, C/4]
//
// constants  WG threads per workgroup, a power of two
// dispatch   N * C/4 workgroups, folded over x and y
// numerics   f32; each thread sums L / WG values, then over the threads as the reduction says
// includes   element_*, index, and reduce or reduce_subgroup
// host  src/kernels/mean_pool2d.rs    reference  src/reference/mean_pool2d.rs

struct Params {
    ROWS: u32,  // N * C4
    L: u32,
    C4: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element4>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    thread: Thread,
) {
    let index = min(workgroup_index(workgroup, workgroups), params.ROWS - 1u);
    let c = index % params.C4;
    let n = index / params.C4;
    var sum = vec4<f32>(0.0);
    for (var place = thread.index; place < params.L; place += WG) {
        sum += vec4<f32>(x[(n * params.L + place) * params.C4 + c]);
    }
    let total = reduce_sum4(sum, thread);
    if thread.index == 0u {
        y[index] = total / f32(params.L);
    }
}
