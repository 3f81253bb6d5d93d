//! Values that a song's fields get: from the tags that pass, the values that are there, and earlier work of the program.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::container::SongTags;
use super::field::{Field, OWN};
use super::mapping::{FieldRule, FieldRules, WriteMode, contains};

/// Level of detail of the field in which the program describes its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, ValueEnum)]
pub(super) enum Provenance {
    /// No field
    #[default]
    None,
    /// Version, model, and the values that were written
    Model,
    /// Also the scores that were used
    Scores,
}

/// Tags of a track, and the model that made them.
#[derive(Clone, Debug)]
pub(super) struct TaggedTrack {
    pub(super) scores: Vec<(String, f64)>,
    /// Model and compatibility.
    pub(super) made: Option<(String, String)>,
}

/// Description of the program's work in a song, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct OwnWork {
    /// Version of the program.
    tagwave: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compat: Option<String>,
    /// Values by field.
    wrote: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<BTreeMap<String, f64>>,
}

/// Change of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FieldChange {
    pub(super) field: Field,
    pub(super) before: Vec<String>,
    pub(super) after: Vec<String>,
}

impl OwnWork {
    /// Work of this version for a track.
    pub(super) fn of(
        track: &TaggedTrack,
        wrote: BTreeMap<String, Vec<String>>,
        with_scores: bool,
    ) -> OwnWork {
        let made = track.made.clone().unzip();
        let rounded = |(tag, score): &(String, f64)| (tag.clone(), (score * 1e3).round() / 1e3);
        OwnWork {
            tagwave: env!("CARGO_PKG_VERSION").into(),
            model: made.0,
            compat: made.1,
            wrote,
            scores: with_scores.then(|| track.scores.iter().map(rounded).collect()),
        }
    }

    fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Computes the changes of a song.
pub(super) fn changes(
    song: &SongTags,
    rules: &FieldRules,
    track: &TaggedTrack,
    provenance: Provenance,
) -> Vec<FieldChange> {
    let old_text = song.own();
    let old: Option<OwnWork> = old_text.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let mut wrote = BTreeMap::new();
    let mut found = Vec::new();
    for rule in &rules.0 {
        let name = rule.field.to_string();
        let own = old.as_ref().and_then(|old| old.wrote.get(&name)).map_or(&[][..], Vec::as_slice);
        let before = song.values(&rule.field);
        let selected = rule.select(&track.scores);
        let (after, ours) = rule.values_after(&before, own, &selected, song.holds_one_text());
        if !ours.is_empty() {
            wrote.insert(name, ours);
        }
        if after != before {
            found.push(FieldChange { field: rule.field.clone(), before, after });
        }
    }
    // Fields of other rules remain the program's work.
    for (name, values) in old.iter().flat_map(|old| &old.wrote) {
        if !rules.0.iter().any(|rule| rule.field.to_string() == *name) {
            wrote.insert(name.clone(), values.clone());
        }
    }
    let has_scores = provenance == Provenance::Scores || old.as_ref().is_some_and(|old| old.scores.is_some());
    if provenance != Provenance::None || old.is_some() {
        let work = (!wrote.is_empty()).then(|| OwnWork::of(track, wrote, has_scores).to_text());
        if work != old_text {
            let field = Field::Custom(OWN.into());
            found.push(FieldChange {
                field,
                before: old_text.into_iter().collect(),
                after: work.into_iter().collect(),
            });
        }
    }
    found
}

impl FieldRule {
    /// Values of the field after writing, and those of them that are the program's. `own` are those of an earlier run,
    /// `is_one_text` tells that the tag holds one text per field.
    fn values_after(
        &self,
        before: &[String],
        own: &[String],
        selected: &[String],
        is_one_text: bool,
    ) -> (Vec<String>, Vec<String>) {
        if let Some(around) = &self.around {
            return self.text_after(before, selected, around);
        }
        let separator = self.separator.as_deref().or(is_one_text.then_some(self.one_text.as_str()));
        let split: Vec<String> = match separator.map(str::trim).filter(|separator| !separator.is_empty()) {
            Some(separator) => {
                let parts = before.iter().flat_map(|text| text.split(separator));
                parts.map(|part| part.trim().to_string()).filter(|part| !part.is_empty()).collect()
            }
            None => before.to_vec(),
        };
        let others: Vec<String> = split.iter().filter(|value| !contains(own, value)).cloned().collect();
        let new = selected.iter().filter(|value| !contains(&others, value)).cloned();
        let after: Vec<String> = match self.mode {
            WriteMode::OnlyMissing if !others.is_empty() => split.clone(),
            WriteMode::Replace if selected.is_empty() => others.clone(),
            WriteMode::OnlyMissing | WriteMode::Replace => selected.to_vec(),
            WriteMode::Merge => others.iter().cloned().chain(new).collect(),
        };
        let is_ours =
            |value: &&String| contains(own, value) || (contains(selected, value) && !contains(&split, value));
        let ours = after.iter().filter(is_ours).cloned().collect();
        if after == split {
            return (before.to_vec(), ours);
        }
        match separator {
            Some(separator) if after.len() > 1 => (vec![after.join(separator)], ours),
            _ => (after, ours),
        }
    }

