//! Test cases of layers with sums: conv2d, dense, gru, mean_pool2d, batch_stats; and of normalize_channels, concat.

use super::{TestCase, fill, fill_scaled};
use crate::kernels::{Activation, BatchStats, Concat, Conv2d, Dense, Gru, MeanPool2d, NormalizeChannels, Op};

pub(super) fn cases() -> Vec<TestCase> {
    let mut cases = Vec::new();
    // Channels in and out, frequency, time, pool window. The windows are those of the published models.
    let convolutions = [
        (3, 5, 7, 11, [1, 1]),
        (1, 5, 7, 11, [1, 1]),
        (1, 13, 7, 11, [2, 2]),
        (1, 7, 13, 17, [2, 4]),
        (5, 3, 7, 13, [2, 2]),
        (6, 7, 11, 13, [3, 3]),
        (4, 17, 8, 19, [4, 4]),
        (7, 5, 7, 23, [3, 5]),
        (3, 6, 13, 23, [2, 5]),
        (3, 6, 13, 23, [3, 4]),
        (3, 11, 5, 29, [2, 4]),
        (2, 2, 1, 1, [1, 1]),
        (2, 3, 1, 5, [1, 1]),
        (2, 3, 5, 1, [1, 1]),
        (9, 33, 4, 4, [4, 4]),
    ];
    // Each case has many configurations: the activation alternates between cases.
    for ((c, o, f, t, pool), activation) in
        convolutions.into_iter().zip([Activation::Elu, Activation::Identity].into_iter().cycle())
    {
        let op = Op::Conv2d(Conv2d { pool, activation });
        let weights = vec![fill_scaled([o, c, 3, 3], 1, 0.3), fill([o], 2)];
        let case = format!("{c}->{o} at {f}x{t}, pool {pool:?}, {activation:?}");
        cases.push(TestCase::new(&case, op, vec![fill([2, c, f, t], 3)], weights));
    }
    // One past 65,535 workgroups of eight threads with the smaller of a software driver's tiles.
    let wide = fill([1, 2, 1, 65_536 * 64 + 1], 4);
    let weights = vec![fill([2, 2, 3, 3], 5), fill([2], 6)];
    cases.push(TestCase::new("past 65,535 workgroups", Op::Conv2d(Conv2d::default()), vec![wide], weights));

    for (case, rows, d, o) in [
        ("primes", 5, 7, 11),
        ("head", 3, 32, 50),
        ("two", 1, 2, 2),
        ("wide", 2, 257, 65),
        ("many", 67, 37, 131),
    ] {
        for activation in [Activation::Identity, Activation::Sigmoid] {
            let op = Op::Dense(Dense { activation });
            let weights = vec![fill_scaled([d, o], 7, 0.3), fill([o], 8)];
            let case = format!("{case}, {activation:?}");
            cases.push(TestCase::new(&case, op, vec![fill([rows, d], 9)], weights));
        }
    }
    let weights = vec![fill([5, 9], 7), fill([9], 8)];
    cases.push(TestCase::new("sequence", Op::Dense(Dense::default()), vec![fill([2, 3, 5], 9)], weights));

    for (n, t, units) in [(2, 3, 5), (1, 15, 32), (3, 7, 33), (2, 1, 2), (1, 4, 61)] {
        let u = fill_scaled([units, 3 * units], 10, 0.5);
        let x = fill_scaled([n, t, 3 * units], 11, 2.0);
        for reset_after in [false, true] {
            let case = format!("[{n}, {t}, {units}]{}", if reset_after { ", reset after" } else { "" });
            let weights = vec![u.clone(), fill([units], 12)];
            cases.push(TestCase::new(&case, Op::Gru(Gru { reset_after }), vec![x.clone()], weights));
        }
    }
    for shape in [[2, 3, 5, 7], [3, 33, 1, 1], [2, 5, 48, 85], [1, 2, 3, 700]] {
        let x = || vec![fill_scaled(shape, 12, 30.0)];
        let case = format!("{shape:?}");
        cases.push(TestCase::new(&case, Op::MeanPool2d(MeanPool2d), x(), vec![]));
        cases.push(TestCase::new(&case, Op::BatchStats(BatchStats), x(), vec![]));
        let mut stats = fill([shape[0], 2 * shape[1]], 13);
        for row in stats.data_mut().chunks_exact_mut(2 * shape[1]) {
            row[shape[1]..].iter_mut().for_each(|variance| *variance += 1.5);
        }
        let op = Op::NormalizeChannels(NormalizeChannels { epsilon: 1e-3 });
        let weights = vec![fill([shape[1]], 14), fill([shape[1]], 15)];
        cases.push(TestCase::new(&case, op, vec![fill(shape, 16), stats], weights));
    }
    for (n, a, b) in [(2, 3, 5), (3, 32, 32), (1, 2, 7)] {
        let inputs = vec![fill([n, a], 17), fill([n, b], 18)];
        cases.push(TestCase::new(&format!("{a}+{b}"), Op::Concat(Concat), inputs, vec![]));
    }
    cases
}
