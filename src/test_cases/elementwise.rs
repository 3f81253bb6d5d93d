//! Test cases of the ops with one thread per element: activation, batch_norm, last_state, max_pool2d,
//! normalize, pad_time.

use super::{TestCase, fill, fill_scaled};
use crate::kernels::{Activation, Axis, BatchNorm, LastState, Level, MaxPool2d, Normalize, Op, PadTime};
use crate::tensor::Shape;

pub(super) fn cases() -> Vec<TestCase> {
    let mut cases = Vec::new();
    for op in [Activation::Identity, Activation::Elu, Activation::Sigmoid] {
        for shape in [[2, 3, 5, 7].into(), [2, 1, 5, 13].into(), Shape::from([3, 50])] {
            let x = fill_scaled(shape, 1, 3.0);
            cases.push(TestCase::new(&format!("{op:?} {shape}"), Op::Activation(op), vec![x], vec![]));
        }
    }
    // Far from zero nothing may overflow.
    let extremes = fill_scaled([2, 127], 1, 3000.0);
    for op in [Activation::Elu, Activation::Sigmoid] {
        cases.push(TestCase::new(
            &format!("{op:?} extremes"),
            Op::Activation(op),
            vec![extremes.clone()],
            vec![],
        ));
    }
    // Workgroups of 64 threads: one less, exact, one more, and one more than 65,535 workgroups.
    for extent in [1, 63, 64, 65, 65_536 * 64 + 1] {
        let x = fill([1, 1, 1, extent], 2);
        let op = Op::Activation(Activation::Elu);
        cases.push(TestCase::new(&format!("{extent} elements"), op, vec![x], vec![]));
    }
    for (axis, extent, shape) in
        [(Axis::Channel, 3, [2, 3, 5, 7]), (Axis::Time, 7, [2, 3, 5, 7]), (Axis::Time, 11, [3, 1, 5, 11])]
    {
        let weights = vec![fill([extent], 3), fill([extent], 4)];
        let op = Op::BatchNorm(BatchNorm { axis });
        cases.push(TestCase::new(&format!("{axis:?} {shape:?}"), op, vec![fill(shape, 5)], weights));
    }
    for (window, shape) in
        [([2, 3], [2, 3, 5, 7]), ([1, 1], [2, 5, 3, 2]), ([5, 7], [2, 3, 5, 7]), ([3, 5], [1, 6, 13, 31])]
    {
        let op = Op::MaxPool2d(MaxPool2d { window });
        cases.push(TestCase::new(&format!("{window:?} {shape:?}"), op, vec![fill(shape, 6)], vec![]));
    }
    for (left, right, shape) in [(2, 3, [2, 3, 5, 7]), (0, 1, [2, 1, 5, 7]), (3, 0, [1, 4, 2, 1])] {
        let op = Op::PadTime(PadTime { left, right });
        cases.push(TestCase::new(&format!("{left}+{right} {shape:?}"), op, vec![fill(shape, 7)], vec![]));
    }
    for shape in [[2, 3, 5], [3, 1, 7], [1, 7, 32]] {
        let op = Op::LastState(LastState);
        cases.push(TestCase::new(&format!("{shape:?}"), op, vec![fill(shape, 8)], vec![]));
    }
    cases.extend(normalize());
    cases
}

fn normalize() -> Vec<TestCase> {
    let mut cases = Vec::new();
    // Values of -60..60 dB against maxima of about 50 dB: with a range of 80 some lie below the floor.
    for level in [Level::Absolute, Level::BelowMaximum, Level::Standardised] {
        for (pad, affine) in [([0, 0], false), ([0, 0], true), ([2, 3], true), ([3, 0], false)] {
            let x = fill_scaled([2, 1, 5, 7], 9, 60.0);
            let mut stats = fill([2, 3], 10);
            for clip in stats.data_mut().chunks_exact_mut(3) {
                (clip[0], clip[1], clip[2]) = (50.0 + clip[0], 3.0 * clip[1], 20.0 + clip[2]);
            }
            let frames = pad[0] + 7 + pad[1];
            let weights = if affine { vec![fill([frames], 11), fill([frames], 12)] } else { vec![] };
            let op = Op::Normalize(Normalize { level, range_db: 80.0, epsilon: 1e-8, pad });
            let case = format!("{level:?} pad {pad:?} affine {affine}");
            cases.push(TestCase::new(&case, op, vec![x, stats], weights));
        }
    }
    cases
}
