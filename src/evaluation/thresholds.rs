//! Thresholds and calibration of tags: the file of `tagwave eval --fit-thresholds`, and its use on scores.

use std::fmt::Write;

use serde::Deserialize;

use super::calibration::{Platt, Temperature};
use super::mapping::{BoundSource, MappingError, TagSource};
use crate::tags::Tag;

/// Version of the file.
const SCHEMA: u32 = 1;

/// Error of a file of thresholds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagRulesError {
    /// Text that is not such a file.
    #[error("expected thresholds written by `tagwave eval --fit-thresholds`: {0}")]
    Parse(String),
    /// A file of another version.
    #[error("expected schema {SCHEMA}, found {found}: it was written by another version of tagwave")]
    Schema {
        /// Version of the file.
        found: u32,
    },
    /// A value out of range.
    #[error("tag {tag:?}: {message}")]
    Tag {
        /// The tag.
        tag: String,
        /// Description of the error.
        message: String,
    },
    /// A tag that the model does not have.
    #[error("the thresholds are for other tags: {0}")]
    Mapping(#[from] MappingError),
}

/// Threshold and calibration of one tag.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagRule {
    /// The tag.
    pub tag: String,
    /// Labels of the model that its score is made from, as in a mapping; by default the label of the same name.
    pub from: Option<String>,
    /// Least score; without one the tag never passes.
    pub threshold: Option<f64>,
    /// Slope and offset of Platt scaling.
    pub platt: Option<[f64; 2]>,
    /// Number of items with the tag that the rule was fitted to.
    pub positives: Option<u64>,
    /// Precision on items left out of the fit.
    pub precision: Option<f64>,
    /// Recall on items left out of the fit.
    pub recall: Option<f64>,
}

/// Thresholds and calibration of the tags of a model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagRules {
    /// Version of the file.
    pub schema: u32,
    /// Model that the scores are of, if known.
    pub model: Option<String>,
    /// Compatibility of the model, if known.
    pub compat: Option<String>,
    /// Goal that the thresholds were fitted to.
    pub goal: String,
    /// Temperature of all tags without Platt scaling.
    pub temperature: Option<f64>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<TagRule>,
}

/// Rules for the scores of a model.
#[derive(Clone, Debug)]
pub struct BoundRules {
    temperature: Option<Temperature>,
    rules: Vec<(BoundSource, TagRule)>,
}

impl TagRules {
    /// Rules of this version without tags.
    pub fn new(goal: impl Into<String>) -> TagRules {
        TagRules {
            schema: SCHEMA,
            model: None,
            compat: None,
            goal: goal.into(),
            temperature: None,
            tags: vec![],
        }
    }

    /// Parses a file.
    ///
    /// # Errors
    /// [`TagRulesError`].
    pub fn parse(text: &str) -> Result<TagRules, TagRulesError> {
        let table: toml::Table = toml::from_str(text)
            .map_err(|error| TagRulesError::Parse(error.to_string().trim().to_string()))?;
        // The fields depend on the schema, so that it is checked first.
        let schema = table.get("schema").and_then(toml::Value::as_integer);
        if let Some(found) =
            schema.and_then(|found| u32::try_from(found).ok()).filter(|&found| found != SCHEMA)
        {
            return Err(TagRulesError::Schema { found });
        }
        let rules: TagRules = toml::from_str(text)
            .map_err(|error| TagRulesError::Parse(error.to_string().trim().to_string()))?;
        let mut seen: Vec<&str> = Vec::new();
        for rule in &rules.tags {
            let wrong =
                |message: &str| TagRulesError::Tag { tag: rule.tag.clone(), message: message.to_string() };
            if seen.contains(&&*rule.tag) {
                return Err(wrong("has two entries"));
            }
            seen.push(&rule.tag);
            if rule.threshold.is_some_and(f64::is_nan) {
                return Err(wrong("expected a number as threshold, found nan"));
            }
            if rule.platt.is_some_and(|[a, b]| !(a > 0.0 && a.is_finite() && b.is_finite())) {
                return Err(wrong("expected a slope above 0 and an offset as platt"));
            }
        }
        if rules.temperature.is_some_and(|t| !(t > 0.0 && t.is_finite())) {
            return Err(TagRulesError::Parse("expected a temperature above 0".into()));
        }
        Ok(rules)
    }

    /// Text of a file, after lines of comment.
    pub fn to_toml(&self, comment: &str) -> String {
        let mut text = String::new();
        comment.lines().for_each(|line| text += &format!("# {line}\n"));
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                // A String takes any text.
                let _ = writeln!(text, "{key} = {value}");
            }
        };
        put("schema", Some(self.schema.to_string()));
        put("model", self.model.as_deref().map(quoted));
        put("compat", self.compat.as_deref().map(quoted));
        put("goal", Some(quoted(&self.goal)));
        put("temperature", self.temperature.map(number));
        for rule in &self.tags {
            put("\n[[tags]]\ntag", Some(quoted(&rule.tag)));
            put("from", rule.from.as_deref().map(quoted));
            put("threshold", rule.threshold.map(number));
            put("platt", rule.platt.map(|[a, b]| format!("[{}, {}]", number(a), number(b))));
            put("positives", rule.positives.map(|count| count.to_string()));
            put("precision", rule.precision.map(number));
            put("recall", rule.recall.map(number));
        }
        text
    }

    /// Finds the labels of the rules among those of a model.
    ///
    /// # Errors
    /// [`TagRulesError::Mapping`] for a label that the model does not have, [`TagRulesError::Tag`] for a source that is
    /// not understood.
    pub fn bind(&self, labels: &[String]) -> Result<BoundRules, TagRulesError> {
        let bind = |rule: &TagRule| {
            let wrong = |message| TagRulesError::Tag { tag: rule.tag.clone(), message };
            let source = match &rule.from {
                Some(source) => source.parse::<TagSource>().map_err(wrong)?,
                None => TagSource::plain(&*rule.tag),
            };
            Ok((source.bind(labels)?, rule.clone()))
        };
        let rules = self.tags.iter().map(bind).collect::<Result<_, TagRulesError>>()?;
        Ok(BoundRules { temperature: self.temperature.map(Temperature), rules })
    }
}

