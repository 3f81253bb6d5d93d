//! Reference implementation of `concat.wgsl`.

use crate::tensor::HostTensor;

pub(super) fn concat(a: &HostTensor, b: &HostTensor) -> Vec<f32> {
    (0..a.shape().extent(0)).flat_map(|n| [a.row(n), b.row(n)].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_by_row() {
        let a = HostTensor::from_fn([2, 1], |i| i as f32);
        let b = HostTensor::from_fn([2, 2], |i| 10.0 + i as f32);
        assert_eq!(concat(&a, &b), [0.0, 10.0, 11.0, 1.0, 12.0, 13.0]);
    }
}
