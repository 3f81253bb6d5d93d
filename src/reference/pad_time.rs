//! Reference implementation of `pad_time.wgsl`.

use crate::kernels::PadTime;
use crate::tensor::HostTensor;

pub(super) fn pad_time(op: &PadTime, x: &HostTensor) -> Vec<f32> {
    let mut y = Vec::new();
    for row in x.data().chunks_exact(x.shape().extent(3)) {
        y.extend(std::iter::repeat_n(0.0, op.left));
        y.extend_from_slice(row);
        y.extend(std::iter::repeat_n(0.0, op.right));
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_on_both_sides_of_each_row() {
        let x = HostTensor::new([1, 1, 2, 1], vec![1.0, 2.0]).unwrap();
        assert_eq!(pad_time(&PadTime { left: 1, right: 2 }, &x), [0.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0]);
    }
}
