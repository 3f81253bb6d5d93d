//! Tags as GStreamer's tags: the genres and moods that `tagwave write` writes into songs, by the same table.

use std::collections::BTreeMap;

use gst::{TagList, TagMergeMode};
use serde::Deserialize;

/// Thresholds and numbers of values, and the value of each tag.
const TABLE: &str = concat!(
    include_str!("../../cli/src/write/presets/plain.toml"),
    include_str!("../../cli/src/write/presets/tags.toml")
);

#[derive(Debug, Deserialize)]
struct RuleTable {
    field: FieldRules,
    tags: BTreeMap<String, TagRule>,
}

#[derive(Debug, Deserialize)]
struct FieldRules {
    genre: FieldLimits,
    mood: FieldLimits,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct FieldLimits {
    most: usize,
    threshold: f32,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TagRule {
    Genre(String),
    Field { field: MappedField, value: String, threshold: Option<f32> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MappedField {
    Genre,
    Mood,
}

/// Value of a label.
#[derive(Clone, Debug)]
struct MappedValue {
    field: MappedField,
    value: String,
    threshold: f32,
}

/// Values of the labels of a model.
#[derive(Debug)]
pub(crate) struct TagRules {
    values: Vec<Option<MappedValue>>,
    limits: FieldRules,
}

impl TagRules {
    /// Rules for a model's labels; those that are not in the table have no value.
    pub(crate) fn new(labels: &[String]) -> Result<TagRules, String> {
        let RuleTable { field: limits, tags } = toml::from_str(TABLE).map_err(|error| error.to_string())?;
        let value = |rule: &TagRule| {
            let (field, value, threshold) = match rule {
                TagRule::Genre(value) => (MappedField::Genre, value, None),
                TagRule::Field { field, value, threshold } => (*field, value, *threshold),
            };
            let threshold = threshold.unwrap_or(limits.of(field).threshold);
            MappedValue { field, value: value.clone(), threshold }
        };
        let values = labels.iter().map(|label| tags.get(label).map(value)).collect();
        Ok(TagRules { values, limits })
    }

    /// Tags of one row of scores, highest first; `None` if there are none.
    pub(crate) fn tag_list(&self, scores: &[f32]) -> Option<TagList> {
        let mut tags = TagList::new();
        if let Some(tags) = tags.get_mut() {
            tags.set_scope(gst::TagScope::Stream);
            for genre in self.select(scores, MappedField::Genre) {
                tags.add::<gst::tags::Genre>(&genre, TagMergeMode::Append);
            }
            for mood in self.select(scores, MappedField::Mood) {
                // GStreamer has no tag for moods; muxers write such comments as a field of this name.
                let comment = format!("MOOD={mood}");
                tags.add::<gst::tags::ExtendedComment>(&comment.as_str(), TagMergeMode::Append);
            }
        }
        (tags.n_tags() > 0).then_some(tags)
    }

    fn select(&self, scores: &[f32], field: MappedField) -> Vec<&str> {
        let mut found: Vec<(f32, &str)> = (self.values.iter().zip(scores))
            .filter_map(|(value, &score)| Some((value.as_ref()?, score)))
            .filter(|(value, score)| value.field == field && *score >= value.threshold)
            .map(|(value, score)| (score, value.value.as_str()))
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut values = Vec::new();
        for (_, value) in found {
            if values.len() < self.limits.of(field).most && !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }
}

impl FieldRules {
    fn of(&self, field: MappedField) -> FieldLimits {
        match field {
            MappedField::Genre => self.genre,
            MappedField::Mood => self.mood,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genres_and_moods_that_pass_are_selected() {
        gst::init().unwrap();
        let scores = [
            ("jazz", 0.3),
            ("female vocalists", 0.9),
            ("sad", 0.16),
            ("rnb", 0.5),
            ("pop", 0.19),
            ("mine", 1.0),
        ];
        let labels = scores.map(|(label, _)| label.to_string());
        let rules = TagRules::new(&labels).unwrap();
        let tags = rules.tag_list(&scores.map(|(_, score)| score)).unwrap();
        let genres: Vec<_> =
            tags.iter_tag::<gst::tags::Genre>().map(|value| value.get().to_string()).collect();
        assert_eq!(genres, ["R&B", "Jazz"]);
        let moods: Vec<_> =
            tags.iter_tag::<gst::tags::ExtendedComment>().map(|v| v.get().to_string()).collect();
        assert_eq!(moods, ["MOOD=Sad"]);
        assert_eq!(tags.scope(), gst::TagScope::Stream);
        assert!(rules.tag_list(&[0.1; 6]).is_none());
    }

    #[test]
    fn at_most_as_many_values_as_the_table_says() {
        gst::init().unwrap();
        let labels = ["rock", "pop", "jazz", "metal", "sad", "happy", "chill"].map(String::from);
        let rules = TagRules::new(&labels).unwrap();
        let tags = rules.tag_list(&[0.5; 7]).unwrap();
        assert_eq!(tags.size_by_name("genre"), 3);
        assert_eq!(tags.size_by_name("extended-comment"), 2);
    }
}
