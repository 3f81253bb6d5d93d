// gru: the recurrence of a gated recurrent unit; one workgroup per clip, one thread per unit, time in a loop.
//
//   z = s(x[t,z] + h Uz)    r = s(x[t,r] + h Ur)    h = z*h + (1-z)*c, h = 0 before the first frame, y[n,t] = h
//   Keras 1.x:    c = tanh(x[t,h] + (r*h) Uh),      s(v) = clamp(0.2 v + 0.5, 0, 1)
//   RESET_AFTER:  c = tanh(x[t,h] + r*(h Uh + b)),  s(v) = 1 / (1 + exp(-v))
//
// RESET_AFTER is the form of PyTorch, and of later Keras with reset_after. x is the input projection W x + b of
// all frames at once (a dense layer), the gates side by side in the order z, r, h.
//
// group(0)
//   0  params  uniform               Params
//   1  x       storage, read         f32[N, T, 3*U]  (rows padded to XS)
//   2  u       storage, read         f32[U, 3*U]
//   3  b       storage, read         f32[U]  (read with RESET_AFTER only)
//   4  y       storage, read_write (only written)  f32[N, T, U]  (rows padded to YS)
//
// constants  WG threads per workgroup, at least U and at most 256
// header     HELD rows of u that a thread keeps in registers for all frames, at most U; RESET_AFTER form of the gates
// dispatch   N workgroups, folded over x and y
// numerics   f32
// includes   element_*, index
// host  src/kernels/gru.rs    reference  src/reference/gru.rs

struct Params {
    N: u32,
    T: u32,
    U: u32,
    XS: u32,
    YS: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> u: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

override WG: u32 = 32u;

var<workgroup> state: array<f32, 256>;
var<workgroup> reset_state: array<f32, 256>;

fn gate(v: f32) -> f32 {
    if RESET_AFTER {
        // The clamp keeps exp finite.
        return 1.0 / (1.0 + exp(-clamp(v, -80.0, 80.0)));
    }
    return clamp(0.2 * v + 0.5, 0.0, 1.0);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) unit: u32,
) {
    let n = min(workgroup_index(workgroup, workgroups), params.N - 1u);
    let U = params.U;
    // Threads past the last unit shadow it, so that every thread meets every barrier.
    let j = min(unit, U - 1u);
    state[unit] = 0.0;
    workgroupBarrier();

    // This thread's columns of u.
    var uz: array<f32, HELD>;
    var ur: array<f32, HELD>;
    var uc: array<f32, HELD>;
    for (var k = 0u; k < HELD; k++) { // unrolled
        uz[k] = u[k * 3u * U + j];
        ur[k] = u[k * 3u * U + U + j];
        uc[k] = u[k * 3u * U + 2u * U + j];
    }

    for (var t = 0u; t < params.T; t++) {
        let frame = (n * params.T + t) * params.XS;
        var z = x[frame + j];
        var r = x[frame + U + j];
        for (var k = 0u; k < HELD; k++) { // unrolled
            z += state[k] * uz[k];
            r += state[k] * ur[k];
        }
        for (var k = HELD; k < U; k++) {
            z += state[k] * u[k * 3u * U + j];
            r += state[k] * u[k * 3u * U + U + j];
        }
        z = gate(z);
        r = gate(r);
        reset_state[unit] = select(r * state[j], state[j], RESET_AFTER);
        workgroupBarrier();

        var c = x[frame + 2u * U + j];
        if RESET_AFTER {
            c = b[j];
        }
        for (var k = 0u; k < HELD; k++) { // unrolled
            c += reset_state[k] * uc[k];
        }
        for (var k = HELD; k < U; k++) {
            c += reset_state[k] * u[k * 3u * U + 2u * U + j];
        }
        if RESET_AFTER {
            c = x[frame + 2u * U + j] + r * c;
        }
        // tanh of a large argument is NaN on drivers that compute it from exponentials.
        let h = z * state[j] + (1.0 - z) * tanh(clamp(c, -15.0, 15.0));
        workgroupBarrier();
        state[unit] = h;
        workgroupBarrier();
        // Padding columns repeat the last unit: finite, and met by zero weights only.
        if unit < params.YS {
            y[(n * params.T + t) * params.YS + unit] = h;
        }
    }
}
