// conv2d_cooperative: 3x3 convolution as a product of f16 matrices by subgroups (tensor cores), max-pool and activation.
//
//   v[n,o,f,t] = b[o] + sum over c,i,j of w[o,c,i,j] * x[n, c, f+i-1, t+j-1]
//   y[n,o,f,t] = act(max over i < PF, j < PT of v[n, o, f*PF+i, t*PT+j])
//
// The rows of the product are the convolution's outputs, ordered pool window by pool window over the whole batch; its
// columns are channels. A workgroup of SR x SC subgroups makes ROWS by COLUMNS of it, each subgroup RM x CM matrices
// of S x S. It goes over the 9 taps and the input channels in stages of K channels: all threads load a stage's rows
// and weights to shared memory, then each subgroup multiplies its own. Elements of such matrices cannot be
// reached: at the end they go through shared memory, S columns at a time, to be pooled there.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[N, F, T, C/4]
//   2  w       storage, read         Element4[3*3, C, O/4]  (O padded to COLUMNS)
//   3  b       storage, read         vec4<f32>[O/4]  (padded likewise)
//   4  y       storage, read_write (only written)  Element4[N, FO, TO, O/4]
//
// constants  ACT index into common/activation.wgsl
// header     PF, PT pool window; S side of a matrix, MatrixA, MatrixB, Sum of that size; SG threads of a subgroup;
//            SR, SC subgroups along rows and columns; RM, CM matrices of a subgroup along them
// dispatch   ceil(N*FO*TO / WINDOWS) x ceil(O / COLUMNS) workgroups, x folded over x and z
// numerics   products of f16, sums in f32, in the order i, j, c; taps outside x count as zero
// includes   element_f16, activation, conv2d
// host  src/kernels/conv2d/cooperative.rs    reference  src/reference/conv2d.rs

@group(0) @binding(1) var<storage, read> x: array<Element4>;

const POOL = PF * PT;
const ROWS = SR * RM * S;
const COLUMNS = SC * CM * S;
const WINDOWS = ROWS / POOL;       // the rows that are left over stay zero
const K = 2u * S;                  // input channels of a stage
const K4 = K / 4u;
const THREADS = SR * SC * SG;
const LOADS = (ROWS * K4 + THREADS - 1u) / THREADS;  // vec4s of x that a thread loads in a stage
// Rows of vec4s are 16 bytes longer than what they hold, so that neighbouring rows start in different banks.
const XS = K4 + 2u;
const WS = COLUMNS / 4u + 2u;
const YS = S + 4u;
const OUTSIDE = 0xfffffff0u;       // a row that is outside x whatever the tap

var<workgroup> xs: array<Element4, ROWS * XS>;
var<workgroup> ws: array<Element4, K * WS>;
var<workgroup> ys: array<f32, ROWS * YS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let sr = subgroup / SC;
    let sc = subgroup % SC;
    let first = workgroup_along_x(workgroup, workgroups) * WINDOWS;
    let windows = min(WINDOWS, params.N * params.FO * params.TO - min(first, params.N * params.FO * params.TO));
    let o4 = workgroup.y * COLUMNS / 4u;

    // Positions of the values that this thread loads in every stage: first row of the clip, row, frame.
    var places: array<vec3<u32>, LOADS>;
    for (var l = 0u; l < LOADS; l++) {
        let row = (l * THREADS + thread) / K4;
        let window = first + row / POOL;
        let f = window / params.TO % params.FO * PF + row % POOL / PT;
        let t = window % params.TO * PT + row % PT;
        let clip = window / params.TO / params.FO * params.F;
        places[l] = select(vec3<u32>(0u, OUTSIDE, 0u), vec3<u32>(clip, f, t), row / POOL < windows);
    }

    var sum: array<Sum, RM * CM>;
    for (var p = 0u; p < RM * CM; p++) { // unrolled
        sum[p] = Sum();
    }

    let blocks = (params.C4 + K4 - 1u) / K4;
    for (var stage = 0u; stage < 9u * blocks; stage++) {
        let tap = stage / blocks;
        let c = stage % blocks * K4;
        workgroupBarrier();
        for (var l = 0u; l < LOADS; l++) {
            let slot = l * THREADS + thread;
            let k = slot % K4;
            let f = places[l].y + tap / 3u;  // one too high
            let t = places[l].z + tap % 3u;  // one too high
            var v = Element4();
            if f >= 1u && f <= params.F && t >= 1u && t <= params.T && c + k < params.C4 {
                v = x[((places[l].x + f - 1u) * params.T + t - 1u) * params.C4 + c + k];
            }
            if slot < ROWS * K4 {
                xs[slot / K4 * XS + k] = v;
            }
        }
        for (var slot = thread; slot < K * COLUMNS / 4u; slot += THREADS) {
            let k = slot / (COLUMNS / 4u);
            let column = slot % (COLUMNS / 4u);
            var v = Element4();
            if c + k / 4u < params.C4 {
                v = w[((tap * params.C4 + c) * 4u + k) * params.OP4 + o4 + column];
            }
            ws[k * WS + column] = v;
        }
        workgroupBarrier();
        for (var k = 0u; k < K; k += S) {
            var columns: array<MatrixB, CM>;
            for (var q = 0u; q < CM; q++) { // unrolled
                columns[q] = coopLoadT<MatrixB>(&ws[k * WS + (sc * CM + q) * S / 4u], WS);
            }
            for (var r = 0u; r < RM; r++) { // unrolled
                let row = coopLoadT<MatrixA>(&xs[(sr * RM + r) * S * XS + k / 4u], XS);
                for (var q = 0u; q < CM; q++) { // unrolled
                    sum[r * CM + q] = coopMultiplyAdd(row, columns[q], sum[r * CM + q]);
                }
            }
        }
    }

    for (var q = 0u; q < CM; q++) { // unrolled
        for (var turn = 0u; turn < SC; turn++) {
            workgroupBarrier();
            if sc == turn {
                for (var r = 0u; r < RM; r++) { // unrolled
                    let place = (sr * RM + r) * S * YS;
                    coopStoreT(sum[r * CM + q], &ys[place], YS);
                }
            }
            workgroupBarrier();
            finish(first, windows, o4 + (turn * CM + q) * S / 4u, thread);
        }
    }
}

// Pools, adds the bias, activates and stores S channels of all windows.
fn finish(first: u32, windows: u32, channel: u32, thread: u32) {
    for (var item = thread; item < windows * S / 4u; item += THREADS) {
        let window = item / (S / 4u);
        let column = item % (S / 4u);
        if channel + column < params.O4 {
            var largest = NONE;
            for (var r = 0u; r < POOL; r++) {
                let place = (window * POOL + r) * YS + 4u * column;
                largest = max(largest, vec4<f32>(ys[place], ys[place + 1u], ys[place + 2u], ys[place + 3u]));
            }
            store_pooled(first + window, channel + column, largest);
        }
    }
}
