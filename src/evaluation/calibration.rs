//! Calibration: agreement of scores with frequencies, and curves that improve it.

/// Scores are kept this far from 0 and 1 before their logit is taken: the precision of scores in files.
const EDGE: f64 = 1e-6;

/// Items whose scores are in one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReliabilityBin {
    /// Lower end, excluded except in the first bin.
    pub low: f64,
    /// Upper end, included.
    pub high: f64,
    /// Number of entries.
    pub count: u64,
    /// Mean score; 0 without entries.
    pub mean_score: f64,
    /// Share of true entries; 0 without entries.
    pub true_share: f64,
}

/// Reliability diagram.
#[derive(Clone, Debug, PartialEq)]
pub struct Reliability {
    /// Bins of equal width over 0..1.
    pub bins: Vec<ReliabilityBin>,
}

impl Reliability {
    /// Expected calibration error: the mean of `|mean score - share of true entries|` over bins, weighted by their
    /// counts (Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI
    /// 2015). `None` without entries.
    pub fn expected_error(&self) -> Option<f64> {
        let count: u64 = self.bins.iter().map(|bin| bin.count).sum();
        let error = |bin: &ReliabilityBin| bin.count as f64 * (bin.mean_score - bin.true_share).abs();
        (count > 0).then(|| self.bins.iter().map(error).sum::<f64>() / count as f64)
    }
}

/// Bins scores as scikit-learn's `calibration_curve`. Scores outside of 0..1 count in the first or last bin.
pub fn reliability(entries: impl IntoIterator<Item = (f64, bool)>, bins: usize) -> Reliability {
    let bins = bins.max(1);
    let width = 1.0 / bins as f64;
    let edges: Vec<f64> = (1..bins).map(|edge| edge as f64 * width).collect();
    let mut sums = vec![(0u64, 0.0, 0u64); bins];
    for (score, truth) in entries {
        let (count, sum, positives) = &mut sums[edges.partition_point(|&edge| edge < score)];
        *count += 1;
        *sum += score;
        *positives += u64::from(truth);
    }
    let bin = |(index, (count, sum, positives)): (usize, (u64, f64, u64))| {
        let of = |sum: f64| if count == 0 { 0.0 } else { sum / count as f64 };
        ReliabilityBin {
            low: index.checked_sub(1).map_or(0.0, |edge| edges[edge]),
            high: edges.get(index).copied().unwrap_or(1.0),
            count,
            mean_score: of(sum),
            true_share: of(positives as f64),
        }
    };
    Reliability { bins: sums.into_iter().enumerate().map(bin).collect() }
}

/// Brier score: mean of `(score - label)^2` (Brier, "Verification of forecasts expressed in terms of probability",
/// Monthly Weather Review 78, 1950). `None` without entries.
pub fn brier(entries: impl IntoIterator<Item = (f64, bool)>) -> Option<f64> {
    let (sum, count) = entries.into_iter().fold((0.0, 0u64), |(sum, count), (score, truth)| {
        (sum + (score - f64::from(u8::from(truth))).powi(2), count + 1)
    });
    (count > 0).then(|| sum / count as f64)
}

/// Logit of a score, `ln(p / (1 - p))`, for scores at least 1e-6 from 0 and 1; others are moved there.
pub fn logit(score: f64) -> f64 {
    let p = score.clamp(EDGE, 1.0 - EDGE);
    (p / (1.0 - p)).ln()
}

/// Logistic function.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Temperature scaling: `sigmoid(logit(score) / t)` with one temperature for all tags (Guo, Pleiss, Sun and Weinberger,
/// "On calibration of modern neural networks", ICML 2017).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature(pub f64);

impl Temperature {
    /// Fits the temperature of largest likelihood, between 0.01 and 100. `None` if there is none: scores do not rise with
    /// the labels or separate them, or there are no entries.
    pub fn fit(entries: impl IntoIterator<Item = (f64, bool)>) -> Option<Temperature> {
        let entries: Vec<(f64, f64)> =
            entries.into_iter().map(|(score, truth)| (logit(score), f64::from(u8::from(truth)))).collect();
        // The derivative of the negative log likelihood by the slope 1/t, which rises with the slope.
        let slope_of_loss =
            |slope: f64| entries.iter().map(|(x, y)| (sigmoid(slope * x) - y) * x).sum::<f64>();
        let (mut low, mut high) = (0.01f64, 100.0f64);
        if entries.is_empty() || slope_of_loss(low) > 0.0 || slope_of_loss(high) < 0.0 {
            return None;
        }
        while high - low > 1e-14 * high {
            let middle = low + (high - low) / 2.0;
            if middle <= low || middle >= high {
                break;
            }
            if slope_of_loss(middle) > 0.0 { high = middle } else { low = middle }
        }
        Some(Temperature(1.0 / high))
    }

    /// Calibrated score.
    pub fn apply(self, score: f64) -> f64 {
        sigmoid(logit(score) / self.0)
    }
}

/// Platt scaling of one tag: `sigmoid(a logit(score) + b)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Platt {
    /// Slope, above 0.
    pub a: f64,
    /// Offset.
    pub b: f64,
}

