//! Scores of tracks by heads that were fitted to the others.

use super::error::LearningError;
use super::features::LabelledFeatures;
use super::head::{LearnOptions, fit};
use crate::evaluation::Folds;

/// Scores `[N, K]`: those of each fold by a head that was fitted to the other folds. `folds` has the fold of each track. A tag
/// that the other folds do not have, or that all their tracks have, gets the score 0 or 1.
///
/// # Errors
/// As [`fit`].
pub fn cross_validate(
    data: &LabelledFeatures,
    folds: &Folds,
    options: &LearnOptions,
) -> Result<Vec<f64>, LearningError> {
    let count = data.tags().len();
    let mut scores = vec![0.0; data.tracks() * count];
    for left_out in 0..folds.count() {
        let rest = data.part(|track| folds.of(track) != left_out);
        let share = |tag: usize| rest.column(tag).filter(|&is_true| is_true).count();
        let is_mixed = |tag: &usize| (1..rest.tracks()).contains(&share(*tag));
        let mixed: Vec<usize> = (0..count).filter(is_mixed).collect();
        let head = fit(&rest.with_tags(&mixed), options)?;
        for (track, row) in data.rows().enumerate().filter(|(track, _)| folds.of(*track) == left_out) {
            let found = &mut scores[track * count..][..count];
            for (tag, score) in found.iter_mut().enumerate() {
                *score = if rest.tracks() > 0 && share(tag) == rest.tracks() { 1.0 } else { 0.0 };
            }
            for (&tag, score) in mixed.iter().zip(head.scores(row)) {
                found[tag] = score;
            }
        }
    }
    Ok(scores)
}
