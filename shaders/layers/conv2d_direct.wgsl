// conv2d_direct: 3x3 convolution with bias, max-pool and activation; no shared memory.
//
//   v[n,o,f,t] = b[o] + sum over c,i,j of w[o,c,i,j] * x[n, c, f+i-1, t+j-1]
//   y[n,o,f,t] = act(max over i < PF, j < PT of v[n, o, f*PF+i, t*PT+j])
//
// Pooling goes before the activation, which must not decrease: the result is the same and only one value of
// a window is activated. A thread makes QT neighbouring windows of OV*4 channels, so that each loaded value
// serves many products; the channels depend on the workgroup alone, which lets its weights be read once.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[N, F, T, C/4]
//   2  w       storage, read         Element4[3*3, C, O/4]  (O padded to OV*4)
//   3  b       storage, read         vec4<f32>[O/4]  (padded likewise)
//   4  y       storage, read_write (only written)  Element4[N, FO, TO, O/4]
//
// constants  ACT index into common/activation.wgsl
// header     PF, PT pool window; WG threads per workgroup; QT windows per thread; OV vec4s of channels per thread
// dispatch   ceil(N*FO*ceil(TO/QT) / WG) x ceil(O/4/OV) workgroups, x folded over x and z
// numerics   sums in f32 whatever Element is, in the order i, c, j; taps outside x count as zero
// includes   element_*, activation, conv2d
// host  src/kernels/conv2d/direct.rs    reference  src/reference/conv2d.rs

@group(0) @binding(1) var<storage, read> x: array<Element4>;

const W = PT * QT;  // conv outputs of a thread along time

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tiles = (params.TO + QT - 1u) / QT;
    let index = workgroup_along_x(workgroup, workgroups) * WG + thread;
    if index >= params.N * params.FO * tiles {
        return;
    }
    let to = index % tiles * QT;
    let fo = index / tiles % params.FO;
    let n = index / tiles / params.FO;
    let o = workgroup.y * OV;
    let f0 = fo * PF;
    let t0 = to * PT;

    var sum: array<vec4<f32>, PF * W * OV>;
    for (var p = 0u; p < PF * W; p++) { // unrolled
        for (var q = 0u; q < OV; q++) { // unrolled
            sum[p * OV + q] = b[o + q];
        }
    }

    // Marked loops are written out by the host, so that the arrays become registers; the file means the same.
    for (var i = 0u; i < 3u; i++) {
        for (var c = 0u; c < params.C4; c++) {
            // The input rows of this kernel row: PF rows of W + 2 frames.
            var values: array<vec4<f32>, PF * (W + 2u)>;
            for (var r = 0u; r < PF; r++) { // unrolled
                let f = f0 + r + i;  // one too high: row f - 1 of x
                let row = ((n * params.F + f - 1u) * params.T + t0 - 1u) * params.C4 + c;
                let row_inside = f >= 1u && f <= params.F;
                for (var s = 0u; s < W + 2u; s++) { // unrolled
                    let t = t0 + s;  // one too high as well
                    var v = vec4<f32>(0.0);
                    if row_inside && t >= 1u && t <= params.T {
                        v = vec4<f32>(x[row + s * params.C4]);
                    }
                    values[r * (W + 2u) + s] = v;
                }
            }
            for (var j = 0u; j < 3u; j++) { // unrolled
                for (var q = 0u; q < OV; q++) { // unrolled
                    let tap = ((i * 3u + j) * params.C4 + c) * 4u * params.OP4 + o + q;
                    let w0 = vec4<f32>(w[tap]);
                    let w1 = vec4<f32>(w[tap + params.OP4]);
                    let w2 = vec4<f32>(w[tap + 2u * params.OP4]);
                    let w3 = vec4<f32>(w[tap + 3u * params.OP4]);
                    for (var r = 0u; r < PF; r++) { // unrolled
                        for (var s = 0u; s < W; s++) { // unrolled
                            let v = values[r * (W + 2u) + s + j];
                            // One by one: compilers fuse each of them with its product.
                            sum[(r * W + s) * OV + q] += v.x * w0;
                            sum[(r * W + s) * OV + q] += v.y * w1;
                            sum[(r * W + s) * OV + q] += v.z * w2;
                            sum[(r * W + s) * OV + q] += v.w * w3;
                        }
                    }
                }
            }
        }
    }

    for (var p = 0u; p < QT; p++) { // unrolled
        for (var q = 0u; q < OV; q++) { // unrolled
            if to + p < params.TO && o + q < params.O4 {
                var largest = NONE;
                for (var r = 0u; r < PF; r++) { // unrolled
                    for (var s = 0u; s < PT; s++) { // unrolled
                        largest = max(largest, sum[(r * W + p * PT + s) * OV + q]);
                    }
                }
                let place = ((n * params.FO + fo) * params.TO + to + p) * params.O4 + o + q;
                y[place] = Element4(activate4(largest));
            }
        }
    }
}
