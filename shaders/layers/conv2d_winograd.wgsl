// conv2d_winograd: 3x3 convolution by Winograd's minimal filtering, with bias, max-pool and activation.
//
//   v[n,o,f,t] = b[o] + sum over c,i,j of w[o,c,i,j] * x[n, c, f+i-1, t+j-1]
//   y[n,o,f,t] = act(max over i < PF, j < PT of v[n, o, f*PF+i, t*PT+j])
//
// M x M outputs of a channel come from A x A products in place of M*M*9, A = M + 2:
// D^T [sum over c of (G w G^T) * (B^T x B)] D, with the tables of src/kernels/conv2d/winograd.rs (A. Lavin, S. Gray,
// "Fast algorithms for convolutional neural networks", arXiv:1509.09308). The tiles of M x M outputs are ordered
// unit by unit: the UY x UX tiles that hold whole pool windows. A workgroup makes UN units of TK*4 channels, as A*A
// matrix products of ROWS tiles by TK*4 channels. It goes over the input channels in stages of BK vec4s. A stage's
// tiles are transformed in two passes, a thread one column of a tile and then one row, through shared memory; then
// each thread multiplies RT tiles by CT vec4s of channels of one product. At the end the products go back the same
// way, one vec4 of channels at a time.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         Element4[N, F, T, C/4]
//   2  w       storage, read         Element4[A*A, C, O/4]  (transformed, O padded to TK*4)
//   3  b       storage, read         vec4<f32>[O/4]  (padded likewise)
//   4  y       storage, read_write (only written)  Element4[N, FO, TO, O/4]
//
// constants  ACT index into common/activation.wgsl
// header     PF, PT pool window; M 2 or 4; UY, UX tiles of a unit; UN units, TK vec4s of channels per workgroup;
//            RT tiles, CT vec4s of channels per thread; BK vec4s of input channels per stage
// dispatch   units / UN x ceil(O/4 / TK) workgroups, x folded over x and z
// numerics   f32, products summed in the order of c; the transforms cost a bit or two: docs/numerics.md
// includes   element_*, activation, conv2d
// host  src/kernels/conv2d/winograd.rs    reference  src/reference/conv2d.rs

@group(0) @binding(1) var<storage, read> x: array<Element4>;

const A = M + 2u;
const AA = A * A;
const TILES = UN * UY * UX;
const BLOCKS = (TILES + RT - 1u) / RT;  // of RT tiles
const ROWS = BLOCKS * RT;
const COLUMNS = TK / CT;                // threads along channels
const THREADS = AA * BLOCKS * COLUMNS;
const FU = UY * M;                      // outputs of a unit along frequency
const TU = UX * M;
const XS = AA * BK * ROWS;
const WS = AA * 4u * BK * TK;
const PRODUCTS = AA * ROWS;

// A stage's tiles and weights; at the end the products and outputs of one vec4 of channels.
var<workgroup> stage: array<vec4<f32>, max(XS + WS, PRODUCTS)>;

// A row or column of a tile, of which M = 2 uses the first four.
alias Line = array<vec4<f32>, 6>;

const P = 0.75;
const Q = 1.5;
const P2 = P * P;
const Q2 = Q * Q;

// B^T d.
fn transform(d: Line) -> Line {
    if M == 2u {
        return Line(d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3], d[4], d[5]);
    }
    let even = d[4] - Q2 * d[2];
    let odd = P * (d[3] - Q2 * d[1]);
    let even_q = d[4] - P2 * d[2];
    let odd_q = Q * (d[3] - P2 * d[1]);
    return Line(
        P2 * Q2 * d[0] - (P2 + Q2) * d[2] + d[4],
        even + odd,
        even - odd,
        even_q + odd_q,
        even_q - odd_q,
        P2 * Q2 * d[1] - (P2 + Q2) * d[3] + d[5],
    );
}

// D^T m: the first M values.
fn restore(m: Line) -> Line {
    let sum = m[1] + m[2];
    let difference = m[1] - m[2];
    if M == 2u {
        return Line(m[0] + sum, difference - m[3], m[2], m[3], m[4], m[5]);
    }
    let sum_q = m[3] + m[4];
    let difference_q = m[3] - m[4];
    return Line(
        m[0] + sum + sum_q,
        P * difference + Q * difference_q,
        P2 * sum + Q2 * sum_q,
        P * P2 * difference + Q * Q2 * difference_q + m[5],
        m[4],
        m[5],
    );
}

