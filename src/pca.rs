//! Principal component analysis of streamed rows.
//!
//! Mean and covariance are updated in f64 with every row (Welford's method), so that memory depends on the length of a
//! row only.

use nalgebra::{DMatrix, SymmetricEigen};

/// Maximum length of a row; the covariance grows with its square.
pub const MAX_DIMENSIONS: usize = 256;

/// Error of the analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PcaError {
    /// Empty or too long rows.
    #[error("expected rows of 1 to {MAX_DIMENSIONS} features, found {found}")]
    Dimensions {
        /// Length of a row.
        found: usize,
    },
    /// A row of another length than the first row.
    #[error("expected {expected} features, found {found}")]
    Length {
        /// Length of the first row.
        expected: usize,
        /// Length of this row.
        found: usize,
    },
    /// Too many components.
    #[error("expected 1 to {most} components of {rows} rows of {dimensions} features, found {found}")]
    Count {
        /// Requested number of components.
        found: usize,
        /// Maximum number of components.
        most: usize,
        /// Number of rows.
        rows: u64,
        /// Length of each row.
        dimensions: usize,
    },
}

/// Mean and covariance of rows.
#[derive(Clone, Debug)]
pub struct Moments {
    rows: u64,
    mean: Vec<f64>,
    /// Sums of products of deviations, `[D, D]`; only `i <= j` is updated.
    products: Vec<f64>,
    deviations: Vec<f64>,
}

impl Moments {
    /// Starts with no rows; rows have `dimensions` features.
    ///
    /// # Errors
    /// [`PcaError::Dimensions`] for 0 or more than [`MAX_DIMENSIONS`].
    pub fn new(dimensions: usize) -> Result<Moments, PcaError> {
        if dimensions == 0 || dimensions > MAX_DIMENSIONS {
            return Err(PcaError::Dimensions { found: dimensions });
        }
        Ok(Moments {
            rows: 0,
            mean: vec![0.0; dimensions],
            products: vec![0.0; dimensions * dimensions],
            deviations: vec![0.0; dimensions],
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`PcaError::Length`].
    pub fn push(&mut self, row: &[f32]) -> Result<(), PcaError> {
        let dimensions = self.mean.len();
        if row.len() != dimensions {
            return Err(PcaError::Length { expected: dimensions, found: row.len() });
        }
        self.rows += 1;
        let count = self.rows as f64;
        for (i, &value) in row.iter().enumerate() {
            self.deviations[i] = f64::from(value) - self.mean[i];
            self.mean[i] += self.deviations[i] / count;
        }
        // The product of deviations from the old and from the new mean is d_i d_j (n - 1) / n.
        let weight = (count - 1.0) / count;
        for i in 0..dimensions {
            let scaled = self.deviations[i] * weight;
            for j in i..dimensions {
                self.products[i * dimensions + j] += scaled * self.deviations[j];
            }
        }
        Ok(())
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Computes the `count` directions of largest variance.
    ///
    /// # Errors
    /// [`PcaError::Count`] for 0, or more than there are rows or features.
    pub fn components(&self, count: usize) -> Result<Components, PcaError> {
        let dimensions = self.mean.len();
        let most = dimensions.min(usize::try_from(self.rows).unwrap_or(dimensions));
        if count == 0 || count > most {
            return Err(PcaError::Count { found: count, most, rows: self.rows, dimensions });
        }
        // The unbiased estimate; of one row nothing is known, and its products are 0.
        let divisor = (self.rows as f64 - 1.0).max(1.0);
        let covariance = DMatrix::from_fn(dimensions, dimensions, |i, j| {
            self.products[i.min(j) * dimensions + i.max(j)] / divisor
        });
        let total_variance = covariance.trace();
        let eigen = SymmetricEigen::new(covariance);
        let mut order: Vec<usize> = (0..dimensions).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        order.truncate(count);
        Ok(Components {
            mean: self.mean.clone(),
            directions: order.iter().map(|&i| upright(eigen.eigenvectors.column(i).as_slice())).collect(),
            // Rounding may leave a variance of nothing just below 0.
            variances: order.iter().map(|&i| eigen.eigenvalues[i].max(0.0)).collect(),
            total_variance,
        })
    }
}

/// Normalises the sign of a direction: its largest entry is positive.
fn upright(direction: &[f64]) -> Vec<f64> {
    let largest = direction.iter().fold(0.0f64, |most, &v| if v.abs() > most.abs() { v } else { most });
    direction.iter().map(|v| v * if largest < 0.0 { -1.0 } else { 1.0 }).collect()
}

/// Principal components.
#[derive(Clone, Debug, PartialEq)]
pub struct Components {
    /// Mean of the rows, `[D]`.
    pub mean: Vec<f64>,
    /// Unit vectors `[K, D]`, largest variance first; the entry of largest magnitude is positive.
    pub directions: Vec<Vec<f64>>,
    /// Variance along each direction, `[K]`, with divisor rows - 1.
    pub variances: Vec<f64>,
    /// Total variance along all `D` directions.
    pub total_variance: f64,
}

impl Components {
    /// Projects a row `[D]` to coordinates `[K]`.
    pub fn project(&self, row: &[f32]) -> Vec<f64> {
        let along = |direction: &Vec<f64>| {
            direction.iter().zip(row).zip(&self.mean).map(|((d, &v), m)| d * (f64::from(v) - m)).sum()
        };
        self.directions.iter().map(along).collect()
    }

    /// Reconstructs a row `[D]` from coordinates `[K]`.
    pub fn recover(&self, coordinates: &[f64]) -> Vec<f64> {
        let mut row = self.mean.clone();
        for (direction, coordinate) in self.directions.iter().zip(coordinates) {
            row.iter_mut().zip(direction).for_each(|(value, d)| *value += coordinate * d);
        }
        row
    }
}

/// Reconstruction error: mean of `|recovered - original| / |original|` over all features of all rows, the measure used by
/// the original project. Features that are exactly 0 are excluded and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    sum: f64,
    /// Number of included features.
    pub features: u64,
    /// Number of features that are exactly 0.
    pub zeros: u64,
}

impl Loss {
    /// Adds a row and its reconstruction.
    pub fn push(&mut self, original: &[f32], recovered: &[f64]) {
        for (&original, recovered) in original.iter().zip(recovered) {
            let original = f64::from(original);
            if original == 0.0 {
                self.zeros += 1;
            } else {
                self.sum += ((recovered - original) / original).abs();
                self.features += 1;
            }
        }
    }

    /// Mean error; 0 without features.
    pub fn mean(&self) -> f64 {
        if self.features == 0 { 0.0 } else { self.sum / self.features as f64 }
    }
}
