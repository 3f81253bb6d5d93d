// probe: the best convolution that was found by hand for software drivers, to hold the default strategy against.
//
// Channels last, vec4s, no shared memory, 36 pixels of sixteen channels a thread, eight threads a workgroup, nothing
// fused, no pool. Index arithmetic is done once a row and nothing branches. TO must be a multiple of QT.
//
//   tagwave lab benches/probe/conv2d.wgsl --device llvmpipe --layer probe.conv --skip-test-cases --beside direct,subgroup
//
// contract  conv2d_direct WG=8 QT=36 OV=4
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[N, F, T, C/4]
//   2  w       storage, read         Element4[3*3, C, O/4]
//   3  b       storage, read         vec4<f32>[O/4]
//   4  y       storage, read_write (only written)  Element4[N, F, T, O/4]
//
// includes   element_*, activation, conv2d

@group(0) @binding(1) var<storage, read> x: array<Element4>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tiles = params.TO / QT;
    let index = (workgroup.z * workgroups.x + workgroup.x) * WG + thread;
    if index >= params.N * params.FO * tiles {
        return;
    }
    let t0 = index % tiles * QT;
    let f0 = index / tiles % params.FO;
    let n = index / tiles / params.FO;
    let o = workgroup.y * OV;

    var sum: array<vec4<f32>, QT * OV>;
    for (var s = 0u; s < QT; s++) { // unrolled
        for (var q = 0u; q < OV; q++) { // unrolled
            sum[s * OV + q] = b[o + q];
        }
    }
    for (var i = 0u; i < 3u; i++) {
        let f = clamp(f0 + i, 1u, params.F) - 1u;
        let inside = select(0.0, 1.0, f0 + i >= 1u && f0 + i <= params.F);
        let first = inside * select(0.0, 1.0, t0 >= 1u);
        let last = inside * select(0.0, 1.0, t0 + QT < params.T);
        for (var c = 0u; c < params.C4; c++) {
            let row = ((n * params.F + f) * params.T + t0) * params.C4 + c;
            var values: array<vec4<f32>, QT + 2u>;
            values[0] = first * vec4<f32>(x[row - select(0u, params.C4, t0 >= 1u)]);
            for (var s = 0u; s < QT; s++) { // unrolled
                values[s + 1u] = inside * vec4<f32>(x[row + s * params.C4]);
            }
            values[QT + 1u] = last * vec4<f32>(x[row + select(0u, QT * params.C4, t0 + QT < params.T)]);
            for (var j = 0u; j < 3u; j++) { // unrolled
                for (var q = 0u; q < OV; q++) { // unrolled
                    let tap = ((i * 3u + j) * params.C4 + c) * 4u * params.OP4 + o + q;
                    let w0 = vec4<f32>(w[tap]);
                    let w1 = vec4<f32>(w[tap + params.OP4]);
                    let w2 = vec4<f32>(w[tap + 2u * params.OP4]);
                    let w3 = vec4<f32>(w[tap + 3u * params.OP4]);
                    for (var s = 0u; s < QT; s++) { // unrolled
                        let v = values[s + j];
                        sum[s * OV + q] += v.x * w0 + v.y * w1 + v.z * w2 + v.w * w3;
                    }
                }
            }
        }
    }
    for (var s = 0u; s < QT; s++) { // unrolled
        for (var q = 0u; q < OV; q++) { // unrolled
            let place = ((n * params.FO + f0) * params.TO + t0 + s) * params.O4 + o + q;
            y[place] = Element4(sum[s * OV + q]);
        }
    }
}
