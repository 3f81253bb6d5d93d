//! Unit vectors of tracks, and the nearest of them to a query.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Number of partial sums of a product, so that it is vectorised.
const LANES: usize = 16;

/// Number of tracks whose products are computed before they are compared.
const BLOCK: usize = 256;

/// Vectors of tracks `[rows, D]`, of length 1 each.
#[derive(Clone, Debug, Default)]
pub struct Vectors {
    values: Vec<f32>,
    dimensions: usize,
}

/// Track that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Row of the track.
    pub row: usize,
    /// Cosine of the angle to the query, -1 to 1.
    pub cosine: f32,
}

/// Hit in a heap whose greatest item is the worst: the lowest cosine, of equal ones the last row.
struct Worst(Hit);

impl PartialEq for Worst {
    fn eq(&self, other: &Worst) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Worst {}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Worst) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Worst {
    fn cmp(&self, other: &Worst) -> Ordering {
        other.0.cosine.total_cmp(&self.0.cosine).then(self.0.row.cmp(&other.0.row))
    }
}

impl Vectors {
    /// Takes rows of `dimensions` values; `None` if the values are no whole number of rows.
    pub fn new(values: Vec<f32>, dimensions: usize) -> Option<Vectors> {
        let is_whole =
            if dimensions == 0 { values.is_empty() } else { values.len().is_multiple_of(dimensions) };
        is_whole.then_some(Vectors { values, dimensions })
    }

    /// Number of tracks.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.dimensions).unwrap_or(0)
    }

    /// True without tracks.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Length of a vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Vector of a track; empty for a row that does not exist.
    pub fn row(&self, row: usize) -> &[f32] {
        let start = row.saturating_mul(self.dimensions);
        self.values.get(start..start.saturating_add(self.dimensions)).unwrap_or(&[])
    }

    /// Finds the `count` tracks nearest to a query of the same length, nearest first, among those that `qualifies`
    /// accepts. `qualifies` is asked only for tracks near enough.
    pub fn nearest(&self, query: &[f32], count: usize, mut qualifies: impl FnMut(usize) -> bool) -> Vec<Hit> {
        let mut best: BinaryHeap<Worst> = BinaryHeap::new();
        if count == 0 || self.dimensions == 0 || query.len() != self.dimensions {
            return Vec::new();
        }
        let mut limit = f32::NEG_INFINITY;
        // The widest instructions of the processor, found at run time.
        let arch = pulp::Arch::new();
        let mut cosines = [0.0f32; BLOCK];
        for (block, vectors) in self.values.chunks(BLOCK * self.dimensions).enumerate() {
            let rows = vectors.chunks_exact(self.dimensions);
            let found = &mut cosines[..rows.len()];
            arch.dispatch(|| {
                rows.zip(&mut *found).for_each(|(vector, cosine)| *cosine = product(query, vector))
            });
            for (place, &cosine) in found.iter().enumerate() {
                let row = block * BLOCK + place;
                if (best.len() == count && cosine <= limit) || cosine.is_nan() || !qualifies(row) {
                    continue;
                }
                if best.len() == count {
                    best.pop();
                }
                best.push(Worst(Hit { row, cosine }));
                limit = best.peek().map_or(limit, |worst| worst.0.cosine);
            }
        }
        best.into_sorted_vec().into_iter().map(|worst| worst.0).collect()
    }
}

/// Dot product; inlined, so that it uses the instructions of its caller.
#[inline(always)]
pub(super) fn product(a: &[f32], b: &[f32]) -> f32 {
    let (a_parts, a_rest) = a.as_chunks::<LANES>();
    let (b_parts, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a_parts.iter().zip(b_parts) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Scales a vector to length 1; a vector of zeros stays.
pub(super) fn normalise(vector: &mut [f32]) {
    let length = product(vector, vector).sqrt();
    if length > 0.0 && length.is_finite() {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(count: usize) -> Vectors {
        let angle = |row: usize| row as f32 / count as f32 * std::f32::consts::TAU;
        Vectors::new((0..count).flat_map(|row| [angle(row).cos(), angle(row).sin()]).collect(), 2).unwrap()
    }

    #[test]
    fn the_nearest_first() {
        let vectors = circle(360);
        let rows = |hits: Vec<Hit>| hits.into_iter().map(|hit| hit.row).collect::<Vec<_>>();
        let found = vectors.nearest(vectors.row(90), 5, |_| true);
        assert!((found[0].cosine - 1.0).abs() < 1e-6);
        let mut found = rows(found);
        assert_eq!(found[0], 90);
        found.sort_unstable();
        assert_eq!(found, [88, 89, 90, 91, 92]);
        assert_eq!(rows(vectors.nearest(vectors.row(90), 2, |row| row > 100)), [101, 102]);
        assert_eq!(vectors.nearest(&[1.0], 2, |_| true), []);
        assert_eq!(vectors.nearest(vectors.row(0), 1000, |_| true).len(), 360);
    }

    #[test]
    fn equal_tracks_keep_their_order() {
        let vectors = Vectors::new([1.0, 0.0].repeat(5), 2).unwrap();
        let rows: Vec<usize> = vectors.nearest(&[1.0, 0.0], 3, |_| true).iter().map(|hit| hit.row).collect();
        assert_eq!(rows, [0, 1, 2]);
        assert!(Vectors::new(vec![0.0; 3], 2).is_none() && vectors.row(7).is_empty());
    }

    #[test]
    fn products_of_any_length() {
        for length in [0, 1, 15, 16, 17, 64, 100] {
            let values: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let expected: f32 = values.iter().map(|v| v * v).sum();
            assert_eq!(product(&values, &values), expected);
        }
    }
}
