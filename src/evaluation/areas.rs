//! Areas under the curves of all tags, their mean and those of all pairs together.

use super::labelled::LabelledScores;
use super::mean::mean_of_defined;
use super::ranking::{Areas, Ranking};

/// Rankings of every tag and of all pairs of item and tag.
pub(super) struct Rankings {
    tags: Vec<Ranking>,
    pooled: Ranking,
}

impl Rankings {
    pub(super) fn new(data: &LabelledScores) -> Rankings {
        Rankings {
            tags: (0..data.tags().len()).map(|tag| data.ranking(tag)).collect(),
            pooled: data.pooled_ranking(),
        }
    }

    /// Areas of each tag, then their macro average, then those of all pairs (micro average).
    pub(super) fn areas(&self, weights: Option<&[u32]>) -> Vec<Areas> {
        let mut areas: Vec<Areas> = self.tags.iter().map(|ranking| ranking.areas(weights)).collect();
        let mean =
            |of: fn(&Areas) -> Option<f64>| mean_of_defined(areas.iter().map(of)).map(|mean| mean.value);
        let means = Areas {
            roc_auc: mean(|areas| areas.roc_auc),
            average_precision: mean(|areas| areas.average_precision),
        };
        areas.extend([means, self.pooled.areas(weights)]);
        areas
    }

    /// Number of tags with both areas.
    pub(super) fn defined(&self) -> usize {
        self.tags.iter().filter(|ranking| ranking.roc_auc(None).is_some()).count()
    }
}

/// Areas in one list: ROC-AUC and average precision in turn.
pub(super) fn flat(areas: &[Areas]) -> Vec<Option<f64>> {
    areas.iter().flat_map(|areas| [areas.roc_auc, areas.average_precision]).collect()
}