impl Platt {
    /// Fits a curve by Newton's method with backtracking on Platt's targets `(n + 1) / (n + 2)` and `1 / (m + 2)` of `n`
    /// true and `m` false entries, which keep the curve finite where scores separate the labels (Platt, "Probabilistic
    /// outputs for support vector machines", 1999; Lin, Lin and Weng, "A note on Platt's probabilistic outputs",
    /// Machine Learning 68, 2007).
    ///
    /// `None` if only one class or one score is there, or scores fall where the label holds.
    pub fn fit(entries: impl IntoIterator<Item = (f64, bool)>) -> Option<Platt> {
        let entries: Vec<(f64, bool)> =
            entries.into_iter().map(|(score, truth)| (logit(score), truth)).collect();
        let positives = entries.iter().filter(|(_, truth)| *truth).count() as f64;
        let negatives = entries.len() as f64 - positives;
        let first = entries.first()?.0;
        if positives == 0.0 || negatives == 0.0 || entries.iter().all(|(x, _)| *x == first) {
            return None;
        }
        let target =
            |truth| if truth { (positives + 1.0) / (positives + 2.0) } else { 1.0 / (negatives + 2.0) };
        let pairs: Vec<(f64, f64)> = entries.into_iter().map(|(x, truth)| (x, target(truth))).collect();
        let found = newton(&pairs, ((positives + 1.0) / (negatives + 1.0)).ln());
        (found.a > 0.0).then_some(found)
    }

    /// Calibrated score.
    pub fn apply(self, score: f64) -> f64 {
        sigmoid(self.a * logit(score) + self.b)
    }
}

/// Minimises the cross-entropy of `sigmoid(a x + b)` against targets, from `a = 0` and `b = start`.
fn newton(pairs: &[(f64, f64)], start: f64) -> Platt {
    // ln(1 + exp(z)) - t z, without overflow.
    let loss = |at: Platt| -> f64 {
        let of = |&(x, t): &(f64, f64)| {
            let z = at.a * x + at.b;
            z.max(0.0) + (-z.abs()).exp().ln_1p() - t * z
        };
        pairs.iter().map(of).sum()
    };
    let mut at = Platt { a: 0.0, b: start };
    let mut least = loss(at);
    for _ in 0..100 {
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 1e-12, 0.0, 1e-12);
        for &(x, t) in pairs {
            let p = sigmoid(at.a * x + at.b);
            let (residual, weight) = (p - t, p * (1.0 - p));
            ga += residual * x;
            gb += residual;
            haa += weight * x * x;
            hab += weight * x;
            hbb += weight;
        }
        let determinant = haa * hbb - hab * hab;
        let (da, db) = ((hab * gb - hbb * ga) / determinant, (hab * ga - haa * gb) / determinant);
        if !(da.is_finite() && db.is_finite()) {
            break;
        }
        let descent = ga * da + gb * db;
        let mut step = 1.0;
        let next = loop {
            let next = Platt { a: at.a + step * da, b: at.b + step * db };
            if loss(next) <= least + 1e-4 * step * descent {
                break Some(next);
            }
            step /= 2.0;
            if step < 1e-10 {
                break None;
            }
        };
        // No step is smaller than the rounding of the loss: a last full step is still exact.
        let is_done = da.abs() < 1e-13 * (1.0 + at.a.abs()) && db.abs() < 1e-13 * (1.0 + at.b.abs());
        match next {
            Some(next) => (at, least) = (next, loss(next)),
            None if da.abs() < 1e-6 && db.abs() < 1e-6 => at = Platt { a: at.a + da, b: at.b + db },
            None => break,
        }
        if is_done {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_include_their_upper_end() {
        let entries = [(0.0, false), (0.1, true), (0.1f64.next_up(), true), (1.0, true)];
        let found = reliability(entries, 10);
        let counts: Vec<u64> = found.bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((found.bins[0].mean_score, found.bins[0].true_share), (0.05, 0.5));
        assert!((found.expected_error().unwrap() - (0.9 + 0.9) / 4.0).abs() < 1e-12);
        assert_eq!(reliability([], 10).expected_error(), None);
        assert_eq!(brier([]), None);
        assert_eq!(brier([(0.5, true), (1.0, false)]), Some(0.625));
    }

    #[test]
    fn a_known_curve_is_found_again() {
        // Frequencies that are exactly sigmoid(logit(p) / 2).
        let mut entries = Vec::new();
        for (score, share) in [(0.9, 0.75), (0.5, 0.5), (0.1, 0.25)] {
            entries.extend((0..400).map(|i| (score, f64::from(i) < 400.0 * share)));
        }
        let Temperature(t) = Temperature::fit(entries.iter().copied()).unwrap();
        assert!((t - 2.0).abs() < 1e-9, "{t}");
        let platt = Platt::fit(entries).unwrap();
        assert!((platt.a - 0.5).abs() < 0.01 && platt.b.abs() < 0.01, "{platt:?}");
        assert!((platt.apply(0.9) - 0.75).abs() < 0.01);
    }

    #[test]
    fn what_cannot_be_fitted_is_none() {
        assert_eq!(Temperature::fit([]), None);
        assert_eq!(Temperature::fit([(0.9, true), (0.1, false)]), None);
        assert_eq!(Platt::fit([]), None);
        assert_eq!(Platt::fit([(0.5, true), (0.5, false)]), None);
        assert_eq!(Platt::fit([(0.2, true), (0.5, true)]), None);
        let falling = [(0.9, false), (0.8, false), (0.2, true), (0.1, true)];
        assert_eq!((Platt::fit(falling), Temperature::fit(falling)), (None, None));
        // Separated labels give a finite curve.
        let platt = Platt::fit([(0.9, true), (0.8, true), (0.2, false), (0.0, false), (1.0, true)]).unwrap();
        assert!(platt.a.is_finite() && platt.apply(1.0) < 1.0);
    }
}
