//! Principal components of features that come row by row.
//!
//! Mean and covariance are updated in f64 with every row (Welford's method), so that memory depends on the
//! length of a row alone. Not here: where rows are kept for a second look, and files.

use nalgebra::{DMatrix, SymmetricEigen};

/// Longest row: the covariance and its eigenvectors grow with the square of it.
pub const MAX_DIMENSIONS: usize = 256;

/// Why there are no components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PcaError {
    /// Rows that are empty or too long.
    #[error("expected rows of 1 to {MAX_DIMENSIONS} features, found {found}")]
    Dimensions {
        /// Features of a row.
        found: usize,
    },
    /// A row of another length than the first.
    #[error("expected {expected} features, found {found}")]
    Length {
        /// Features of the first row.
        expected: usize,
        /// Features of this one.
        found: usize,
    },
    /// More components than there can be.
    #[error("expected 1 to {most} components of {rows} rows of {dimensions} features, found {found}")]
    Count {
        /// Components asked for.
        found: usize,
        /// Most there are.
        most: usize,
        /// Rows seen.
        rows: u64,
        /// Features of each.
        dimensions: usize,
    },
}

/// Mean and covariance of the rows so far.
#[derive(Clone, Debug)]
pub struct Moments {
    rows: u64,
    mean: Vec<f64>,
    /// Sums of products of deviations, `[D, D]`; only `i <= j` is kept up.
    products: Vec<f64>,
    deviations: Vec<f64>,
}

impl Moments {
    /// Moments of no rows yet, of `dimensions` features each.
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

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The `count` directions of largest variance.
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

/// A direction and its opposite are the same component: the one whose largest entry is positive is taken.
fn upright(direction: &[f64]) -> Vec<f64> {
    let largest = direction.iter().fold(0.0f64, |most, &v| if v.abs() > most.abs() { v } else { most });
    direction.iter().map(|v| v * if largest < 0.0 { -1.0 } else { 1.0 }).collect()
}

/// Principal components.
#[derive(Clone, Debug, PartialEq)]
pub struct Components {
    /// Mean of the rows, `[D]`.
    pub mean: Vec<f64>,
    /// Unit vectors `[K, D]`, the largest variance first; the entry of largest size is positive.
    pub directions: Vec<Vec<f64>>,
    /// Variance along each, `[K]`, with a divisor of rows - 1.
    pub variances: Vec<f64>,
    /// Variance along all `D` directions together.
    pub total_variance: f64,
}

impl Components {
    /// A row, `[D]`, in coordinates of the components, `[K]`.
    pub fn project(&self, row: &[f32]) -> Vec<f64> {
        let along = |direction: &Vec<f64>| {
            direction.iter().zip(row).zip(&self.mean).map(|((d, &v), m)| d * (f64::from(v) - m)).sum()
        };
        self.directions.iter().map(along).collect()
    }

    /// The row, `[D]`, that coordinates of the components, `[K]`, stand for.
    pub fn recover(&self, coordinates: &[f64]) -> Vec<f64> {
        let mut row = self.mean.clone();
        for (direction, coordinate) in self.directions.iter().zip(coordinates) {
            row.iter_mut().zip(direction).for_each(|(value, d)| *value += coordinate * d);
        }
        row
    }
}

/// How much components lose: the mean over all features of all rows of `|recovered - original| / |original|`,
/// which is the measure that the original project states. Features of exactly 0 have no such ratio; they are
/// left out and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    sum: f64,
    /// Features that count.
    pub features: u64,
    /// Features of exactly 0.
    pub zeros: u64,
}

impl Loss {
    /// Adds a row and what was recovered of it.
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

    /// The mean; 0 of nothing.
    pub fn mean(&self) -> f64 {
        if self.features == 0 { 0.0 } else { self.sum / self.features as f64 }
    }
}
