//! Mean of values that may not be defined.

/// Mean of defined values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DefinedMean {
    /// The mean.
    pub value: f64,
    /// Number of defined values.
    pub count: usize,
}

/// Mean of the values that are defined; `None` if none is.
pub fn mean_of_defined(values: impl IntoIterator<Item = Option<f64>>) -> Option<DefinedMean> {
    let (sum, count) = values.into_iter().flatten().fold((0.0, 0), |(sum, n), value| (sum + value, n + 1));
    (count > 0).then(|| DefinedMean { value: sum / count as f64, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_values_are_left_out() {
        assert_eq!(mean_of_defined([Some(1.0), None, Some(2.0)]), Some(DefinedMean { value: 1.5, count: 2 }));
        assert_eq!(mean_of_defined([None]), None);
    }
}
