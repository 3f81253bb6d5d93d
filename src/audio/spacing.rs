//! Positions of the samples that are computed: all, or every second.

/// Positions of computed samples: those that leave the remainder `parity` when divided by `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spacing {
    step: u64,
    parity: u64,
}

impl Spacing {
    /// Every sample.
    pub(crate) const ALL: Spacing = Spacing { step: 1, parity: 0 };

    /// Every second sample, where sample `dropped` of the decoder is at position 0 and the decoder computes its even
    /// ones.
    pub(crate) fn halves(dropped: u64) -> Spacing {
        Spacing { step: 2, parity: dropped % 2 }
    }

    /// Distance of the samples.
    pub(crate) fn step(self) -> u64 {
        self.step
    }

    /// Number of computed samples before `position`: the index of the first one at or after it. Negative before the
    /// start of the track.
    pub(crate) fn index(self, position: i64) -> i64 {
        let step = self.step as i64;
        (position - self.parity as i64 + step - 1).div_euclid(step)
    }

    /// Position of a sample.
    pub(crate) fn position(self, index: i64) -> i64 {
        index * self.step as i64 + self.parity as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_and_positions_agree() {
        for spacing in [Spacing::ALL, Spacing::halves(0), Spacing::halves(1), Spacing::halves(1105)] {
            for position in -20..20 {
                let index = spacing.index(position);
                let found = spacing.position(index);
                assert!(
                    (position..position + spacing.step as i64).contains(&found),
                    "{spacing:?} {position}"
                );
                assert_eq!(spacing.index(found), index);
            }
        }
    }
}
