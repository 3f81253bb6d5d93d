//! Joins labels and predictions.

use std::collections::{HashMap, HashSet};

use super::predictions::ScoreTable;
use super::report::Unmatched;
use crate::labels::{LabelTable, numbered, some};
use tagwave::evaluation::{BoundSource, EvaluationError, LabelledScores, Mapping, MappingError, TagSource};

/// Error of joining, by the file that it is in.
#[derive(Debug)]
pub(super) enum JoinError {
    Labels(String),
    Mapping(String),
    /// Nothing in common.
    Both(String),
}

/// Labels and predictions of the same tracks and tags.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) data: LabelledScores,
    /// Group of each track, from 0.
    pub(super) groups: Vec<usize>,
    /// Index of the label of each track.
    labels: Vec<usize>,
    subjects: Vec<String>,
    pub(super) unmatched: Unmatched,
}

/// Tracks and tags that two predictions have in common.
#[derive(Debug)]
pub(super) struct CommonTracks {
    pub(super) first: LabelledScores,
    pub(super) second: LabelledScores,
    /// Group of each track, from 0.
    pub(super) groups: Vec<usize>,
    /// Tracks that only one of the predictions has.
    pub(super) left_out: Vec<String>,
}

impl Joined {
    /// The tracks and tags of both predictions, in the same order.
    pub(super) fn common(&self, other: &Joined) -> Result<CommonTracks, EvaluationError> {
        let is_common = |tag: &&String| other.data.tags().contains(tag);
        let tags: Vec<String> = self.data.tags().iter().filter(is_common).cloned().collect();
        let places: HashMap<usize, usize> =
            other.labels.iter().enumerate().map(|(place, &label)| (label, place)).collect();
        let pairs: Vec<(usize, usize)> = self
            .labels
            .iter()
            .enumerate()
            .filter_map(|(place, label)| Some((place, *places.get(label)?)))
            .collect();
        Ok(CommonTracks {
            first: self.part(&tags, pairs.iter().map(|pair| pair.0))?,
            second: other.part(&tags, pairs.iter().map(|pair| pair.1))?,
            groups: numbered(pairs.iter().map(|pair| self.groups[pair.0])),
            left_out: self.only(other).chain(other.only(self)).collect(),
        })
    }

    /// Some tags of some tracks.
    fn part(
        &self,
        tags: &[String],
        items: impl Iterator<Item = usize>,
    ) -> Result<LabelledScores, EvaluationError> {
        let all = self.data.tags();
        let columns: Vec<usize> =
            tags.iter().filter_map(|tag| all.iter().position(|other| other == tag)).collect();
        let cells: Vec<usize> =
            items.flat_map(|item| columns.iter().map(move |column| item * all.len() + column)).collect();
        let scores = cells.iter().map(|&cell| self.data.scores()[cell]).collect();
        let truth = cells.iter().map(|&cell| self.data.truth()[cell]).collect();
        LabelledScores::new(tags.to_vec(), scores, truth)
    }

    /// Tracks that `other` does not have.
    fn only(&self, other: &Joined) -> impl Iterator<Item = String> {
        let others: HashSet<usize> = other.labels.iter().copied().collect();
        let is_only = move |(label, _): &(&usize, &String)| !others.contains(label);
        self.labels.iter().zip(&self.subjects).filter(is_only).map(|(_, subject)| subject.clone())
    }
}

/// Tags to evaluate, with their sources among the predicted tags.
fn targets(
    predicted: &[String],
    mapping: Option<&Mapping>,
) -> Result<Vec<(String, BoundSource)>, MappingError> {
    let sources = match mapping {
        Some(mapping) => mapping.targets.clone(),
        None => predicted.iter().map(|tag| (tag.clone(), TagSource::plain(&**tag))).collect(),
    };
    sources.into_iter().map(|(tag, source)| Ok((tag, source.bind(predicted)?))).collect()
}

/// Joins labels and predictions; `has_keys` if the labels have keys instead of paths.
pub(super) fn join(
    labels: &LabelTable,
    table: &ScoreTable,
    mapping: Option<&Mapping>,
    has_keys: bool,
) -> Result<Joined, JoinError> {
    let targets = targets(&table.tags, mapping).map_err(|error| JoinError::Mapping(error.to_string()))?;
    let mut unmatched = Unmatched::default();
    let mut used = Vec::new();
    for (tag, source) in &targets {
        match labels.truth(tag) {
            None => unmatched.predicted_tags.push(tag.clone()),
            Some(truth) => used.push((tag, source, truth.map_err(JoinError::Labels)?)),
        }
    }
    let is_predicted = |tag: &str| targets.iter().any(|(target, _)| target == tag);
    unmatched.label_tags = labels.tags().filter(|tag| !is_predicted(tag)).map(String::from).collect();
    if used.is_empty() {
        let (labels, predicted) = (some(&unmatched.label_tags), some(&unmatched.predicted_tags));
        let advice = "rename them, or join them with --mapping";
        return Err(JoinError::Both(format!(
            "no tag in common: labels have {labels}; predictions have {predicted}; {advice}"
        )));
    }
    let matches = labels.matches(&table.paths, has_keys).map_err(JoinError::Both)?;
    let subjects = |of: &[usize]| of.iter().map(|&label| labels.subjects[label].clone()).collect();
    unmatched.labels = subjects(&matches.labels);
    unmatched.ambiguous = subjects(&matches.ambiguous);
    unmatched.predictions = matches.predictions.iter().map(|&place| table.paths[place].clone()).collect();
    let (mut scores, mut truth) = (Vec::new(), Vec::new());
    for &(label, prediction) in &matches.pairs {
        let row = &table.scores[prediction];
        for (_, source, labels) in &used {
            scores.push(source.score(|tag| row[tag]));
            truth.push(labels[label]);
        }
    }
    let matched: Vec<usize> = matches.pairs.iter().map(|pair| pair.0).collect();
    Ok(Joined {
        data: LabelledScores::new(used.iter().map(|(tag, ..)| (*tag).clone()).collect(), scores, truth)
            .map_err(|error| JoinError::Both(error.to_string()))?,
        groups: labels.groups_of(matched.iter().copied()),
        subjects: subjects(&matched),
        labels: matched,
        unmatched,
    })
}