// First output of tile `row` of the workgroup: clip, row, frame; outside every clip for tiles past the last unit.
fn origin(first: u32, row: u32) -> vec3<u32> {
    let across = (params.TO * PT + TU - 1u) / TU;
    let down = (params.FO * PF + FU - 1u) / FU;
    let unit = first + row / (UY * UX);
    let tile = row % (UY * UX);
    let f = unit / across % down * FU + tile / UX * M;
    let t = unit % across * TU + tile % UX * M;
    let n = unit / across / down;
    return vec3<u32>(select(params.N, n, row < TILES), f, t);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first = workgroup_along_x(workgroup, workgroups) * UN;
    let o = workgroup.y * TK;
    let column = thread % COLUMNS;
    let block = thread / COLUMNS % BLOCKS;
    let product = thread / COLUMNS / BLOCKS;

    // This thread's line of a stage's tiles: tile, column or row, vec4 of channels. The host sees to BK*A*ROWS <= THREADS.
    let tile = thread % ROWS;
    let line = thread / ROWS % A;
    let k_line = thread / ROWS / A;
    let has_line = thread < BK * A * ROWS;
    // The column's first value, one row up and one frame left of the tile, and which of its values are inside x.
    let place = origin(first, tile);
    let t = place.z + line;
    let is_inside = has_line && place.x < params.N && t >= 1u && t <= params.T;
    let start = ((place.x * params.F + place.y - 1u) * params.T + t - 1u) * params.C4 + k_line;

    var sum: array<vec4<f32>, RT * CT>;
    for (var p = 0u; p < RT * CT; p++) { // unrolled
        sum[p] = vec4<f32>(0.0);
    }

    for (var c = 0u; c < params.C4; c += BK) {
        let has_channel = is_inside && c + k_line < params.C4;
        var d: Line;
        for (var i = 0u; i < A; i++) { // unrolled
            // A load from a place that always exists and a selection, in place of a branch.
            let f = place.y + i;  // one too high
            let has_value = has_channel && f >= 1u && f <= params.F;
            let v = vec4<f32>(x[select(0u, start + i * params.T * params.C4 + c, has_value)]);
            d[i] = select(vec4<f32>(0.0), v, has_value);
        }
        workgroupBarrier();
        if has_line {
            let v = transform(d);
            for (var i = 0u; i < A; i++) { // unrolled
                stage[((i * A + line) * BK + k_line) * ROWS + tile] = v[i];
            }
        }
        for (var slot = thread; slot < WS; slot += THREADS) {
            let channel = 4u * c + slot / TK % (4u * BK);
            let plane = slot / TK / (4u * BK);
            let has_value = channel < 4u * params.C4;
            let place = (plane * 4u * params.C4 + channel) * params.OP4 + o + slot % TK;
            stage[XS + slot] = select(vec4<f32>(0.0), vec4<f32>(w[select(0u, place, has_value)]), has_value);
        }
        workgroupBarrier();
        if has_line {
            for (var j = 0u; j < A; j++) { // unrolled
                d[j] = stage[((line * A + j) * BK + k_line) * ROWS + tile];
            }
            let v = transform(d);
            for (var j = 0u; j < A; j++) { // unrolled
                stage[((line * A + j) * BK + k_line) * ROWS + tile] = v[j];
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < BK; k++) {
            // Neighbouring threads read neighbouring tiles: a thread's are BLOCKS apart.
            let row = (product * BK + k) * ROWS + block;
            let weight = XS + (product * BK + k) * 4u * TK + column;
            for (var q = 0u; q < CT; q++) { // unrolled
                let w0 = stage[weight + q * COLUMNS];
                let w1 = stage[weight + q * COLUMNS + TK];
                let w2 = stage[weight + q * COLUMNS + 2u * TK];
                let w3 = stage[weight + q * COLUMNS + 3u * TK];
                for (var r = 0u; r < RT; r++) { // unrolled
                    let v = stage[row + r * BLOCKS];
                    // One by one: compilers fuse each of them with its product.
                    sum[r * CT + q] += v.x * w0;
                    sum[r * CT + q] += v.y * w1;
                    sum[r * CT + q] += v.z * w2;
                    sum[r * CT + q] += v.w * w3;
                }
            }
        }
    }

    for (var q = 0u; q < CT; q++) { // unrolled
        for (var turn = 0u; turn < COLUMNS; turn++) {
            workgroupBarrier();
            if column == turn {
                for (var r = 0u; r < RT; r++) { // unrolled
                    stage[product * ROWS + r * BLOCKS + block] = sum[r * CT + q];
                }
            }
            workgroupBarrier();
            // Columns, then rows, each in the place of what it is made from.
            if thread < A * ROWS {
                restore_line(line * ROWS + tile, A * ROWS);
            }
            workgroupBarrier();
            if thread < M * ROWS {
                restore_line(line * A * ROWS + tile, ROWS);
            }
            workgroupBarrier();
            finish(first, o + q * COLUMNS + turn, thread);
        }
    }
}

// The first M outputs of a line of products, `step` apart, in the place of its first M products.
fn restore_line(start: u32, step: u32) {
    var m: Line;
    for (var i = 0u; i < A; i++) { // unrolled
        m[i] = stage[start + i * step];
    }
    let v = restore(m);
    for (var i = 0u; i < M; i++) { // unrolled
        stage[start + i * step] = v[i];
    }
}

// Pools, activates and stores one vec4 of channels of all units.
fn finish(first: u32, channel: u32, thread: u32) {
    const ACROSS = TU / PT;  // windows of a unit
    const WINDOWS = FU / PF * ACROSS;
    for (var item = thread; item < UN * WINDOWS; item += THREADS) {
        let place = origin(first, item / WINDOWS * UY * UX);
        let f0 = item % WINDOWS / ACROSS * PF;  // within the unit
        let t0 = item % ACROSS * PT;
        let fo = (place.y + f0) / PF;
        let to = (place.z + t0) / PT;
        if place.x < params.N && fo < params.FO && to < params.TO && channel < params.O4 {
            var largest = NONE;
            for (var r = 0u; r < PF; r++) {
                for (var s = 0u; s < PT; s++) {
                    let f = f0 + r;
                    let t = t0 + s;
                    let tile = item / WINDOWS * UY * UX + f / M * UX + t / M;
                    largest = max(largest, stage[(f % M * A + t % M) * ROWS + tile]);
                }
            }
            store_pooled((place.x * params.FO + fo) * params.TO + to, channel, largest);
        }
    }
}
