// conv2d_patch: 3x3 convolution as products of f16 matrices by subgroups (tensor cores), from a patch of x that all
// nine taps share; max-pool and activation.
//
//   v[n,o,f,t] = b[o] + sum over c,i,j of w[o,c,i,j] * x[n, c, f+i-1, t+j-1]
//   y[n,o,f,t] = act(max over i < PF, j < PT of v[n, o, f*PF+i, t*PT+j])
//
// A workgroup of SR x SC subgroups makes FT rows of TT frames, which are whole pool windows, of COLUMNS channels. The
// rows of its product are those outputs, frame after frame, so that the rows of any tap lie in the patch at one
// stride: the patch of (FT+2) x (TT+2) values of KC channels is loaded to shared memory once and serves nine taps.
// Weights come straight from storage: each subgroup has channels of its own. Elements of matrices cannot be reached:
// at the end they go through shared memory, S columns at a time, to be pooled there.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[N, F, T, C/4]
//   2  w       storage, read         Element4[3*3, C, O/4]  (C padded to KC, O to COLUMNS)
//   3  b       storage, read         vec4<f32>[O/4]  (O padded likewise)
//   4  y       storage, read_write (only written)  Element4[N, FO, TO, O/4]
//
// constants  ACT index into common/activation.wgsl
// header     PF, PT pool window; RM matrices of a subgroup along rows; S side of a matrix, MatrixA, MatrixB, Sum of that size; SG threads of a subgroup;
//            SR, SC subgroups along rows and columns; CM matrices of a subgroup along columns; FT, TT outputs of a
//            workgroup along frequency and time, multiples of PF, and of PT and S; KC input channels of a stage
// dispatch   N * ceil(FO*PF/FT) * ceil(TO*PT/TT) x ceil(O/COLUMNS) workgroups, x folded over x and z
// numerics   products of f16, sums in f32, in the order of c by KC, then i, j, c; taps outside x count as zero
// includes   element_f16, activation, conv2d
// host  src/kernels/conv2d/patch.rs    reference  src/reference/conv2d.rs

@group(0) @binding(1) var<storage, read> x: array<Element4>;

const ROWS = FT * TT;
const COLUMNS = SC * CM * S;
const K4 = KC / 4u;
const THREADS = SR * SC * SG;
const ACROSS = TT + 2u;            // frames of the patch
const PATCH = (FT + 2u) * ACROSS;
// Values lie 16 bytes further apart than they are long, so that neighbours start in different banks.
const XS4 = K4 + 2u;
const YS = S + 4u;
const WINDOWS_ACROSS = TT / PT;
const WINDOWS = FT / PF * WINDOWS_ACROSS;

var<workgroup> xs: array<Element4, PATCH * XS4>;
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
    let tiles_t = (params.TO * PT + TT - 1u) / TT;
    let tiles_f = (params.FO * PF + FT - 1u) / FT;
    let index = workgroup_along_x(workgroup, workgroups);
    let t0 = index % tiles_t * TT;
    let f0 = index / tiles_t % tiles_f * FT;
    let n = index / tiles_t / tiles_f;
    let o4 = workgroup.y * COLUMNS / 4u;
    let channels = (params.C4 + K4 - 1u) / K4 * K4;

    var sum: array<Sum, RM * CM>;
    for (var p = 0u; p < RM * CM; p++) { // unrolled
        sum[p] = Sum();
    }

    for (var c = 0u; c < params.C4; c += K4) {
        workgroupBarrier();
        for (var slot = thread; slot < PATCH * K4; slot += THREADS) {
            let k = slot % K4;
            let pixel = slot / K4;
            let f = f0 + pixel / ACROSS;  // one too high
            let t = t0 + pixel % ACROSS;  // one too high
            let is_inside = n < params.N && f >= 1u && f <= params.F && t >= 1u && t <= params.T && c + k < params.C4;
            let place = ((n * params.F + f - 1u) * params.T + t - 1u) * params.C4 + c + k;
            xs[pixel * XS4 + k] = select(Element4(), x[select(0u, place, is_inside)], is_inside);
        }
        workgroupBarrier();
        for (var tap = 0u; tap < 9u; tap++) {
            for (var k = 0u; k < K4; k += S / 4u) {
                let weight = (tap * channels + c + k) * 4u * params.OP4 + o4 + sc * CM * S / 4u;
                var columns: array<MatrixB, CM>;
                for (var q = 0u; q < CM; q++) { // unrolled
                    columns[q] = coopLoadT<MatrixB>(&w[weight + q * S / 4u], params.OP4);
                }
                for (var r = 0u; r < RM; r++) { // unrolled
                    let first = (sr * RM + r) * S;
                    let pixel = (first / TT + tap / 3u) * ACROSS + first % TT + tap % 3u;
                    let row = coopLoadT<MatrixA>(&xs[pixel * XS4 + k], XS4);
                    for (var q = 0u; q < CM; q++) { // unrolled
                        sum[r * CM + q] = coopMultiplyAdd(row, columns[q], sum[r * CM + q]);
                    }
                }
            }
        }
    }

    for (var q = 0u; q < CM; q++) { // unrolled
        for (var turn = 0u; turn < SC; turn++) {
            workgroupBarrier();
            if sc == turn {
                for (var r = 0u; r < RM; r++) { // unrolled
                    coopStoreT(sum[r * CM + q], &ys[(sr * RM + r) * S * YS], YS);
                }
            }
            workgroupBarrier();
            finish(n, f0 / PF, t0 / PT, o4 + (turn * CM + q) * S / 4u, thread);
        }
    }
}

// Pools, adds the bias, activates and stores S channels of all windows.
fn finish(n: u32, fo: u32, to: u32, channel: u32, thread: u32) {
    for (var item = thread; item < WINDOWS * S / 4u; item += THREADS) {
        let window = item / (S / 4u);
        let column = item % (S / 4u);
        let f = window / WINDOWS_ACROSS;
        let t = window % WINDOWS_ACROSS;
        if n < params.N && fo + f < params.FO && to + t < params.TO && channel + column < params.O4 {
            var largest = NONE;
            for (var r = 0u; r < PF; r++) {
                for (var s = 0u; s < PT; s++) {
                    let place = ((f * PF + r) * TT + t * PT + s) * YS + 4u * column;
                    largest = max(largest, vec4<f32>(ys[place], ys[place + 1u], ys[place + 2u], ys[place + 3u]));
                }
            }
            store_pooled((n * params.FO + fo + f) * params.TO + to + t, channel + column, largest);
        }
    }
}
