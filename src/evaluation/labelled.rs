//! Scores and labels of items.

use super::error::EvaluationError;
use super::ranking::Ranking;

/// Scores and labels of `N` items for `K` tags.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledScores {
    tags: Vec<String>,
    /// `[N, K]`.
    scores: Vec<f64>,
    /// `[N, K]`.
    truth: Vec<bool>,
}

impl LabelledScores {
    /// Joins scores and labels, both `[N, K]` in C order.
    ///
    /// # Errors
    /// [`EvaluationError::Length`], [`EvaluationError::NotFinite`], [`EvaluationError::TooMany`].
    pub fn new(
        tags: Vec<String>,
        scores: Vec<f64>,
        truth: Vec<bool>,
    ) -> Result<LabelledScores, EvaluationError> {
        let (scores_len, truth_len) = (scores.len(), truth.len());
        if truth_len != scores_len {
            return Err(EvaluationError::Length { what: "labels", expected: scores_len, found: truth_len });
        }
        if !scores_len.is_multiple_of(tags.len().max(1)) || (tags.is_empty() && scores_len > 0) {
            let expected = scores_len.next_multiple_of(tags.len().max(1));
            return Err(EvaluationError::Length { what: "scores", expected, found: scores_len });
        }
        if u32::try_from(scores_len).is_err() {
            return Err(EvaluationError::TooMany { found: scores_len });
        }
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(EvaluationError::NotFinite { index, found: scores[index] });
        }
        Ok(LabelledScores { tags, scores, truth })
    }

    /// The tags.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.scores.len() / self.tags.len().max(1)
    }

    /// All scores, `[N, K]`.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// All labels, `[N, K]`.
    pub fn truth(&self) -> &[bool] {
        &self.truth
    }

    /// Scores and labels of one tag over all items.
    pub fn column(&self, tag: usize) -> (Vec<f64>, Vec<bool>) {
        let k = self.tags.len().max(1);
        (
            self.scores.iter().skip(tag).step_by(k).copied().collect(),
            self.truth.iter().skip(tag).step_by(k).copied().collect(),
        )
    }

    /// Scores and labels of one item over all tags.
    pub fn rows(&self) -> impl Iterator<Item = (&[f64], &[bool])> {
        let k = self.tags.len().max(1);
        self.scores.chunks(k).zip(self.truth.chunks(k))
    }

    /// Items in the order of their scores for one tag.
    pub fn ranking(&self, tag: usize) -> Ranking {
        let (scores, truth) = self.column(tag);
        Ranking::sorted(&scores, &truth, 1)
    }

    /// All pairs of item and tag in the order of their scores.
    pub fn pooled_ranking(&self) -> Ranking {
        Ranking::sorted(&self.scores, &self.truth, self.tags.len().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let tags = || vec!["a".to_string(), "b".to_string()];
        let new = |scores: &[f64], truth: &[bool]| LabelledScores::new(tags(), scores.into(), truth.into());
        assert!(new(&[0.1, 0.2], &[true]).is_err());
        assert!(new(&[0.1], &[true]).is_err());
        assert!(LabelledScores::new(vec![], vec![0.5], vec![true]).is_err());
        assert!(matches!(
            new(&[0.1, f64::NAN], &[true, true]),
            Err(EvaluationError::NotFinite { index: 1, .. })
        ));
        assert!(new(&[0.1, f64::INFINITY], &[true, true]).is_err());
        let found = new(&[0.1, 0.2, 0.3, 0.4], &[true, false, false, true]).unwrap();
        assert_eq!(found.items(), 2);
        assert_eq!(found.column(1), (vec![0.2, 0.4], vec![false, true]));
        assert_eq!(found.rows().count(), 2);
        assert_eq!(new(&[], &[]).unwrap().items(), 0);
    }
}
