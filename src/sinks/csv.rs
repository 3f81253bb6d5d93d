//! Comma-separated values.

use std::io::{self, Write};

use base64::Engine;

use super::{Row, SCHEMA, Sink, Values, path_bytes, six_decimals};

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
