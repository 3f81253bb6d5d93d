//! Warnings for the caller of a tagger.

use std::sync::{Mutex, PoisonError};

/// Maximum number of warnings that are kept until the caller takes them.
const MAX_WARNINGS: usize = 100;

/// Warnings for the caller.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<(Vec<String>, usize)>);

impl Warnings {
    pub(super) fn add(&self, warning: impl Into<String>) {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.0.len() < MAX_WARNINGS {
            warnings.0.push(warning.into());
        } else {
            warnings.1 += 1;
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        let (mut warnings, left_out) =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if left_out > 0 {
            warnings.push(format!("{left_out} more warnings were left out"));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_bounded() {
        let warnings = Warnings::default();
        (0..1000).for_each(|index| warnings.add(index.to_string()));
        let taken = warnings.take();
        assert_eq!(taken.len(), MAX_WARNINGS + 1);
        assert_eq!(taken[MAX_WARNINGS], "900 more warnings were left out");
        assert!(warnings.take().is_empty());
    }
}
