// conv2d_tiled: 3x3 convolution as a matrix product through shared memory (implicit GEMM), max-pool and activation.
//
//   v[n,o,f,t] = b[o] + sum over c,i,j of w[o,c,i,j] * x[n, c, f+i-1, t+j-1]
//   y[n,o,f,t] = act(max over i < PF, j < PT of v[n, o, f*PF+i, t*PT+j])
//
// The rows of the product are the convolution's outputs, ordered pool window by pool window over the whole batch,
// so that a thread owns whole windows; its columns are channels. A workgroup makes TY*QT windows of TX*OV*4
// channels. It goes over the 9 taps and the input channels in stages of BK vec4s: all threads load a stage's rows
// and weights, then each multiplies its own. With KS > 1 the stages are dealt out to KS slices of threads with a
// tile each, whose sums are added at the end (split-K inside a workgroup), for layers with few outputs.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[N, F, T, C/4]
//   2  w       storage, read         Element4[3*3, C, O/4]  (O padded to TX*OV*4)
//   3  b       storage, read         vec4<f32>[O/4]  (padded likewise)
//   4  y       storage, read_write (only written)  Element4[N, FO, TO, O/4]
//
// constants  ACT index into common/activation.wgsl
// header     PF, PT pool window; TX, TY threads of a slice; QT windows, OV vec4s of channels per thread;
//            BK vec4s of input channels per stage; KS slices
// dispatch   ceil(N*FO*TO / (TY*QT)) x ceil(O/4 / (TX*OV)) workgroups of TX*TY*KS threads, x folded over x and z
// numerics   sums in f32 whatever Element is, in the order i, j, c, then the slices; taps outside x count as zero
// includes   element_*, activation, conv2d
// host  src/kernels/conv2d/tiled.rs    reference  src/reference/conv2d.rs

@group(0) @binding(1) var<storage, read> x: array<Element4>;

const POOL = PF * PT;
const RM = POOL * QT;              // rows of a thread
const ROWS = TY * RM;              // rows of a tile
const COLUMNS = TX * OV;           // vec4s of channels of a tile
const SLICE = TX * TY;             // threads of a slice
const LOADS = (ROWS * BK + SLICE - 1u) / SLICE;  // values of x that a thread loads in a stage
const OUTSIDE = 0xfffffff0u;       // a row that is outside x whatever the tap

var<workgroup> xs: array<Element4, KS * ROWS * BK>;
var<workgroup> ws: array<Element4, KS * 4u * BK * COLUMNS>;
var<workgroup> partial: array<vec4<f32>, min(KS - 1u, 1u) * SLICE * RM * OV + 1u>;

@compute @workgroup_size(TX * TY * KS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // With one slice the same for all threads: the tap and the channel then need no register of each.
    let slice = select(local / SLICE, 0u, KS == 1u);
    let thread = select(local % SLICE, local, KS == 1u);
    let tx = thread % TX;
    let ty = thread / TX;
    let first = workgroup_along_x(workgroup, workgroups) * TY * QT;
    let windows = params.N * params.FO * params.TO;
    let o = workgroup.y * COLUMNS;

    // Positions of the values that this thread loads in every stage: first row of the clip, row, frame.
    var places: array<vec3<u32>, LOADS>;
    for (var l = 0u; l < LOADS; l++) {
        let row = (l * SLICE + thread) / BK;
        let window = first + row / POOL;
        let f = window / params.TO % params.FO * PF + row % POOL / PT;
        let t = window % params.TO * PT + row % PT;
        let clip = window / params.TO / params.FO * params.F;
        places[l] = select(vec3<u32>(0u, OUTSIDE, 0u), vec3<u32>(clip, f, t), row < ROWS && window < windows);
    }

    var sum: array<vec4<f32>, RM * OV>;
    for (var p = 0u; p < RM * OV; p++) { // unrolled
        sum[p] = vec4<f32>(0.0);
    }

    let blocks = (params.C4 + BK - 1u) / BK;
    let stages = 9u * blocks;
    for (var round = 0u; round < stages; round += KS) {
        let stage = round + slice;
        let tap = stage / blocks;
        let c = stage % blocks * BK;
        workgroupBarrier();
        for (var l = 0u; l < LOADS; l++) {
            let slot = l * SLICE + thread;
            let k = slot % BK;
            let f = places[l].y + tap / 3u;  // one too high
            let t = places[l].z + tap % 3u;  // one too high
            var v = Element4();
            if f >= 1u && f <= params.F && t >= 1u && t <= params.T && c + k < params.C4 && stage < stages {
                v = x[((places[l].x + f - 1u) * params.T + t - 1u) * params.C4 + c + k];
            }
            if slot < ROWS * BK {
                xs[(slice * BK + k) * ROWS + slot / BK] = v;
            }
        }
        for (var slot = thread; slot < 4u * BK * COLUMNS; slot += SLICE) {
            let k = slot / COLUMNS;
            var v = Element4();
            if c + k / 4u < params.C4 && stage < stages {
                v = w[((tap * params.C4 + c) * 4u + k) * params.OP4 + o + slot % COLUMNS];
            }
            ws[slice * 4u * BK * COLUMNS + slot] = v;
        }
        workgroupBarrier();
        for (var k = 0u; k < BK; k++) {
            let row = (slice * BK + k) * ROWS + ty * RM;
            let column = (slice * BK + k) * 4u * COLUMNS + tx;
            for (var q = 0u; q < OV; q++) { // unrolled
                // Neighbouring threads read neighbouring columns.
                let w0 = vec4<f32>(ws[column + q * TX]);
                let w1 = vec4<f32>(ws[column + q * TX + COLUMNS]);
                let w2 = vec4<f32>(ws[column + q * TX + 2u * COLUMNS]);
                let w3 = vec4<f32>(ws[column + q * TX + 3u * COLUMNS]);
                for (var r = 0u; r < RM; r++) { // unrolled
                    let v = vec4<f32>(xs[row + r]);
                    // One by one: compilers fuse each of them with its product.
                    sum[r * OV + q] += v.x * w0;
                    sum[r * OV + q] += v.y * w1;
                    sum[r * OV + q] += v.z * w2;
                    sum[r * OV + q] += v.w * w3;
                }
            }
        }
    }

    // The slices' sums together, always in the same order.
    for (var s = 1u; s < KS; s++) {
        workgroupBarrier();
        if slice == s {
            for (var p = 0u; p < RM * OV; p++) { // unrolled
                partial[p * SLICE + thread] = sum[p];
            }
        }
        workgroupBarrier();
        if slice == 0u {
            for (var p = 0u; p < RM * OV; p++) { // unrolled
                sum[p] += partial[p * SLICE + thread];
            }
        }
    }

    for (var p = 0u; p < QT; p++) { // unrolled
        let window = first + ty * QT + p;
        for (var q = 0u; q < OV; q++) { // unrolled
            let channel = o + q * TX + tx;
            if slice == 0u && window < windows && channel < params.O4 {
                var largest = NONE;
                for (var r = 0u; r < POOL; r++) { // unrolled
                    largest = max(largest, sum[(p * POOL + r) * OV + q]);
                }
                store_pooled(window, channel, largest);
            }
        }
    }
}
