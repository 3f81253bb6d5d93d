//! Folds of cross-validation.

use super::random::Random;

/// A fold for each item; items of a group are in the same fold.
#[derive(Clone, Debug, PartialEq)]
pub struct Folds {
    of: Vec<usize>,
    count: usize,
}

impl Folds {
    /// Divides the groups of items, numbered from 0, among `count` folds, in an order that depends on `seed`; `None` with
    /// fewer groups than folds, or fewer than two folds.
    pub fn new(groups: &[usize], count: usize, seed: u64) -> Option<Folds> {
        let group_count = groups.iter().max().map_or(0, |last| last + 1);
        if count < 2 || group_count < count {
            return None;
        }
        let places = Random::new(seed).permutation(group_count);
        Some(Folds { of: groups.iter().map(|&group| places[group] % count).collect(), count })
    }

    /// Number of folds.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.of.len()
    }

    /// Fold of an item.
    pub fn of(&self, item: usize) -> usize {
        self.of[item]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stay_together_in_folds_of_equal_size() {
        let groups: Vec<usize> = (0..60).map(|item| item / 3).collect();
        let folds = Folds::new(&groups, 5, 3).unwrap();
        for group in 0..20 {
            assert!((1..3).all(|item| folds.of(3 * group + item) == folds.of(3 * group)));
        }
        let size = |fold| (0..60).filter(|&item| folds.of(item) == fold).count();
        assert!((0..5).all(|fold| size(fold) == 12));
        assert_ne!(Folds::new(&groups, 5, 4), Some(folds));
        assert!(Folds::new(&groups, 21, 0).is_none() && Folds::new(&groups, 1, 0).is_none());
    }
}
