//! Labels of tracks: CSV with a column per tag or a line per tag, and JSON Lines.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::CliError;

mod matching;

use matching::{Matches, match_keys, match_paths};

/// Number of names that are shown of a list.
const SHOWN: usize = 5;

/// Arguments that name a file of labels and its columns.
#[derive(Clone, Debug, Args)]
pub(super) struct LabelArgs {
    /// Labels: CSV with a column `path` and a column of 0 and 1 per tag, or with columns `path` and `tag` and a line per
    /// tag; or JSON Lines with `path` and `tags`
    #[arg(long, value_name = "FILE")]
    pub(super) labels: PathBuf,

    /// Column of the labels that has the path
    #[arg(long, value_name = "COLUMN", default_value = "path")]
    path_column: String,

    /// Column of the labels that has the file name without folder and extension; used instead of the path
    #[arg(long, value_name = "COLUMN")]
    key: Option<String>,

    /// Column of the labels that groups tracks, for example by artist: intervals and cross-validation keep a group
    /// together
    #[arg(long, value_name = "COLUMN")]
    pub(super) group: Option<String>,
}

impl LabelArgs {
    /// Reads the labels.
    pub(super) fn read(&self) -> Result<LabelTable, CliError> {
        let columns =
            LabelColumns { path: self.path_column.clone(), key: self.key.clone(), group: self.group.clone() };
        LabelTable::read(&self.labels, &columns).map_err(|message| self.error(message))
    }

    /// True if the labels have keys instead of paths.
    pub(super) fn has_keys(&self) -> bool {
        self.key.is_some()
    }

    /// Error of the file of labels.
    pub(super) fn error(&self, message: impl std::fmt::Display) -> CliError {
        CliError::usage(format!("{}: {message}", self.labels.display()))
    }
}

/// Columns, or JSON fields, that have a meaning.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelColumns {
    /// Path of the track.
    pub(crate) path: String,
    /// File name without extension, instead of the path.
    pub(crate) key: Option<String>,
    /// Group of the track.
    pub(crate) group: Option<String>,
}

impl LabelColumns {
    /// Column that identifies a track.
    fn subject(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.path)
    }

    /// Advice for a file without the column of the path.
    fn advice(&self) -> &'static str {
        if self.key.is_some() {
            "choose a column with --key"
        } else {
            "name it with --path-column, or use --key"
        }
    }
}

/// Labels of tracks.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelTable {
    /// Path or key of each track.
    pub(crate) subjects: Vec<String>,
    /// Group of each track; empty if it has none.
    pub(crate) groups: Vec<String>,
    /// Tags, in the order of the file.
    tags: Vec<TagColumn>,
}

/// Labels of one tag.
#[derive(Clone, Debug)]
struct TagColumn {
    tag: String,
    truth: Vec<bool>,
    /// Line and text of the first value that is neither 0 nor 1.
    invalid: Option<(u64, String)>,
}

impl LabelTable {
    /// Reads a file. The first character other than space tells JSON Lines from CSV.
    pub(crate) fn read(path: &Path, columns: &LabelColumns) -> Result<LabelTable, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        LabelTable::parse(&text, columns)
    }

    fn parse(text: &str, columns: &LabelColumns) -> Result<LabelTable, String> {
        let text = text.trim_start_matches('\u{feff}');
        if text.trim_start().starts_with('{') { json_lines(text, columns) } else { csv_table(text, columns) }
    }

    /// Matches labels with the paths of tracks; `has_keys` if the labels have keys instead of paths.
    ///
    /// # Errors
    /// Nothing in common.
    pub(crate) fn matches(&self, paths: &[String], has_keys: bool) -> Result<Matches, String> {
        let match_them = if has_keys { match_keys } else { match_paths };
        let matches = match_them(&self.subjects, paths);
        if matches.pairs.is_empty() {
            let (labels, tracks) = (some(&self.subjects), some(paths));
            let advice =
                if has_keys { "choose another column with --key" } else { "match file names with --key" };
            return Err(format!(
                "no track in common: labels have {labels}; predictions have {tracks}; {advice}"
            ));
        }
        Ok(matches)
    }

    /// Group of each of these tracks, numbered from 0. A track without a group is one of its own.
    pub(crate) fn groups_of(&self, tracks: impl Iterator<Item = usize>) -> Vec<usize> {
        numbered(tracks.map(|track| match &*self.groups[track] {
            "" => (None, Some(track)),
            group => (Some(group), None),
        }))
    }

    /// Names of the tags.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(|column| &*column.tag)
    }

    /// Labels of a tag, one per track; `None` if the file does not have it.
    pub(crate) fn truth(&self, tag: &str) -> Option<Result<&[bool], String>> {
        let column = self.tags.iter().find(|column| column.tag == tag)?;
        Some(match &column.invalid {
            None => Ok(&column.truth),
            Some((line, found)) => {
                Err(format!("line {line}, column {tag:?}: expected 0 or 1, found {found:?}"))
            }
        })
    }
}

