//! Matching of the paths of labels with those of predictions.

use std::collections::HashMap;

/// Pairs of label and prediction.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Matches {
    /// Indices of label and prediction, in the order of the predictions.
    pub(crate) pairs: Vec<(usize, usize)>,
    /// Labels with several possible predictions, or that share one.
    pub(crate) ambiguous: Vec<usize>,
    /// Labels without a prediction.
    pub(crate) labels: Vec<usize>,
    /// Predictions without a label.
    pub(crate) predictions: Vec<usize>,
}

/// Parts of a path, last first. Separators of Windows count on every system, because a list may come from another one.
fn parts(path: &str) -> Vec<&str> {
    path.rsplit(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect()
}

/// File name without its extension.
fn stem(path: &str) -> &str {
    let name = parts(path).first().copied().unwrap_or("");
    name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem })
}

/// True if one path is the end of the other.
fn is_end(a: &[&str], b: &[&str]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// Matches equal paths, then paths of which one is the end of the other if there is only one such pair.
pub(crate) fn match_paths(labels: &[String], predictions: &[String]) -> Matches {
    let mut found: Vec<Vec<usize>> = vec![Vec::new(); labels.len()];
    let mut is_taken = vec![false; predictions.len()];
    let exact: HashMap<&str, usize> = predictions.iter().enumerate().map(|(i, path)| (&**path, i)).collect();
    for (label, found) in labels.iter().zip(&mut found) {
        if let Some(&prediction) = exact.get(&**label) {
            found.push(prediction);
            is_taken[prediction] = true;
        }
    }
    let mut named: HashMap<&str, Vec<(usize, Vec<&str>)>> = HashMap::new();
    for (index, path) in predictions.iter().enumerate().filter(|(index, _)| !is_taken[*index]) {
        let parts = parts(path);
        if let Some(&name) = parts.first() {
            named.entry(name).or_default().push((index, parts));
        }
    }
    for (label, found) in labels.iter().zip(&mut found).filter(|(_, found)| found.is_empty()) {
        let parts = parts(label);
        let candidates = parts.first().and_then(|name| named.get(name)).into_iter().flatten();
        found.extend(candidates.filter(|(_, other)| is_end(&parts, other)).map(|(index, _)| *index));
    }
    finish(found, predictions.len())
}

/// Matches keys with the file names of predictions without their extensions.
pub(crate) fn match_keys(keys: &[String], predictions: &[String]) -> Matches {
    let mut named: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, path) in predictions.iter().enumerate() {
        named.entry(stem(path)).or_default().push(index);
    }
    let found = keys.iter().map(|key| named.get(&**key).cloned().unwrap_or_default()).collect();
    finish(found, predictions.len())
}

/// Keeps the pairs that are unique on both sides.
fn finish(found: Vec<Vec<usize>>, predictions: usize) -> Matches {
    let mut claims = vec![0; predictions];
    found.iter().flatten().for_each(|&prediction| claims[prediction] += 1);
    let mut matches = Matches::default();
    let mut is_matched = vec![false; predictions];
    for (label, candidates) in found.iter().enumerate() {
        match candidates[..] {
            [] => matches.labels.push(label),
            [prediction] if claims[prediction] == 1 => {
                matches.pairs.push((label, prediction));
                is_matched[prediction] = true;
            }
            _ => matches.ambiguous.push(label),
        }
    }
    matches.pairs.sort_by_key(|(_, prediction)| *prediction);
    matches.predictions = (0..predictions).filter(|&prediction| !is_matched[prediction]).collect();
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(paths: &[&str]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paths_match_exactly_or_by_a_unique_end() {
        let labels =
            texts(&["a/x.mp3", "b\\y.mp3", "z.mp3", "/home/me/w.mp3", "none.mp3", "x.mp3", "a/v.mp3"]);
        let predictions = texts(&[
            "/m/a/x.mp3",
            "./m/b/y.mp3",
            "1/z.mp3",
            "2/z.mp3",
            "w.mp3",
            "x.mp3",
            "left.mp3",
            "xa/v.mp3",
        ]);
        let found = match_paths(&labels, &predictions);
        assert_eq!(found.pairs, [(0, 0), (1, 1), (3, 4), (5, 5)]);
        assert_eq!((found.ambiguous, found.labels), (vec![2], vec![4, 6]));
        assert_eq!(found.predictions, [2, 3, 6, 7]);
    }

    #[test]
    fn two_labels_do_not_share_a_prediction() {
        let found = match_paths(&texts(&["1/a.mp3", "2/a.mp3"]), &texts(&["a.mp3"]));
        assert_eq!((found.ambiguous, found.pairs), (vec![0, 1], vec![]));
    }

    #[test]
    fn keys_are_file_names_without_extension() {
        let predictions = texts(&["m/TR1.mp3", "TR2.x.flac", "n/TR3.mp3", "o/TR3.wav", ".hidden"]);
        let found = match_keys(&texts(&["TR1", "TR2.x", "TR3", "TR4", ".hidden"]), &predictions);
        assert_eq!(found.pairs, [(0, 0), (1, 1), (4, 4)]);
        assert_eq!((found.ambiguous, found.labels), (vec![2], vec![3]));
    }
}
