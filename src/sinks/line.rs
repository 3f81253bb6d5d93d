//! One compact line per file, for people.

use std::io::{self, Write};

use super::{Format, Layout, LineFormat, Row, Sink, Values};

pub(super) static FORMAT: Format = Format {
    title: "One line per file: path, then its tags",
    holds_tags: true,
    holds_features: false,
    layout: Layout::Lines(LineFormat {
        name: "line",
        sink: |writer| Box::new(CompactLines(writer)),
        continued: |writer| Box::new(CompactLines(writer)),
    }),
    merge: None,
    read: None,
};

/// Sink with a line per file.
struct CompactLines<W>(W);

impl<W: Write> Sink for CompactLines<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let (name, text) = compact_line(row);
        writeln!(self.0, "{name}  {text}")?;
        self.0.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Path of a row without control characters, and its tags with two decimals, or its error.
pub fn compact_line(row: &Row) -> (String, String) {
    let clean = |text: &str| text.replace(char::is_control, "\u{fffd}");
    let text = match &row.outcome {
        Ok(found) => match &found.values {
            Values::Tags(tags) if tags.is_empty() => "no tag reaches the threshold".into(),
            Values::Tags(tags) => {
                let tags: Vec<String> =
                    tags.iter().map(|tag| format!("{} {:.2}", tag.label, tag.score)).collect();
                tags.join(", ")
            }
            Values::Embedding(features) | Values::Tap { features, .. } => {
                format!("{} features", features.len())
            }
        },
        Err(failure) => format!("error: {}", clean(&failure.message)),
    };
    (clean(&row.path.to_string_lossy()), text)
}
