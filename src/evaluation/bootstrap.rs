//! Bootstrap confidence intervals over groups of items.
//!
//! Percentile bootstrap (Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979):
//! groups, for example artists, are drawn with replacement, and a statistic is computed for the items of the drawn
//! groups. Items of one group are not independent, so that items drawn by themselves would give intervals that are too
//! narrow.

use super::random::Random;

/// Level of confidence intervals.
pub const LEVEL: f64 = 0.95;

/// Confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Number of replicates in which the statistic is defined.
    pub replicates: usize,
}

/// Draws groups with replacement; the same seed gives the same draws on every machine.
#[derive(Clone, Debug)]
pub struct Resampler<'a> {
    /// Group of each item.
    groups: &'a [usize],
    group_count: usize,
    random: Random,
    drawn: Vec<u32>,
    weights: Vec<u32>,
}

impl<'a> Resampler<'a> {
    /// Starts with the group of each item, numbered from 0.
    pub fn new(groups: &'a [usize], seed: u64) -> Resampler<'a> {
        let group_count = groups.iter().max().map_or(0, |last| last + 1);
        let (drawn, weights) = (vec![0; group_count], vec![0; groups.len()]);
        Resampler { groups, group_count, random: Random::new(seed), drawn, weights }
    }

    /// Draws as many groups as there are; returns how often each item was drawn.
    pub fn draw(&mut self) -> &[u32] {
        self.drawn.fill(0);
        for _ in 0..self.group_count {
            self.drawn[self.random.below(self.group_count)] += 1;
        }
        for (weight, &group) in self.weights.iter_mut().zip(self.groups) {
            *weight = self.drawn[group];
        }
        &self.weights
    }
}

/// Confidence intervals of statistics: the ends are quantiles of `replicates` values (linear interpolation, as
/// `numpy.quantile`).
///
/// `statistics` gets the weight of each item and returns a value for each statistic. An interval is `None` if its
/// statistic is defined in fewer than half of the replicates, or for fewer than two groups.
pub fn intervals(
    groups: &[usize],
    replicates: usize,
    seed: u64,
    mut statistics: impl FnMut(&[u32]) -> Vec<Option<f64>>,
) -> Vec<Option<Interval>> {
    let mut resampler = Resampler::new(groups, seed);
    let mut values: Vec<Vec<f64>> = Vec::new();
    for _ in 0..replicates {
        let found = statistics(resampler.draw());
        values.resize(found.len(), Vec::new());
        for (values, found) in values.iter_mut().zip(found) {
            values.extend(found);
        }
    }
    let are_many = resampler.group_count > 1;
    let interval = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let is_enough = are_many && values.len() * 2 >= replicates;
        is_enough.then(|| Interval {
            low: quantile(&values, (1.0 - LEVEL) / 2.0),
            high: quantile(&values, (1.0 + LEVEL) / 2.0),
            replicates: values.len(),
        })
    };
    values.into_iter().map(interval).collect()
}

/// Quantile of sorted values; there is at least one.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_a_group_are_drawn_together() {
        let groups = [0, 1, 0, 2, 1];
        let mut resampler = Resampler::new(&groups, 1);
        for _ in 0..50 {
            let weights = resampler.draw();
            assert!(weights[0] == weights[2] && weights[1] == weights[4]);
            assert_eq!(weights[0] + weights[1] + weights[3], 3);
        }
    }

    #[test]
    fn a_seed_gives_the_same_interval() {
        let groups: Vec<usize> = (0..200).collect();
        let mean = |weights: &[u32]| {
            let sum: f64 = weights.iter().enumerate().map(|(i, &w)| (i % 2) as f64 * f64::from(w)).sum();
            vec![Some(sum / 200.0), None]
        };
        let found = intervals(&groups, 1000, 7, mean);
        assert_eq!(found, intervals(&groups, 1000, 7, mean));
        let interval = found[0].unwrap();
        // The standard error of a mean of 200 values of deviation 0.5 is 0.0354.
        let half = (interval.high - interval.low) / 2.0;
        assert!((half - 1.96 * 0.0354).abs() < 0.01, "{interval:?}");
        assert_eq!((found[1], interval.replicates), (None, 1000));
        // One group says nothing about others.
        assert_eq!(intervals(&[0, 0], 10, 1, |_| vec![Some(1.0)]), [None]);
        assert!(intervals(&[], 10, 1, |_| vec![]).is_empty());
    }
}
