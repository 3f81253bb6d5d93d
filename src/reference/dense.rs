//! Reference implementation of `dense.wgsl`.

use super::activation::activate;
use crate::kernels::Dense;
use crate::tensor::HostTensor;

pub(super) fn dense(op: &Dense, x: &HostTensor, w: &HostTensor, b: &HostTensor) -> Vec<f32> {
    let [inputs, outputs] = [0, 1].map(|axis| w.shape().extent(axis));
    let mut y = Vec::new();
    for row in x.data().chunks_exact(inputs) {
        for o in 0..outputs {
            let products = (0..inputs).map(|d| f64::from(row[d]) * f64::from(w.data()[d * outputs + o]));
            y.push(activate(op.activation, products.sum::<f64>() + f64::from(b.data()[o])) as f32);
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hot_rows_pick_weight_rows() {
        let x = HostTensor::new([2, 3], vec![0.0, 1.0, 0.0, 0.0, 0.0, 2.0]).unwrap();
        let w = HostTensor::from_fn([3, 2], |i| i as f32);
        let b = HostTensor::new([2], vec![10.0, 20.0]).unwrap();
        assert_eq!(dense(&Dense::default(), &x, &w, &b), [12.0, 23.0, 18.0, 30.0]);
    }
}
