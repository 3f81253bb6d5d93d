//! Comma-separated values.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;

use super::file::with_path;
use super::merge::{LatestRows, Merged, check_schema, open};
use super::read::{ReadRow, ReadValues, encoded_path};
use super::{AtomicFile, Format, Layout, LineFormat, Row, SCHEMA, Sink, Values, path_bytes, six_decimals};

const HEADER: [&str; 14] = [
    "path",
    "path_bytes",
    "model",
    "compat",
    "device",
    "clip_start_s",
    "track_s",
    "name",
    "value",
    "warnings",
    "error_kind",
    "error_message",
    "decoder",
    "schema",
];

/// CSV.
pub const CSV: LineFormat = LineFormat {
    name: "csv",
    sink: |writer| Box::new(Csv::new(writer)),
    continued: |writer| Box::new(Csv::continued(writer)),
};

pub(super) static FORMAT: Format = Format {
    title: "One line per file and tag or feature",
    holds_tags: true,
    holds_features: true,
    layout: Layout::Lines(CSV),
    merge: Some(merge),
    read: Some(read),
};

/// CSV with a header and one line per file and tag (or feature), or per file, clip and tag if clips were requested. A
/// file that failed has one line with its error.
pub(super) struct Csv<W: Write> {
    writer: csv::Writer<W>,
    has_header: bool,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(writer: W) -> Csv<W> {
        Csv { writer: csv::Writer::from_writer(writer), has_header: false }
    }

    /// Makes a sink without a header, to continue a file.
    pub(super) fn continued(writer: W) -> Csv<W> {
        Csv { has_header: true, ..Csv::new(writer) }
    }
}

impl<W: Write> Sink for Csv<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        if !self.has_header {
            self.has_header = true;
            self.writer.write_record(HEADER)?;
        }
        let (path, bytes) = match row.path.to_str() {
            Some(path) => (path.to_string(), String::new()),
            None => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(path_bytes(&row.path));
                (String::new(), encoded)
            }
        };
        let schema = SCHEMA.to_string();
        match &row.outcome {
            Ok(found) => {
                let length = found.track_s.map(|s| six_decimals(s).to_string()).unwrap_or_default();
                let warnings = found.warnings.join("; ");
                let lines = found.parts().flat_map(|(start_s, values)| {
                    let start = six_decimals(start_s).to_string();
                    named(values).into_iter().map(move |(name, value)| (start.clone(), name, value))
                });
                for (start, name, value) in lines {
                    let value = six_decimals(value.into()).to_string();
                    self.writer.write_record([
                        &path,
                        &bytes,
                        &found.model,
                        found.compat,
                        &found.device,
                        &start,
                        &length,
                        &name,
                        &value,
                        &warnings,
                        "",
                        "",
                        &found.decoder,
                        &schema,
                    ])?;
                }
            }
            Err(failure) => self.writer.write_record([
                &path,
                &bytes,
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                failure.kind.as_str(),
                &failure.message,
                "",
                &schema,
            ])?,
        }
        self.writer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Values with their label or index.
fn named(values: &Values) -> Vec<(String, f32)> {
    match values {
        Values::Tags(tags) => tags.iter().map(|tag| (tag.label.clone(), tag.score)).collect(),
        Values::Embedding(features) | Values::Tap { features, .. } => {
            features.iter().enumerate().map(|(i, &value)| (i.to_string(), value)).collect()
        }
    }
}

