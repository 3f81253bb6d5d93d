//! Reference implementation of `activation.wgsl`.

use crate::kernels::Activation;
use crate::tensor::HostTensor;

pub(super) fn activation(op: Activation, x: &HostTensor) -> Vec<f32> {
    x.data().iter().map(|&v| activate(op, f64::from(v)) as f32).collect()
}

/// Applies the activation function to one value.
pub(super) fn activate(op: Activation, v: f64) -> f64 {
    match op {
        Activation::Identity => v,
        Activation::Elu if v > 0.0 => v,
        Activation::Elu => v.exp_m1(),
        Activation::Sigmoid => 1.0 / (1.0 + (-v).exp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let x = HostTensor::new([4], vec![-1e9, -1.0, 0.0, 2.0]).unwrap();
        assert_eq!(activation(Activation::Elu, &x), [-1.0, (-1f64).exp_m1() as f32, 0.0, 2.0]);
        let y = activation(Activation::Sigmoid, &x);
        assert_eq!([y[0], y[2]], [0.0, 0.5]);
        assert!((y[3] - 0.880_797_1).abs() < 1e-7);
    }
}