    /// Text with the values between two marks; the rest of the text stays.
    fn text_after(
        &self,
        before: &[String],
        selected: &[String],
        around: &[String; 2],
    ) -> (Vec<String>, Vec<String>) {
        let text = before.first().map_or("", String::as_str);
        let [open, close] = around;
        let marked = text.find(open.trim()).and_then(|start| {
            let end = text[start..].find(close.trim())? + start + close.trim().len();
            Some((start, end))
        });
        let rest = match marked {
            Some((start, end)) => [text[..start].trim(), text[end..].trim()].join(" ").trim().to_string(),
            None => text.trim().to_string(),
        };
        let is_kept = self.mode == WriteMode::OnlyMissing && !text.trim().is_empty();
        if selected.is_empty() || is_kept {
            return (before.to_vec(), Vec::new());
        }
        let separator = self.separator.as_deref().unwrap_or(" / ");
        let block = format!("{open}{}{close}", selected.join(separator));
        if self.mode == WriteMode::Replace || rest.is_empty() {
            return (vec![block], selected.to_vec());
        }
        (vec![format!("{rest} {block}")], selected.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::super::mapping::RuleOverrides;
    use super::*;

    fn rule(extra: &str) -> FieldRule {
        let text = format!("[field.genre]\n{extra}\n[tags]\n");
        FieldRules::parse(&text, RuleOverrides::default()).unwrap().0.remove(0)
    }

    fn after(extra: &str, before: &[&str], own: &[&str], selected: &[&str]) -> (Vec<String>, Vec<String>) {
        let list = |values: &[&str]| values.iter().map(|value| value.to_string()).collect::<Vec<_>>();
        rule(extra).values_after(&list(before), &list(own), &list(selected), false)
    }

    #[test]
    fn modes() {
        let missing = "mode = 'only-missing'";
        assert_eq!(after(missing, &[], &[], &["Rock"]).0, ["Rock"]);
        assert_eq!(after(missing, &["Jazz"], &[], &["Rock"]).0, ["Jazz"]);
        // The program's own values count as missing.
        assert_eq!(
            after(missing, &["Jazz"], &["Jazz"], &["Rock"]),
            (vec!["Rock".into()], vec!["Rock".into()])
        );
        let merge = "mode = 'merge'";
        assert_eq!(after(merge, &["Jazz", "rock"], &[], &["Rock", "Pop"]).0, ["Jazz", "rock", "Pop"]);
        assert_eq!(after(merge, &["Jazz", "Pop"], &["Pop"], &["Rock"]).0, ["Jazz", "Rock"]);
        let replace = "mode = 'replace'";
        assert_eq!(after(replace, &["Jazz"], &[], &["Rock", "Pop"]).0, ["Rock", "Pop"]);
        assert_eq!(after(replace, &["Jazz"], &[], &[]).0, ["Jazz"]);
        assert_eq!(after(replace, &["Jazz"], &["Jazz"], &[]).0, Vec::<String>::new());
    }

    #[test]
    fn values_of_one_text_are_divided_and_joined() {
        let merge = "mode = 'merge'\nseparator = '; '";
        assert_eq!(after(merge, &["Jazz;Pop"], &[], &["Rock"]).0, ["Jazz; Pop; Rock"]);
        // Nothing new: the text stays as it was.
        assert_eq!(after(merge, &["Jazz;Rock"], &[], &["Rock"]).0, ["Jazz;Rock"]);
    }

    #[test]
    fn values_written_once_are_found_again() {
        let merge = "mode = 'merge'";
        let (first, ours) = after(merge, &["Jazz"], &[], &["Rock", "Jazz"]);
        assert_eq!(
            (&first[..], &ours[..]),
            (&["Jazz".to_string(), "Rock".into()][..], &["Rock".to_string()][..])
        );
        let first: Vec<&str> = first.iter().map(String::as_str).collect();
        assert_eq!(after(merge, &first, &["Rock"], &["Rock", "Jazz"]).0, ["Jazz", "Rock"]);
    }

    #[test]
    fn comments_keep_their_text() {
        let comment = "mode = 'merge'\naround = ['/* ', ' */']";
        assert_eq!(
            after(comment, &["bought 2009"], &[], &["Rock", "Sad"]).0,
            ["bought 2009 /* Rock / Sad */"]
        );
        assert_eq!(after(comment, &["a /* Pop */ b"], &[], &["Rock"]).0, ["a b /* Rock */"]);
        assert_eq!(after(comment, &["/* Rock */"], &[], &["Rock"]).0, ["/* Rock */"]);
        assert_eq!(after(comment, &["a /* open"], &[], &["Rock"]).0, ["a /* open /* Rock */"]);
        assert_eq!(after(comment, &["a"], &[], &[]).0, ["a"]);
    }
}
