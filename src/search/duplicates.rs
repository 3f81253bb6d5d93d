//! Tracks that an index holds more than once.

use std::collections::HashMap;

use rayon::prelude::*;

use super::index::TrackIndex;
use super::vectors::product;

/// Cosine from which two tracks of about the same length are probably the same recording.
const SAME_COSINE: f32 = 0.98;
/// Difference in length of the same recording in seconds, at most.
const SAME_SECONDS: f64 = 2.0;
/// Tracks that are compared with all others before the groups are updated: it bounds the pairs that are kept.
const BLOCK: usize = 64;

/// Relation of a track to another that it repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Duplicate {
    /// The same contents.
    File,
    /// Probably the same recording, such as the same in another format.
    Recording,
}

impl Duplicate {
    /// Relation of two tracks: by their contents, else by the cosine of their vectors and their lengths in seconds.
    pub fn of(has_same_contents: bool, cosine: f32, lengths_s: [Option<f64>; 2]) -> Option<Duplicate> {
        let is_as_long = match lengths_s {
            [Some(a), Some(b)] => (a - b).abs() <= SAME_SECONDS,
            _ => false,
        };
        if has_same_contents {
            Some(Duplicate::File)
        } else {
            (cosine >= SAME_COSINE && is_as_long).then_some(Duplicate::Recording)
        }
    }
}

/// Groups of tracks that are duplicates of another in their group: their rows in ascending order, groups by their first
/// row.
pub fn duplicates(index: &TrackIndex) -> Vec<Vec<usize>> {
    let tracks = index.tracks();
    let mut groups = Groups((0..tracks.len()).collect());
    let mut by_content: HashMap<&str, usize> = HashMap::new();
    for (row, track) in tracks.iter().enumerate() {
        groups.join(row, *by_content.entry(&track.content).or_insert(row));
    }
    // Only tracks of about the same length are compared: they are neighbours in this order.
    let length_s = |row: usize| tracks[row].track_s.unwrap_or_default();
    let mut rows: Vec<usize> = (0..tracks.len()).filter(|&row| tracks[row].track_s.is_some()).collect();
    rows.sort_by(|&a, &b| length_s(a).total_cmp(&length_s(b)));
    let is_same = |a: usize, b: usize| {
        let cosine = product(index.vectors().row(a), index.vectors().row(b));
        Duplicate::of(false, cosine, [tracks[a].track_s, tracks[b].track_s]).is_some()
    };
    for start in (0..rows.len()).step_by(BLOCK) {
        let block = start..rows.len().min(start + BLOCK);
        let pairs: Vec<(usize, usize)> = block
            .into_par_iter()
            .flat_map_iter(|place| {
                let row = rows[place];
                let others = rows[place + 1..].iter().copied();
                let near = others.take_while(|&other| length_s(other) - length_s(row) <= SAME_SECONDS);
                let separate = near.filter(|&other| groups.first(row) != groups.first(other));
                let found = pulp::Arch::new()
                    .dispatch(|| separate.filter(|&other| is_same(row, other)).collect::<Vec<_>>());
                found.into_iter().map(move |other| (row, other))
            })
            .collect();
        pairs.into_iter().for_each(|(a, b)| groups.join(a, b));
    }
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); tracks.len()];
    (0..tracks.len()).for_each(|row| members[groups.first(row)].push(row));
    members.retain(|rows| rows.len() > 1);
    members
}

/// Disjoint sets of rows: each row has an earlier one of its set, or itself if it is the first.
struct Groups(Vec<usize>);

impl Groups {
    /// First row of the group of a row.
    fn first(&self, mut row: usize) -> usize {
        while self.0[row] != row {
            row = self.0[row];
        }
        row
    }

    fn join(&mut self, a: usize, b: usize) {
        let (first_a, first_b) = (self.first(a), self.first(b));
        let first = first_a.min(first_b);
        for row in [a, b, first_a, first_b] {
            self.0[row] = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::{IndexInfo, IndexedTrack};
    use super::*;

    #[test]
    fn files_and_recordings_are_grouped() {
        // Directions that differ, and lengths; rows 1 and 5 have the same contents, 2 and 4 nearly the same embedding.
        let embeddings = [
            [1.0, 0.0, 0.2],
            [0.0, 1.0, 0.1],
            [-1.0, 0.3, 0.5],
            [-1.0, 0.3, 0.5],
            [-1.0, 0.3001, 0.5],
            [0.3, -1.0, 0.0],
        ];
        let lengths = [Some(60.0), Some(60.0), Some(61.0), Some(90.0), Some(59.5), None];
        let contents = ["a", "b", "c", "d", "e", "b"];
        let tracks = contents.iter().zip(lengths).enumerate().map(|(row, (content, track_s))| {
            let mut track = IndexedTrack::new(format!("/{row}"), 1, 0, content.to_string());
            track.track_s = track_s;
            track
        });
        let info = IndexInfo::new("small", "corrected", None, &["x".to_string()], 3);
        let index =
            TrackIndex::build(info, tracks.collect(), embeddings.as_flattened(), vec![0.5; 6]).unwrap();
        assert_eq!(duplicates(&index), [vec![1, 5], vec![2, 4]]);
    }

    #[test]
    fn groups_join() {
        let mut groups = Groups((0..6).collect());
        for (a, b) in [(4, 5), (2, 3), (3, 5), (1, 1)] {
            groups.join(a, b);
        }
        assert_eq!((0..6).map(|row| groups.first(row)).collect::<Vec<_>>(), [0, 1, 2, 2, 2, 2]);
    }

    #[test]
    fn lengths_decide_on_recordings() {
        let of = |cosine, lengths_s| Duplicate::of(false, cosine, lengths_s);
        assert_eq!(of(0.99, [Some(10.0), Some(12.0)]), Some(Duplicate::Recording));
        assert_eq!(of(0.99, [Some(10.0), Some(12.1)]), None);
        assert_eq!(of(0.97, [Some(10.0), Some(10.0)]), None);
        assert_eq!(of(0.99, [Some(10.0), None]), None);
        assert_eq!(Duplicate::of(true, 0.0, [None, None]), Some(Duplicate::File));
    }
}
