// activation: functions chosen by index when the pipeline is made. Needs nothing.
//
// The host's indices: src/kernels/activation.rs.

override ACT: u32 = 0u;  // 0 identity, 1 ELU (alpha 1), 2 logistic sigmoid

// exp of a large positive argument would be inf, and inf * 0 is NaN on drivers that flatten a branch.
fn elu(v: f32) -> f32 {
    return select(exp(min(v, 0.0)) - 1.0, v, v > 0.0);
}

// The clamp keeps exp finite: e^80 is still an f32.
fn sigmoid(v: f32) -> f32 {
    return 1.0 / (1.0 + exp(-clamp(v, -80.0, 80.0)));
}

fn activate(v: f32) -> f32 {
    switch ACT {
        case 1u: { return elu(v); }
        case 2u: { return sigmoid(v); }
        default: { return v; }
    }
}

fn activate4(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(activate(v.x), activate(v.y), activate(v.z), activate(v.w));
}
