//! Mapping of tags to fields: presets for players, and files of the same form.

use std::collections::{BTreeMap, HashMap};

use clap::ValueEnum;
use serde::Deserialize;

use super::field::Field;

/// Tags and their values, which all presets share.
const TAGS: &str = include_str!("presets/tags.toml");

/// Preset for players.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub(super) enum Preset {
    /// Genres and moods, each value by itself, where a song has none
    #[default]
    Plain,
    /// Navidrome and Jellyfin: as plain; ID3v2.3 gets one text, divided by semicolons
    #[value(alias = "jellyfin")]
    Navidrome,
    /// MusicBrainz Picard: up to five genres
    Picard,
    /// beets: genres as one text, divided by commas
    Beets,
    /// foobar2000: one genre, further ones in STYLE
    Foobar,
    /// Rekordbox and Traktor: all tags in the comment, as `/* Rock / Happy */`
    #[value(alias = "traktor")]
    Rekordbox,
}

impl Preset {
    /// The preset as a mapping file.
    pub(super) fn text(self) -> String {
        let fields = match self {
            Preset::Plain => include_str!("presets/plain.toml"),
            Preset::Navidrome => include_str!("presets/navidrome.toml"),
            Preset::Picard => include_str!("presets/picard.toml"),
            Preset::Beets => include_str!("presets/beets.toml"),
            Preset::Foobar => include_str!("presets/foobar.toml"),
            Preset::Rekordbox => include_str!("presets/rekordbox.toml"),
        };
        format!("{fields}\n{TAGS}")
    }
}

/// Treatment of values that a field already has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WriteMode {
    /// Leave fields that have a value
    #[default]
    OnlyMissing,
    /// Add to the values
    Merge,
    /// Replace the values
    Replace,
}

/// Mapping file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingText {
    field: BTreeMap<String, FieldText>,
    tags: BTreeMap<String, ValueText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldText {
    #[serde(default = "three")]
    most: usize,
    #[serde(default = "usual_threshold")]
    threshold: f64,
    #[serde(default)]
    mode: WriteMode,
    /// Joins values to one text; without it each is a value of its own.
    separator: Option<String>,
    /// Joins values where a kind of tag holds one text only.
    #[serde(default = "semicolon")]
    one_text: String,
    /// Text before and after the values; text outside of it stays.
    around: Option<[String; 2]>,
    /// Fields whose tags are written here.
    #[serde(default)]
    tags_of: Vec<String>,
}

fn three() -> usize {
    3
}

fn usual_threshold() -> f64 {
    0.2
}

fn semicolon() -> String {
    "; ".into()
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum ValueText {
    Genre(String),
    Other(ValueTable),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueTable {
    #[serde(default = "genre")]
    field: String,
    value: String,
    threshold: Option<f64>,
}

fn genre() -> String {
    "genre".into()
}

/// Value of a tag in a field.
#[derive(Clone, Debug, PartialEq)]
struct TagValue {
    value: String,
    threshold: f64,
}

/// Rule of one field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FieldRule {
    pub(super) field: Field,
    most: usize,
    pub(super) mode: WriteMode,
    pub(super) separator: Option<String>,
    pub(super) one_text: String,
    pub(super) around: Option<[String; 2]>,
    tags: HashMap<String, TagValue>,
}

/// Settings of the command line that replace those of a mapping.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RuleOverrides {
    pub(super) threshold: Option<f64>,
    pub(super) most: Option<usize>,
    pub(super) mode: Option<WriteMode>,
}

/// Rules of all fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FieldRules(pub(super) Vec<FieldRule>);

impl FieldRules {
    /// True if a tag has a value in any field.
    pub(super) fn knows(&self, tag: &str) -> bool {
        self.0.iter().any(|rule| rule.tags.contains_key(tag))
    }

    /// True if a tag of a song passes.
    pub(super) fn selects_any(&self, scores: &[(String, f64)]) -> bool {
        self.0.iter().any(|rule| !rule.select(scores).is_empty())
    }

    /// Parses a mapping file.
    ///
    /// # Errors
    /// Text that is no mapping, with the place and the expected form.
    pub(super) fn parse(text: &str, overrides: RuleOverrides) -> Result<FieldRules, String> {
        let found: MappingText =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_string())?;
        let rules: Vec<FieldRule> = found
            .field
            .iter()
            .map(|(name, field)| rule(name, field, &found.tags, overrides))
            .collect::<Result<_, _>>()?;
        for (tag, value) in &found.tags {
            let of = value.field();
            if !found.field.keys().any(|name| name.eq_ignore_ascii_case(of)) && !found.borrows(of) {
                return Err(format!("tag {tag:?}: expected a table [field.{of}]"));
            }
        }
        match rules
            .iter()
            .enumerate()
            .find(|(index, rule)| rules[..*index].iter().any(|r| r.field == rule.field))
        {
            Some((_, rule)) => Err(format!("field {}: expected one table, found two", rule.field)),
            None => Ok(FieldRules(rules)),
        }
    }
}

impl MappingText {
    fn borrows(&self, name: &str) -> bool {
        self.field.values().flat_map(|field| &field.tags_of).any(|of| of.eq_ignore_ascii_case(name))
    }
}

impl ValueText {
    fn field(&self) -> &str {
        match self {
            ValueText::Genre(_) => "genre",
            ValueText::Other(table) => &table.field,
        }
    }
}

fn check_threshold(of: &str, threshold: f64) -> Result<f64, String> {
    if (0.0..=1.0).contains(&threshold) {
        return Ok(threshold);
    }
    Err(format!("{of}: threshold {threshold}: expected a number from 0 to 1"))
}

