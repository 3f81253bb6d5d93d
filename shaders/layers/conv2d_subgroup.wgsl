// conv2d_subgroup: 3x3 convolution with bias, max-pool and activation; no shared memory, weights through the subgroup.
//
//   v[n,o,f,t] = b[o] + sum over c,i,j of w[o,c,i,j] * x[n, c, f+i-1, t+j-1]
//   y[n,o,f,t] = act(max over i < PF, j < PT of v[n, o, f*PF+i, t*PT+j])
//
// conv2d_direct for drivers to which a load is dear because they make it thread by thread, as software drivers do:
// a workgroup is one subgroup, all of whose threads need the same weights. Each loads its share of them and hands
// it to the others, so that a tap costs a thread 4*OV/WG loads in place of 4*OV. Threads past the last tile take
// part with the values of the last one.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[N, F, T, C/4]
//   2  w       storage, read         Element4[3*3, C, O/4]  (O padded to OV*4)
//   3  b       storage, read         vec4<f32>[O/4]  (padded likewise)
//   4  y       storage, read_write (only written)  Element4[N, FO, TO, O/4]
//
// constants  ACT index into common/activation.wgsl
// header     PF, PT pool window; WG threads of a workgroup and of a subgroup; QT windows per thread; OV vec4s of
//            channels per thread, of which WG divides 4*OV
// dispatch   ceil(N*FO*ceil(TO/QT) / WG) x ceil(O/4/OV) workgroups, x folded over x and z
// numerics   sums in f32 whatever Element is, in the order i, c, j; taps outside x count as zero
// includes   element_*, activation, conv2d
// host  src/kernels/conv2d/subgroup.rs    reference  src/reference/conv2d.rs

@group(0) @binding(1) var<storage, read> x: array<Element4>;

const LOADS = 4u * OV / WG;  // vec4s of a tap's weights that a thread loads
const W = PT * QT;  // conv outputs of a thread along time

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tiles = (params.TO + QT - 1u) / QT;
    let index = workgroup_along_x(workgroup, workgroups) * WG + lane;
    let inside = index < params.N * params.FO * tiles;
    let tile = min(index, params.N * params.FO * tiles - 1u);
    let to = tile % tiles * QT;
    let fo = tile / tiles % params.FO;
    let n = tile / tiles / params.FO;
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
                // The weights of a tap and four input channels: each thread loads its share.
                let tap = ((i * 3u + j) * params.C4 + c) * 4u * params.OP4 + o;
                var share: array<vec4<f32>, LOADS>;
                for (var l = 0u; l < LOADS; l++) { // unrolled
                    let slot = l * WG + lane;
                    share[l] = vec4<f32>(w[tap + slot / OV * params.OP4 + slot % OV]);
                }
                for (var q = 0u; q < OV; q++) { // unrolled
                    let w0 = subgroupBroadcast(share[q / WG], q % WG);
                    let w1 = subgroupBroadcast(share[(OV + q) / WG], (OV + q) % WG);
                    let w2 = subgroupBroadcast(share[(2u * OV + q) / WG], (2u * OV + q) % WG);
                    let w3 = subgroupBroadcast(share[(3u * OV + q) / WG], (3u * OV + q) % WG);
                    for (var r = 0u; r < PF; r++) { // unrolled
                        for (var s = 0u; s < W; s++) { // unrolled
                            let v = values[r * (W + 2u) + s + j];
                            sum[(r * W + s) * OV + q] += v.x * w0 + v.y * w1 + v.z * w2 + v.w * w3;
                        }
                    }
                }
            }
        }
    }

    for (var p = 0u; p < QT; p++) { // unrolled
        for (var q = 0u; q < OV; q++) { // unrolled
            if inside && to + p < params.TO && o + q < params.O4 {
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
