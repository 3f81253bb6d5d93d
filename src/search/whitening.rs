//! Whitening: principal components of embeddings, scaled to equal variance.
//!
//! A few directions carry most of the variance of embeddings, so that the cosine of raw ones is near 1 for all tracks.
//! Whitened, directions count alike, but for those whose variance is below 1 % of the mean. Few tracks are only centred.

use half::f16;
use serde::{Deserialize, Serialize};

use super::error::SearchError;
use super::vectors::{normalise, product};
use crate::pca::Moments;

/// Maximum number of components: those behind are mostly noise.
const MAX_COMPONENTS: usize = 64;
/// Variance that is added to each, as a part of their mean: the smallest ones are mostly noise.
const SHRINKAGE: f64 = 0.01;
/// The same where there are fewer tracks than [`ENOUGH_TRACKS`] per feature: so much that embeddings are only centred. Few
/// tracks do not determine the variances, and whitened they would all be at right angles to each other.
const SHRINKAGE_OF_FEW: f64 = 1e4;
/// Number of tracks per feature that determines the variances.
const ENOUGH_TRACKS: usize = 4;

/// Transformation of embeddings to unit vectors whose cosine measures similarity.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Whitening {
    /// Mean of the embeddings, `[D]`.
    mean: Vec<f32>,
    /// Directions divided by standard deviations, `[K, D]`.
    rows: Vec<Vec<f32>>,
}

impl Whitening {
    /// Fits the transformation to embeddings. Fewer than three tell nothing, and the transformation then only
    /// normalises.
    ///
    /// # Errors
    /// Embeddings of different lengths, or of more than 256 features.
    pub fn fit<'a>(
        dimensions: usize,
        embeddings: impl IntoIterator<Item = &'a [f32]>,
    ) -> Result<Whitening, SearchError> {
        let mut moments = Moments::new(dimensions)?;
        embeddings.into_iter().try_for_each(|row| moments.push(row))?;
        let found = usize::try_from(moments.rows()).unwrap_or(usize::MAX);
        if found < 3 {
            let unit = |i: usize| (0..dimensions).map(|j| if i == j { 1.0 } else { 0.0 }).collect();
            return Ok(Whitening { mean: vec![0.0; dimensions], rows: (0..dimensions).map(unit).collect() });
        }
        let components = moments.components(dimensions.min(MAX_COMPONENTS).min(found - 1))?;
        let shrinkage = if found < ENOUGH_TRACKS * dimensions { SHRINKAGE_OF_FEW } else { SHRINKAGE };
        let floor = shrinkage * components.total_variance / dimensions as f64;
        let scaled = |(direction, variance): (&Vec<f64>, &f64)| {
            let deviation = (variance + floor).sqrt().max(f64::from(f32::MIN_POSITIVE));
            direction.iter().map(|value| (value / deviation) as f32).collect()
        };
        Ok(Whitening {
            mean: components.mean.iter().map(|&value| value as f32).collect(),
            rows: components.directions.iter().zip(&components.variances).map(scaled).collect(),
        })
    }

    /// Length of the vectors.
    pub fn dimensions(&self) -> usize {
        self.rows.len()
    }

    /// Transforms an embedding to a vector of length 1. The embedding is rounded to half precision, as an index keeps it, so
    /// that a track has the same vector when it is new and after an update.
    ///
    /// # Errors
    /// An embedding of another length.
    pub fn apply(&self, embedding: &[f32]) -> Result<Vec<f32>, SearchError> {
        if embedding.len() != self.mean.len() {
            return Err(SearchError::Embedding { expected: self.mean.len(), found: embedding.len() });
        }
        let kept = embedding.iter().map(|&value| f16::from_f32(value).to_f32());
        let centred: Vec<f32> = kept.zip(&self.mean).map(|(value, mean)| value - mean).collect();
        let mut vector: Vec<f32> = self.rows.iter().map(|row| product(row, &centred)).collect();
        normalise(&mut vector);
        Ok(vector)
    }

    /// True if the numbers fit together.
    pub(super) fn is_valid(&self) -> bool {
        self.rows.iter().all(|row| row.len() == self.mean.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_count_alike() {
        // The first feature varies five times as much as the second, and both are far from 0.
        let rows: Vec<[f32; 2]> =
            (0..100).map(|i| [(i % 10) as f32 * 5.0 + 5000.0, (i / 10) as f32]).collect();
        let fitted = Whitening::fit(2, rows.iter().map(|row| &row[..])).unwrap();
        let cosine =
            |a: usize, b: usize| product(&fitted.apply(&rows[a]).unwrap(), &fitted.apply(&rows[b]).unwrap());
        // Corners: 0 and 99 are opposite, 0 and 9 differ in the first feature, 0 and 90 in the second.
        assert!(cosine(0, 99) < -0.999);
        assert!(
            cosine(0, 9).abs() < 0.15 && cosine(0, 90).abs() < 0.15,
            "{} {}",
            cosine(0, 9),
            cosine(0, 90)
        );
        assert!((cosine(7, 7) - 1.0).abs() < 1e-6);
        assert!(fitted.apply(&[1.0]).is_err() && fitted.is_valid());
    }

    /// Whitening of few vectors in many dimensions would put all of them at right angles.
    #[test]
    fn a_few_tracks_keep_their_likeness() {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        // Two kinds of 12 tracks each.
        let rows: Vec<Vec<f32>> = (0..24)
            .map(|track| (0..64).map(|i| noise() + if (track + i) % 2 == 0 { 1.0 } else { 0.0 }).collect())
            .collect();
        let fitted = Whitening::fit(64, rows.iter().map(|row| &row[..])).unwrap();
        let vectors: Vec<_> = rows.iter().map(|row| fitted.apply(row).unwrap()).collect();
        assert!(product(&vectors[0], &vectors[2]) > 0.5, "{}", product(&vectors[0], &vectors[2]));
        assert!(product(&vectors[0], &vectors[1]) < -0.3, "{}", product(&vectors[0], &vectors[1]));
    }

    #[test]
    fn few_or_equal_tracks_have_vectors() {
        let one = Whitening::fit(3, [&[1.0, 2.0, 2.0][..]]).unwrap();
        assert_eq!(one.apply(&[1.0, 2.0, 2.0]).unwrap(), [1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0]);
        let equal = Whitening::fit(3, [&[1.0, 2.0, 2.0][..]; 5]).unwrap();
        assert!(equal.apply(&[1.0, 2.0, 2.0]).unwrap().iter().all(|value| value.is_finite()));
    }
}