/// Numbers equal values, from 0.
pub(crate) fn numbered<T: std::hash::Hash + Eq>(values: impl Iterator<Item = T>) -> Vec<usize> {
    let mut numbers = HashMap::new();
    values
        .map(|value| {
            let next = numbers.len();
            *numbers.entry(value).or_insert(next)
        })
        .collect()
}

/// The first names of a list. File names may contain escape sequences for the terminal.
pub(crate) fn some(names: &[String]) -> String {
    let shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| name.replace(char::is_control, "\u{fffd}")).collect();
    let rest = if names.len() > SHOWN { ", ..." } else { "" };
    shown.join(", ") + rest
}

/// Collects tracks whose tags are listed.
#[derive(Default)]
struct ListedTags {
    table: LabelTable,
    places: HashMap<String, usize>,
    tags: HashMap<String, usize>,
    found: Vec<HashSet<usize>>,
}

impl ListedTags {
    /// Adds a track, or finds the one that is there.
    fn track(&mut self, line: u64, subject: &str, group: &str) -> Result<usize, String> {
        if subject.is_empty() {
            return Err(format!("line {line}: expected a path, found none"));
        }
        let place = *self.places.entry(subject.to_string()).or_insert(self.table.subjects.len());
        match self.table.groups.get(place) {
            Some(other) if other != group => {
                return Err(format!("line {line}: {subject:?} has the groups {other:?} and {group:?}"));
            }
            Some(_) => {}
            None => {
                self.table.subjects.push(subject.to_string());
                self.table.groups.push(group.to_string());
                self.found.push(HashSet::new());
            }
        }
        Ok(place)
    }

    /// Index of a tag.
    fn tag(&mut self, tag: &str) -> usize {
        let next = self.tags.len();
        *self.tags.entry(tag.to_string()).or_insert(next)
    }

    fn finish(self) -> LabelTable {
        let mut names: Vec<(String, usize)> = self.tags.into_iter().collect();
        names.sort();
        let column = |(tag, index): (String, usize)| TagColumn {
            tag,
            truth: self.found.iter().map(|tags| tags.contains(&index)).collect(),
            invalid: None,
        };
        LabelTable { tags: names.into_iter().map(column).collect(), ..self.table }
    }
}

