//! Reference implementation of `gru.wgsl`.

use crate::kernels::Gru;
use crate::tensor::HostTensor;

pub(super) fn gru(op: &Gru, x: &HostTensor, [u, b]: [&HostTensor; 2]) -> Vec<f32> {
    let [batch, frames] = [0, 1].map(|axis| x.shape().extent(axis));
    let units = u.shape().extent(0);
    let recurrent = |h: &[f64], gate: usize, j: usize| -> f64 {
        (0..units).map(|k| h[k] * f64::from(u.data()[k * 3 * units + gate * units + j])).sum()
    };
    let gate =
        |v: f64| if op.reset_after { 1.0 / (1.0 + (-v).exp()) } else { (0.2 * v + 0.5).clamp(0.0, 1.0) };
    let mut y = Vec::new();
    for n in 0..batch {
        let mut h = vec![0f64; units];
        for t in 0..frames {
            let x = &x.data()[(n * frames + t) * 3 * units..][..3 * units];
            let x = |gate: usize, j: usize| f64::from(x[gate * units + j]);
            let z: Vec<f64> = (0..units).map(|j| gate(x(0, j) + recurrent(&h, 0, j))).collect();
            let r: Vec<f64> = (0..units).map(|j| gate(x(1, j) + recurrent(&h, 1, j))).collect();
            let reset: Vec<f64> = (0..units).map(|j| r[j] * h[j]).collect();
            let candidate = |j: usize| {
                if op.reset_after {
                    x(2, j) + r[j] * (recurrent(&h, 2, j) + f64::from(b.data()[j]))
                } else {
                    x(2, j) + recurrent(&reset, 2, j)
                }
            };
            let c: Vec<f64> = (0..units).map(|j| candidate(j).tanh()).collect();
            h = (0..units).map(|j| z[j] * h[j] + (1.0 - z[j]) * c[j]).collect();
            y.extend(h.iter().map(|&v| v as f32));
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_open_and_shut() {
        // z = 1 keeps the state of zeros, z = 0 takes the candidate tanh(1).
        let x = HostTensor::new([1, 2, 3], vec![100.0, 0.0, 1.0, -100.0, 0.0, 1.0]).unwrap();
        let y = gru(&Gru::default(), &x, [&HostTensor::zeros([1, 3]), &HostTensor::zeros([1])]);
        assert_eq!(y, [0.0, 1f64.tanh() as f32]);
    }

    #[test]
    fn the_reset_gate_comes_before_the_product() {
        // The candidate of the second frame is tanh(r * h * u) with h = tanh(1), r = 0.5 and u = 2.
        let x = HostTensor::new([1, 2, 3], vec![-100.0, 0.0, 1.0, -100.0, 0.0, 0.0]).unwrap();
        let u = HostTensor::new([1, 3], vec![0.0, 0.0, 2.0]).unwrap();
        let b = HostTensor::new([1], vec![9.0]).unwrap();
        assert_eq!(gru(&Gru::default(), &x, [&u, &b])[1], (0.5 * 1f64.tanh() * 2.0).tanh() as f32);
        // After it: tanh(r * (h * u + b)), where only z = 0 remains of the first frame.
        let y = gru(&Gru { reset_after: true }, &x, [&u, &b]);
        let h = (1.0 + 0.5 * 9f64).tanh();
        assert!((f64::from(y[1]) - (0.5 * (2.0 * h + 9.0)).tanh()).abs() < 1e-7);
    }
}