fn rule(
    name: &str,
    text: &FieldText,
    tags: &BTreeMap<String, ValueText>,
    overrides: RuleOverrides,
) -> Result<FieldRule, String> {
    let field = Field::parse(name)?;
    let usual = check_threshold(&format!("field {name}"), overrides.threshold.unwrap_or(text.threshold))?;
    let is_ours = |of: &str| {
        of.eq_ignore_ascii_case(name) || text.tags_of.iter().any(|other| other.eq_ignore_ascii_case(of))
    };
    let mut values = HashMap::new();
    for (tag, value) in tags.iter().filter(|(_, value)| is_ours(value.field())) {
        let (value, threshold) = match value {
            ValueText::Genre(value) => (value, None),
            ValueText::Other(table) => {
                (&table.value, table.threshold.filter(|_| overrides.threshold.is_none()))
            }
        };
        if value.trim().is_empty() || value.contains(char::is_control) {
            return Err(format!("tag {tag:?}: expected a value without control characters, found {value:?}"));
        }
        let threshold = check_threshold(&format!("tag {tag:?}"), threshold.unwrap_or(usual))?;
        values.insert(tag.clone(), TagValue { value: value.clone(), threshold });
    }
    if text.around.as_ref().is_some_and(|[before, after]| before.trim().is_empty() || after.trim().is_empty())
    {
        return Err(format!("field {name}: around: expected two texts that are not empty"));
    }
    let most = overrides.most.unwrap_or(text.most);
    if most == 0 {
        return Err(format!("field {name}: most = 0: expected at least 1"));
    }
    Ok(FieldRule {
        field,
        most,
        mode: overrides.mode.unwrap_or(text.mode),
        separator: text.separator.clone().or(text.around.as_ref().map(|_| " / ".into())),
        one_text: text.one_text.clone(),
        around: text.around.clone(),
        tags: values,
    })
}

impl FieldRule {
    /// Values of a song: those of the tags that pass, highest score first.
    pub(super) fn select(&self, scores: &[(String, f64)]) -> Vec<String> {
        let passing = |(tag, score): &(String, f64)| {
            let value = self.tags.get(tag).filter(|value| *score >= value.threshold)?;
            Some((&value.value, *score))
        };
        let mut found: Vec<(&String, f64)> = scores.iter().filter_map(passing).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let mut values: Vec<String> = Vec::new();
        for (value, _) in found {
            if values.len() < self.most && !contains(&values, value) {
                values.push(value.clone());
            }
        }
        values
    }
}

/// True if a value is listed, in upper or lower case.
pub(super) fn contains(values: &[String], value: &str) -> bool {
    values.iter().any(|other| other.to_lowercase() == value.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
        pairs.iter().map(|(tag, score)| (tag.to_string(), *score)).collect()
    }

    #[test]
    fn presets_are_mappings_of_the_models_tags() {
        let labels = tagwave::tags::Vocabulary::lastfm50().unwrap();
        for preset in Preset::value_variants() {
            let rules = FieldRules::parse(&preset.text(), RuleOverrides::default()).unwrap();
            assert!(!rules.0.is_empty());
            for rule in &rules.0 {
                assert!(rule.tags.keys().all(|tag| labels.labels().contains(tag)), "{preset:?}");
                assert_eq!(rule.field == Field::Comment, *preset == Preset::Rekordbox);
            }
        }
    }

    #[test]
    fn the_highest_tags_that_pass_are_selected() {
        let text = "[field.genre]\nmost = 2\nthreshold = 0.3\n[field.mood]\n[tags]\nrock = 'Rock'\npop = 'Pop'\n\
                    jazz = { value = 'Jazz', threshold = 0.9 }\npunk = 'rock'\nsad = { field = 'mood', value = 'Sad' }\n";
        let rules = FieldRules::parse(text, RuleOverrides::default()).unwrap();
        let found =
            scores(&[("jazz", 0.8), ("rock", 0.5), ("punk", 0.7), ("pop", 0.3), ("sad", 0.2), ("x", 1.0)]);
        assert_eq!(rules.0[0].select(&found), ["rock", "Pop"]);
        assert_eq!(rules.0[1].select(&found), ["Sad"]);
        let overrides = RuleOverrides { threshold: Some(0.6), most: Some(1), mode: Some(WriteMode::Replace) };
        let rules = FieldRules::parse(text, overrides).unwrap();
        assert_eq!((rules.0[0].select(&found), rules.0[0].mode), (vec!["Jazz".into()], WriteMode::Replace));
    }

    #[test]
    fn mistakes_are_named() {
        let parse = |text: &str| FieldRules::parse(text, RuleOverrides::default()).unwrap_err();
        let mistakes = [
            ("[field.title]\n[tags]\n", "\"title\""),
            ("[field.genre]\nmots = 1\n[tags]\n", "mots"),
            ("[field.genre]\nthreshold = 2\n[tags]\n", "0 to 1"),
            ("[field.genre]\nmost = 0\n[tags]\n", "at least 1"),
            ("[field.genre]\n[tags]\nsad = { field = 'mood', value = 'Sad' }\n", "[field.mood]"),
            ("[field.genre]\n[tags]\nsad = \"a\\u0000b\"\n", "control"),
            ("[field.genre]\n[field.GENRE]\n[tags]\n", "found two"),
        ];
        for (text, expected) in mistakes {
            assert!(parse(text).contains(expected), "{text}: {}", parse(text));
        }
    }
}
