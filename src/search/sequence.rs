//! Orders of tracks: a path from one to another, and an order without jumps.

use super::vectors::{Hit, Vectors, normalise, product};

/// Finds a path of `count` tracks from `first` to `last`, both included: each step is the track nearest to its point on the
/// arc between the two, without repeats. `qualifies` tells which tracks may be between them. Fewer tracks are returned if
/// there are no more.
pub fn path_between(
    vectors: &Vectors,
    first: usize,
    last: usize,
    count: usize,
    mut qualifies: impl FnMut(usize) -> bool,
) -> Vec<usize> {
    let (start, end) = (vectors.row(first).to_vec(), vectors.row(last).to_vec());
    let mut rows = vec![first];
    let between = count.saturating_sub(2);
    for step in 1..=between {
        let share = step as f32 / (between + 1) as f32;
        let query = on_arc(&start, &end, share);
        let hits = vectors.nearest(&query, 1, |row| row != last && !rows.contains(&row) && qualifies(row));
        rows.extend(hits.first().map(|hit| hit.row));
    }
    if last != first {
        rows.push(last);
    }
    rows
}

/// Point of the arc between two unit vectors.
fn on_arc(start: &[f32], end: &[f32], share: f32) -> Vec<f32> {
    let angle = product(start, end).clamp(-1.0, 1.0).acos();
    let (from, to) = if angle.sin() > 1e-3 {
        (((1.0 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin())
    } else {
        (1.0 - share, share)
    };
    let mut point: Vec<f32> = start.iter().zip(end).map(|(a, b)| a * from + b * to).collect();
    normalise(&mut point);
    point
}

/// Orders tracks so that each is followed by the nearest of the remaining ones; the first stays first.
pub fn smooth_order(vectors: &Vectors, rows: &[usize]) -> Vec<usize> {
    let mut left = rows.to_vec();
    let mut order: Vec<usize> = left.drain(..left.len().min(1)).collect();
    while let Some(&now) = order.last().filter(|_| !left.is_empty()) {
        let query = vectors.row(now);
        let nearest = left
            .iter()
            .enumerate()
            .map(|(place, &row)| Hit { row: place, cosine: product(query, vectors.row(row)) })
            .max_by(|a, b| a.cosine.total_cmp(&b.cosine).then(b.row.cmp(&a.row)));
        let Some(nearest) = nearest else { break };
        order.push(left.remove(nearest.row));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arc(count: usize) -> Vectors {
        let angle = |row: usize| row as f32 / count as f32 * std::f32::consts::PI;
        Vectors::new((0..count).flat_map(|row| [angle(row).cos(), angle(row).sin()]).collect(), 2).unwrap()
    }

    #[test]
    fn a_path_goes_straight() {
        let vectors = arc(100);
        assert_eq!(path_between(&vectors, 10, 50, 5, |_| true), [10, 20, 30, 40, 50]);
        let odd = path_between(&vectors, 10, 50, 5, |row| row % 2 == 1);
        assert!(odd[1..4].iter().all(|row| row % 2 == 1) && odd.is_sorted(), "{odd:?}");
        assert_eq!(path_between(&vectors, 3, 3, 1, |_| true), [3]);
        // Every track once, and no more than there are.
        assert_eq!(path_between(&arc(4), 0, 3, 10, |_| true).len(), 4);
    }

    #[test]
    fn a_smooth_order_has_no_jumps() {
        assert_eq!(smooth_order(&arc(100), &[5, 90, 20, 70, 10]), [5, 10, 20, 70, 90]);
        assert_eq!(smooth_order(&arc(100), &[]), Vec::<usize>::new());
    }
}