/// Lines `{"path": ..., "tags": ["rock", ...]}` or `{"path": ..., "tags": {"rock": 1, "jazz": 0}}`.
fn json_lines(text: &str, columns: &LabelColumns) -> Result<LabelTable, String> {
    let mut listed = ListedTags::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index as u64 + 1;
        let wrong = |message: String| format!("line {number}: {message}");
        let row: Value = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        let word = |field: &str| match row.get(field) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let subject = columns.subject();
        let missing = || wrong(format!("expected a text {subject:?}; {}", columns.advice()));
        let subject = word(subject).ok_or_else(missing)?;
        let group = columns.group.as_deref().and_then(word).unwrap_or_default();
        if listed.places.contains_key(&subject) {
            return Err(wrong(format!("{subject:?} has two lines")));
        }
        let place = listed.track(number, &subject, &group)?;
        match row.get("tags") {
            Some(Value::Array(tags)) => {
                for tag in tags {
                    let text = || wrong(format!("expected a list of texts as tags, found {tag}"));
                    let tag = listed.tag(tag.as_str().ok_or_else(text)?);
                    listed.found[place].insert(tag);
                }
            }
            Some(Value::Object(tags)) => {
                for (tag, value) in tags {
                    let index = listed.tag(tag);
                    match (value.as_bool(), value.as_f64()) {
                        (Some(true), _) | (_, Some(1.0)) => {
                            listed.found[place].insert(index);
                        }
                        (Some(false), _) | (_, Some(0.0)) => {}
                        _ => return Err(wrong(format!("tag {tag:?}: expected 0 or 1, found {value}"))),
                    }
                }
            }
            _ => return Err(wrong("expected \"tags\", a list of tags or an object of 0 and 1".into())),
        }
    }
    Ok(listed.finish())
}

/// Delimiter of a table: the most frequent of comma, tab and semicolon in its header.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: u8| header.bytes().filter(|&byte| byte == delimiter).count();
    // Of equal counts the last one is taken.
    [b';', b'\t', b','].into_iter().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b',')
}

/// CSV with a column per tag, or with columns `path` and `tag`.
fn csv_table(text: &str, columns: &LabelColumns) -> Result<LabelTable, String> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter(text)).from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|error| error.to_string())?.clone();
    let position = |name: &str| headers.iter().position(|header| header == name);
    let missing = |name: &str, advice: &str| {
        let found = headers.iter().take(20).collect::<Vec<_>>().join(", ");
        format!("expected a column {name:?}, found {found}; {advice}")
    };
    let subject = position(columns.subject()).ok_or_else(|| missing(columns.subject(), columns.advice()))?;
    let group = match columns.group.as_deref() {
        None => None,
        Some(name) => Some(position(name).ok_or_else(|| missing(name, "choose a column with --group"))?),
    };
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        records.push((record.position().map_or(0, csv::Position::line), record));
    }
    let found = CsvRecords { records, subject, group };
    match position("tag").or(position("label")) {
        Some(tag) => found.listed(tag),
        None => found.columns(&headers, &columns.path),
    }
}

/// Lines of a table, and the columns with a meaning.
struct CsvRecords {
    /// Lines with their numbers.
    records: Vec<(u64, csv::StringRecord)>,
    /// Column of the path or key.
    subject: usize,
    /// Column of the group.
    group: Option<usize>,
}

