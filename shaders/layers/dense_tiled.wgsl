// dense_tiled: a matrix product through shared memory with bias and activation, for many rows.
//
//   y[r,o] = act(b[o] + sum over d of x[r,d] * w[d,o])
//
// The rows are those of the whole batch. A workgroup makes TY*RM rows of TX*OV*4 columns. It goes over D in stages
// of BK vec4s: all threads load a stage's rows and weights, then each multiplies its own.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[R, D/4]
//   2  w       storage, read         vec4<f32>[D, O/4]
//   3  b       storage, read         vec4<f32>[O/4]
//   4  y       storage, read_write (only written)  vec4<f32>[R, O/4]
//
// constants  ACT index into common/activation.wgsl
// header     TX, TY threads along columns and rows; RM rows, OV vec4s of columns per thread; BK vec4s of D per stage
// dispatch   ceil(R / (TY*RM)) * ceil(O/4 / (TX*OV)) workgroups of TX*TY threads, folded over x and y
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

const ROWS = TY * RM;      // rows of a tile
const COLUMNS = TX * OV;   // vec4s of columns of a tile
const THREADS = TX * TY;

var<workgroup> xs: array<Element4, BK * ROWS>;
var<workgroup> ws: array<vec4<f32>, 4u * BK * COLUMNS>;

@compute @workgroup_size(TX * TY)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tx = thread % TX;
    let ty = thread / TX;
    let blocks = (params.O4 + COLUMNS - 1u) / COLUMNS;
    let index = workgroup_index(workgroup, workgroups);
    let first = index / blocks * ROWS;
    let o = index % blocks * COLUMNS;

    var sum: array<vec4<f32>, RM * OV>;
    for (var p = 0u; p < RM * OV; p++) { // unrolled
        sum[p] = vec4<f32>(0.0);
    }
    for (var d = 0u; d < params.D4; d += BK) {
        workgroupBarrier();
        for (var slot = thread; slot < ROWS * BK; slot += THREADS) {
            let row = slot / BK;
            let k = slot % BK;
            var v = Element4();
            if first + row < params.R && d + k < params.D4 {
                v = x[(first + row) * params.D4 + d + k];
            }
            xs[k * ROWS + row] = v;
        }
        for (var slot = thread; slot < 4u * BK * COLUMNS; slot += THREADS) {
            let k = slot / COLUMNS;
            let column = o + slot % COLUMNS;
            var v = vec4<f32>(0.0);
            if d + k / 4u < params.D4 && column < params.O4 {
                v = w[(4u * d + k) * params.O4 + column];
            }
            ws[slot] = v;
        }
        workgroupBarrier();
        for (var k = 0u; k < BK; k++) {
            for (var q = 0u; q < OV; q++) { // unrolled
                // Neighbouring threads read neighbouring columns.
                let column = 4u * k * COLUMNS + q * TX + tx;
                let w0 = ws[column];
                let w1 = ws[column + COLUMNS];
                let w2 = ws[column + 2u * COLUMNS];
                let w3 = ws[column + 3u * COLUMNS];
                for (var r = 0u; r < RM; r++) { // unrolled
                    let v = vec4<f32>(xs[k * ROWS + ty * RM + r]);
                    // One by one: compilers fuse each of them with its product.
                    sum[r * OV + q] += v.x * w0;
                    sum[r * OV + q] += v.y * w1;
                    sum[r * OV + q] += v.z * w2;
                    sum[r * OV + q] += v.w * w3;
                }
            }
        }
    }

    for (var r = 0u; r < RM; r++) { // unrolled
        for (var q = 0u; q < OV; q++) { // unrolled
            let row = first + ty * RM + r;
            let column = o + q * TX + tx;
            if row < params.R && column < params.O4 {
                y[row * params.O4 + column] = activate4(b[column] + sum[r * OV + q]);
            }
        }
    }
}