impl BoundRules {
    /// Tags whose score passes their threshold, highest score first, with calibrated scores on request.
    pub fn select(&self, scores: &[f32], is_calibrated: bool) -> Vec<Tag> {
        let tag = |(source, rule): &(BoundSource, TagRule)| {
            let score = source.score(|label| scores.get(label).copied().map_or(0.0, f64::from));
            let threshold = rule.threshold.filter(|&threshold| score >= threshold);
            threshold?;
            let shown = if is_calibrated { self.calibrate(rule, score) } else { score };
            Some(Tag { label: rule.tag.clone(), score: shown as f32 })
        };
        let mut tags: Vec<Tag> = self.rules.iter().filter_map(tag).collect();
        tags.sort_by(|a, b| b.score.total_cmp(&a.score));
        tags
    }

    fn calibrate(&self, rule: &TagRule, score: f64) -> f64 {
        match (rule.platt, self.temperature) {
            (Some([a, b]), _) => Platt { a, b }.apply(score),
            (None, Some(temperature)) => temperature.apply(score),
            (None, None) => score,
        }
    }
}

/// TOML basic string. JSON escapes the same characters, except DEL.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// TOML float: always with a decimal point or an exponent.
fn number(value: f64) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> TagRules {
        let rule = |tag: &str| TagRule {
            tag: tag.into(),
            from: None,
            threshold: Some(0.5),
            platt: None,
            positives: Some(3),
            precision: None,
            recall: Some(1.0),
        };
        TagRules {
            model: Some("small".into()),
            temperature: Some(2.0),
            tags: vec![
                rule("rock"),
                TagRule { from: Some("max(dance, funk)".into()), platt: Some([1.5, -0.25]), ..rule("disco") },
                TagRule { threshold: None, ..rule("dance") },
                TagRule { from: Some("rock".into()), threshold: Some(1e-7), ..rule("a \"b\"\u{7f}\n") },
            ],
            ..TagRules::new("best F1")
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let text = rules().to_toml("Made by a test.\nTwo lines.");
        assert!(
            text.starts_with("# Made by a test.\n# Two lines.\nschema = 1\nmodel = \"small\"\n"),
            "{text}"
        );
        assert_eq!(TagRules::parse(&text), Ok(rules()), "{text}");
    }

    #[test]
    fn only_what_passes() {
        let labels = ["rock", "dance", "funk"].map(String::from);
        let bound = rules().bind(&labels).unwrap();
        let names = |scores: &[f32], calibrated| -> Vec<(String, f32)> {
            bound.select(scores, calibrated).into_iter().map(|tag| (tag.label, tag.score)).collect()
        };
        let (rock, disco, odd) = ("rock".to_string(), "disco".to_string(), "a \"b\"\u{7f}\n".to_string());
        assert_eq!(names(&[0.25, 0.5, 0.75], false), [(disco.clone(), 0.75), (odd.clone(), 0.25)]);
        assert_eq!(names(&[0.0, 0.4, 0.4], false), []);
        // sigmoid(1.5 ln 3 - 0.25), and sigmoid(ln 9 / 2).
        let found = names(&[0.9, 0.75, 0.1], true);
        assert_eq!([&found[0].0, &found[1].0, &found[2].0], [&disco, &rock, &odd]);
        assert!((found[0].1 - 0.801_862).abs() < 1e-5 && (found[1].1 - 0.75).abs() < 1e-6, "{found:?}");
        let missing = rules().bind(&labels[..2]).unwrap_err().to_string();
        assert!(missing.contains("unknown tag \"funk\""), "{missing}");
    }

    #[test]
    fn invalid_files_are_refused() {
        for (text, message) in [
            ("", "expected thresholds"),
            ("schema = 2\nnew = 1", "expected schema 1, found 2"),
            ("schema = 1\ngoal = \"\"\nother = 1", "unknown field"),
            ("schema = 1\ngoal = \"\"\ntemperature = 0.0", "temperature above 0"),
            ("schema = 1\ngoal = \"\"\n[[tags]]\ntag = \"a\"\nthreshold = nan", "found nan"),
            ("schema = 1\ngoal = \"\"\n[[tags]]\ntag = \"a\"\nplatt = [-1.0, 0.0]", "slope above 0"),
            ("schema = 1\ngoal = \"\"\n[[tags]]\ntag = \"a\"\n[[tags]]\ntag = \"a\"", "two entries"),
        ] {
            let error = TagRules::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
