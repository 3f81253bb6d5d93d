//! A linear head, and its fit to labelled features.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::error::LearningError;
use super::features::LabelledFeatures;
use super::logistic::regression;
use crate::evaluation::sigmoid;

/// Standard deviation of a constant feature in units of its mean, at most.
const ROUNDING: f64 = 1e-12;

/// Settings of learning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearnOptions {
    /// Weight of the squared coefficients, of standardised features: 1/C of scikit-learn.
    pub penalty: f64,
    /// Gives the tracks with a tag and those without it the same total weight.
    pub balanced: bool,
}

impl Default for LearnOptions {
    fn default() -> LearnOptions {
        LearnOptions { penalty: 1.0, balanced: false }
    }
}

/// Scores of tags from features: `sigmoid(features . weight + bias)`.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearHead {
    /// Tags.
    pub tags: Vec<String>,
    /// Weight `[D, K]`.
    pub weight: Vec<f64>,
    /// Bias `[K]`.
    pub bias: Vec<f64>,
}

impl LinearHead {
    /// Scores `[K]` of one track's features `[D]`.
    pub fn scores(&self, features: &[f64]) -> Vec<f64> {
        let mut logits = self.bias.clone();
        for (feature, weights) in features.iter().zip(self.weight.chunks_exact(self.tags.len().max(1))) {
            logits.iter_mut().zip(weights).for_each(|(logit, weight)| *logit += feature * weight);
        }
        logits.into_iter().map(sigmoid).collect()
    }
}

impl LinearHead {
    /// Adds the tags of another head that this one does not have.
    ///
    /// # Errors
    /// [`LearningError::Length`] for a head on another number of features.
    pub fn extend(&mut self, other: &LinearHead) -> Result<(), LearningError> {
        let dimensions = |head: &LinearHead| head.weight.len().checked_div(head.tags.len()).unwrap_or(0);
        let (expected, found) = (dimensions(self), dimensions(other));
        if expected != found {
            return Err(LearningError::Length { what: "weights of a tag", expected, found });
        }
        let new: Vec<usize> =
            (0..other.tags.len()).filter(|&tag| !self.tags.contains(&other.tags[tag])).collect();
        let rows = self.weight.chunks_exact(self.tags.len()).zip(other.weight.chunks_exact(other.tags.len()));
        self.weight = rows
            .flat_map(|(own, others)| own.iter().copied().chain(new.iter().map(|&tag| others[tag])))
            .collect();
        self.bias.extend(new.iter().map(|&tag| other.bias[tag]));
        self.tags.extend(new.iter().map(|&tag| other.tags[tag].clone()));
        Ok(())
    }
}

/// Fits a logistic regression per tag to standardised features. The standardisation is part of the result: its weights are
/// for the features themselves.
///
/// # Errors
/// [`LearningError::OneClass`], [`LearningError::Penalty`], [`LearningError::NoConvergence`].
pub fn fit(data: &LabelledFeatures, options: &LearnOptions) -> Result<LinearHead, LearningError> {
    if !(options.penalty > 0.0 && options.penalty.is_finite()) {
        return Err(LearningError::Penalty { found: options.penalty });
    }
    let (tracks, dimensions, count) = (data.tracks(), data.dimensions(), data.tags().len());
    let Scale { mean, deviation } = Scale::of(data);
    let rows: Vec<&[f64]> = data.rows().collect();
    let x = DMatrix::from_fn(tracks, dimensions + 1, |track, feature| match feature {
        last if last == dimensions => 1.0,
        feature => (rows[track][feature] - mean[feature]) / deviation[feature],
    });
    let fitted: Result<Vec<DVector<f64>>, LearningError> = (0..count)
        .into_par_iter()
        .map(|tag| {
            let truth: Vec<bool> = data.column(tag).collect();
            let positives = truth.iter().filter(|&&is_true| is_true).count();
            let name = || data.tags()[tag].clone();
            if positives == 0 || positives == tracks {
                return Err(LearningError::OneClass { tag: name(), positives, tracks });
            }
            let cost = |is_true: bool| {
                let class = if is_true { positives } else { tracks - positives };
                if options.balanced { tracks as f64 / (2.0 * class as f64) } else { 1.0 }
            };
            let costs: Vec<f64> = truth.iter().map(|&is_true| cost(is_true)).collect();
            regression(&x, &truth, &costs, options.penalty)
                .ok_or_else(|| LearningError::NoConvergence { tag: name() })
        })
        .collect();
    let fitted = fitted?;
    let mut head = LinearHead {
        tags: data.tags().to_vec(),
        weight: vec![0.0; dimensions * count],
        bias: fitted.iter().map(|w| w[dimensions]).collect(),
    };
    for feature in 0..dimensions {
        for (tag, w) in fitted.iter().enumerate() {
            let weight = w[feature] / deviation[feature];
            head.weight[feature * count + tag] = weight;
            head.bias[tag] -= weight * mean[feature];
        }
    }
    Ok(head)
}

/// Mean and standard deviation of each feature.
struct Scale {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scale {
    fn of(data: &LabelledFeatures) -> Scale {
        let count = data.tracks().max(1) as f64;
        let mut mean = vec![0.0; data.dimensions()];
        data.rows().for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / count));
        let mut variance = vec![0.0; data.dimensions()];
        for row in data.rows() {
            for ((variance, value), mean) in variance.iter_mut().zip(row).zip(&mean) {
                *variance += (value - mean).powi(2) / count;
            }
        }
        // A feature that is constant but for rounding: its coefficient will be 0.
        let is_constant = |variance: f64, mean: f64| variance.sqrt() <= ROUNDING * mean.abs();
        let deviation = |(variance, &mean): (f64, &f64)| {
            if is_constant(variance, mean) { 1.0 } else { variance.sqrt() }
        };
        let deviation = variance.into_iter().zip(&mean).map(deviation).collect();
        Scale { mean, deviation }
    }
}