impl CsvRecords {
    fn group<'a>(&self, record: &'a csv::StringRecord) -> &'a str {
        self.group.and_then(|group| record.get(group)).unwrap_or("")
    }

    /// Labels with a line per tag, which is in column `tag`.
    fn listed(&self, tag: usize) -> Result<LabelTable, String> {
        let mut listed = ListedTags::default();
        for (line, record) in &self.records {
            let subject = record.get(self.subject).unwrap_or("");
            let place = listed.track(*line, subject, self.group(record))?;
            // A track without tags has a line with an empty one.
            if let Some(tag) = record.get(tag).map(str::trim).filter(|tag| !tag.is_empty()) {
                let tag = listed.tag(tag);
                listed.found[place].insert(tag);
            }
        }
        Ok(listed.finish())
    }

    /// Labels with a column per tag; `path` is the name of the column of the path, also where a key is used.
    fn columns(&self, headers: &csv::StringRecord, path: &str) -> Result<LabelTable, String> {
        let mut table = LabelTable::default();
        let mut seen = HashSet::new();
        for (line, record) in &self.records {
            let name = record.get(self.subject).unwrap_or("");
            if name.is_empty() {
                return Err(format!("line {line}: expected a path, found none"));
            }
            if !seen.insert(name) {
                return Err(format!("line {line}: {name:?} has two lines"));
            }
            table.subjects.push(name.to_string());
            table.groups.push(self.group(record).to_string());
        }
        let is_other = |index| index == self.subject || Some(index) == self.group;
        let tags = headers.iter().enumerate().filter(|(index, name)| !is_other(*index) && *name != path);
        table.tags = tags.filter_map(|(index, tag)| self.column(index, tag)).collect();
        Ok(table)
    }

    /// Labels of one column; `None` for a column without any label, which is of another kind.
    fn column(&self, index: usize, tag: &str) -> Option<TagColumn> {
        let mut column = TagColumn { tag: tag.to_string(), truth: Vec::new(), invalid: None };
        let mut is_tag = self.records.is_empty();
        for (line, record) in &self.records {
            let cell = record.get(index).unwrap_or("").trim();
            let is_label = cell == "0" || cell == "1";
            is_tag |= is_label;
            column.truth.push(cell == "1");
            if !is_label && column.invalid.is_none() {
                column.invalid = Some((*line, cell.to_string()));
            }
        }
        is_tag.then_some(column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> LabelColumns {
        LabelColumns { path: "path".into(), key: None, group: Some("artist".into()) }
    }

    fn rock(table: &LabelTable) -> Vec<bool> {
        table.truth("rock").unwrap().unwrap().to_vec()
    }

    #[test]
    fn all_forms_say_the_same() {
        for text in [
            "path,artist,rock,jazz,year\na.mp3,A,1,0,1999\n\"b,c.mp3\",B,0,1,2001\n",
            "\u{feff}path\tartist\trock\tjazz\na.mp3\tA\t1\t0\nb,c.mp3\tB\t0\t1\n",
            "path,tag,artist\na.mp3,rock,A\n\"b,c.mp3\",jazz,B\n",
            "{\"path\": \"a.mp3\", \"tags\": [\"rock\"], \"artist\": \"A\"}\n\n{\"path\": \"b,c.mp3\", \"tags\": [\"jazz\"], \"artist\": \"B\"}\n",
            "{\"path\": \"a.mp3\", \"tags\": {\"rock\": 1, \"jazz\": false}, \"artist\": \"A\"}\n{\"path\": \"b,c.mp3\", \"tags\": {\"jazz\": 1}, \"artist\": \"B\"}\n",
        ] {
            let table = LabelTable::parse(text, &columns()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(table.subjects, ["a.mp3", "b,c.mp3"], "{text}");
            assert_eq!(table.groups, ["A", "B"], "{text}");
            assert_eq!(rock(&table), [true, false], "{text}");
            assert_eq!(table.tags().count(), 2, "{text}");
            assert!(table.truth("year").is_none());
        }
    }

    #[test]
    fn a_track_may_have_no_tag() {
        let table = LabelTable::parse("path,tag\na,rock\nb,\n", &LabelColumns { group: None, ..columns() });
        assert_eq!(rock(&table.unwrap()), [true, false]);
    }

    #[test]
    fn errors_name_line_and_column() {
        for (text, message) in [
            ("file,rock\na,1\n", "expected a column \"path\", found file, rock"),
            ("path,artist,rock\na,A,1\na,A,0\n", "line 3: \"a\" has two lines"),
            ("path,artist,rock\n,A,1\n", "line 2: expected a path"),
            ("path,rock\na,1\n", "expected a column \"artist\""),
            ("path,artist,rock\na,1\n", "line: 2"),
            ("path,artist,tag\na,A,x\na,B,y\n", "line 3: \"a\" has the groups \"A\" and \"B\""),
            ("{\"path\": \"a\"}\n", "line 1: expected \"tags\""),
            ("{\"path\": \"a\", \"tags\": []}\nx", "line 2: "),
            (
                "{\"path\": \"a\", \"tags\": [{\"tag\": \"b\", \"score\": 1}]}\n",
                "line 1: expected a list of texts",
            ),
            ("{\"file\": \"a\", \"tags\": []}\n", "line 1: expected a text \"path\""),
        ] {
            let error = LabelTable::parse(text, &columns()).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        let table = LabelTable::parse("path,artist,rock\na,A,1\nb,A,2\n", &columns()).unwrap();
        let error = table.truth("rock").unwrap().unwrap_err();
        assert_eq!(error, "line 3, column \"rock\": expected 0 or 1, found \"2\"");
    }
}
