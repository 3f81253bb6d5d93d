// conv2d_plane: conv2d for one input channel, whose pixels are plain scalars; no shared memory.
//
//   v[n,o,f,t] = b[o] + sum over i,j of w[o,i,j] * x[n, f+i-1, t+j-1]
//   y[n,o,f,t] = act(max over i < PF, j < PT of v[n, o, f*PF+i, t*PT+j])
//
// Each thread holds the (PF+2) x (PT+2) input values of one pool window and makes OV*4 channels from them.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element[N, F, T]
//   2  w       storage, read         Element4[3*3, O/4]  (O padded to OV*4)
//   3  b       storage, read         vec4<f32>[O/4]  (padded likewise)
//   4  y       storage, read_write (only written)  Element4[N, FO, TO, O/4]
//
// constants  ACT index into common/activation.wgsl
// header     PF, PT pool window; WG threads per workgroup; OV vec4s of channels per thread; QT is 1
// dispatch   ceil(N*FO*TO / WG) x ceil(O/4/OV) workgroups, x folded over x and z
// numerics   sums in f32 whatever Element is, in the order i, j; taps outside x count as zero
// includes   element_*, activation, conv2d
// host  src/kernels/conv2d/direct.rs    reference  src/reference/conv2d.rs

@group(0) @binding(1) var<storage, read> x: array<Element>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = workgroup_along_x(workgroup, workgroups) * WG + thread;
    if index >= params.N * params.FO * params.TO {
        return;
    }
    let to = index % params.TO;
    let fo = index / params.TO % params.FO;
    let n = index / params.TO / params.FO;
    let o = workgroup.y * OV;

    var values: array<f32, (PF + 2u) * (PT + 2u)>;
    for (var r = 0u; r < PF + 2u; r++) { // unrolled
        let f = fo * PF + r;  // one too high: row f - 1 of x
        for (var s = 0u; s < PT + 2u; s++) { // unrolled
            let t = to * PT + s;  // one too high as well
            var v = 0.0;
            if f >= 1u && f <= params.F && t >= 1u && t <= params.T {
                v = f32(x[(n * params.F + f - 1u) * params.T + t - 1u]);
            }
            values[r * (PT + 2u) + s] = v;
        }
    }

    for (var q = 0u; q < OV; q++) { // unrolled
        let w0 = vec4<f32>(w[o + q]);
        let w1 = vec4<f32>(w[params.OP4 + o + q]);
        let w2 = vec4<f32>(w[2u * params.OP4 + o + q]);
        let w3 = vec4<f32>(w[3u * params.OP4 + o + q]);
        let w4 = vec4<f32>(w[4u * params.OP4 + o + q]);
        let w5 = vec4<f32>(w[5u * params.OP4 + o + q]);
        let w6 = vec4<f32>(w[6u * params.OP4 + o + q]);
        let w7 = vec4<f32>(w[7u * params.OP4 + o + q]);
        let w8 = vec4<f32>(w[8u * params.OP4 + o + q]);
        let bias = b[o + q];
        var largest = NONE;
        for (var r = 0u; r < PF; r++) { // unrolled
            for (var s = 0u; s < PT; s++) { // unrolled
                let v = r * (PT + 2u) + s;
                var sum = bias;
                sum += values[v] * w0;
                sum += values[v + 1u] * w1;
                sum += values[v + 2u] * w2;
                sum += values[v + PT + 2u] * w3;
                sum += values[v + PT + 3u] * w4;
                sum += values[v + PT + 4u] * w5;
                sum += values[v + 2u * PT + 4u] * w6;
                sum += values[v + 2u * PT + 5u] * w7;
                sum += values[v + 2u * PT + 6u] * w8;
                largest = max(largest, sum);
            }
        }
        if o + q < params.O4 {
            y[((n * params.FO + fo) * params.TO + to) * params.O4 + o + q] = Element4(activate4(largest));
        }
    }
}