/// Joins files with the same header.
fn merge(files: &[PathBuf], output: &Path) -> io::Result<Merged> {
    let mut headers: Option<csv::StringRecord> = None;
    for path in files {
        let mut reader = csv::Reader::from_reader(open(path)?);
        let found = reader.headers()?.clone();
        // The columns depend on the schema, so that it is checked first.
        let schema = found.iter().position(|header| header == "schema");
        if let Some(first) = reader.records().next() {
            let first = first?;
            check_schema(path, schema.and_then(|column| first.get(column)?.parse().ok()))?;
        }
        match &headers {
            Some(headers) if *headers != found => {
                return Err(io::Error::other(format!(
                    "{}: columns differ from those of the first file",
                    path.display()
                )));
            }
            _ => headers = Some(found),
        }
    }
    let headers = headers.unwrap_or_default();
    let column = |name: &str| {
        let place = headers.iter().position(|header| header == name);
        place.ok_or_else(|| io::Error::other(format!("{}: no column {name}", files[0].display())))
    };
    let of = [column("path")?, column("path_bytes")?, column("model")?, column("compat")?];
    let made = |record: &csv::StringRecord| {
        let [path, bytes, model, compat] = of.map(|column| record.get(column).unwrap_or(""));
        let path = format!("{path}\0{bytes}").into_bytes();
        (path, (!model.is_empty()).then(|| format!("{model} {compat}")))
    };
    let (mut all, mut kept) = (0, 0);
    let mut last = LatestRows::default();
    let groups = |row: &mut dyn FnMut(&csv::StringRecord, bool) -> io::Result<()>| -> io::Result<()> {
        for path in files {
            let mut before = None;
            for record in csv::Reader::from_reader(open(path)?).records() {
                // A truncated last line has too few columns.
                let Ok(record) = record else { continue };
                let subject = made(&record);
                let begins = before.as_ref() != Some(&subject);
                row(&record, begins)?;
                before = Some(subject);
            }
        }
        Ok(())
    };
    groups(&mut |record, begins| {
        if begins {
            all += 1;
            let (path, made) = made(record);
            last.record(&path, made.as_deref());
        }
        Ok(())
    })?;
    let file = AtomicFile::create(output)?;
    let mut writer = csv::Writer::from_writer(file.writer()?);
    writer.write_record(&headers)?;
    let (mut place, mut is_latest) = (0u64, false);
    groups(&mut |record, begins| {
        if begins {
            let (path, made) = made(record);
            is_latest = last.is_latest(place, &path, made.as_deref());
            place += 1;
            kept += u64::from(is_latest);
        }
        if is_latest { writer.write_record(record).map_err(io::Error::from) } else { Ok(()) }
    })?;
    writer.flush()?;
    drop(writer);
    file.finish()?;
    Ok(Merged { kept, dropped: all - kept })
}

/// Reads rows: lines of one path, model and compatibility that follow each other. A tag that has several lines belongs
/// to several clips.
fn read(path: &Path, row: &mut dyn FnMut(ReadRow)) -> io::Result<u64> {
    let mut reader = csv::Reader::from_reader(open(path)?);
    let headers = reader.headers()?.clone();
    let names = [
        "path",
        "path_bytes",
        "model",
        "compat",
        "track_s",
        "clip_start_s",
        "name",
        "value",
        "error_message",
        "schema",
    ];
    let mut columns = [0; 10];
    for (column, name) in columns.iter_mut().zip(names) {
        *column = headers.iter().position(|header| header == name).ok_or_else(|| {
            let message = format!("no column {name}: expected CSV written by tagwave");
            with_path(path, &io::Error::other(message))
        })?;
    }
    let mut invalid = 0;
    let mut group: Option<(Vec<String>, ReadRow)> = None;
    for (index, record) in reader.records().enumerate() {
        // A truncated last line has too few columns.
        let Ok(record) = record else {
            invalid += 1;
            continue;
        };
        let fields = columns.map(|column| record.get(column).unwrap_or(""));
        let [file, bytes, model, compat, length, start, name, value, message, schema] = fields;
        if index == 0 {
            check_schema(path, schema.parse().ok())?;
        }
        let subject: Vec<String> = [file, bytes, model, compat, start].map(String::from).to_vec();
        let mut next = match group.take() {
            Some((same, next)) if same == subject => next,
            other => {
                other.into_iter().for_each(|(_, done)| row(done));
                let file = if bytes.is_empty() { file.to_string() } else { encoded_path(bytes) };
                let made = (!model.is_empty()).then(|| (model.to_string(), compat.to_string()));
                ReadRow {
                    path: file,
                    made,
                    track_s: length.parse().ok(),
                    values: ReadValues::Tags(Vec::new()),
                }
            }
        };
        match (&mut next.values, value.parse()) {
            (ReadValues::Tags(tags), Ok(score)) => tags.push((name.to_string(), score)),
            (values, _) if model.is_empty() => *values = ReadValues::Failed(message.to_string()),
            _ => invalid += 1,
        }
        group = Some((subject, next));
    }
    group.into_iter().for_each(|(_, done)| row(done));
    Ok(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_kind::ErrorKind;
    use crate::sinks::Failure;

    #[test]
    fn a_header_once_and_quotes_where_needed() {
        let mut bytes = Vec::new();
        {
            let mut sink = Csv::new(&mut bytes);
            for path in ["a,b.mp3", "c.mp3"] {
                let failure = Failure { kind: ErrorKind::Input, message: "empty".into() };
                sink.row(&Row { path: path.into(), key: None, outcome: Err(failure) }).unwrap();
            }
            sink.finish().unwrap();
        }
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], HEADER.join(","));
        assert_eq!(lines[1], "\"a,b.mp3\",,,,,,,,,,input,empty,,2");
        assert_eq!(lines.len(), 3);
    }
}
