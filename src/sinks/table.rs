//! Human-readable output.

use std::io::{self, Write};

use super::{Format, Layout, LineFormat, Row, Sink, Values};

pub(super) static FORMAT: Format = Format {
    title: "Human-readable table",
    holds_tags: true,
    holds_features: false,
    layout: Layout::Lines(LineFormat {
        name: "table",
        sink: |writer| Box::new(Table::new(writer)),
        continued: |writer| Box::new(Table::new(writer)),
    }),
    merge: None,
    read: None,
};

/// Sink with a line for the file, then a line per tag.
pub(super) struct Table<W>(W);

impl<W: Write> Table<W> {
    pub(super) fn new(writer: W) -> Table<W> {
        Table(writer)
    }
}

impl<W: Write> Sink for Table<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        // File names may contain escape sequences for the terminal.
        let name: String =
            row.path.to_string_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        match &row.outcome {
            Ok(found) => {
                writeln!(self.0, "{name}  ({}, {}, {})", found.model, found.compat, found.device)?;
                values(&mut self.0, "  ", &found.values)?;
                for clip in &found.clips {
                    writeln!(self.0, "  from {:.2} s", clip.start_s)?;
                    values(&mut self.0, "    ", &clip.values)?;
                }
                for warning in &found.warnings {
                    writeln!(self.0, "  warning: {warning}")?;
                }
            }
            Err(failure) => writeln!(self.0, "{name}\n  error: {}", failure.message)?,
        }
        self.0.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A line per tag, or one with all features.
fn values(writer: &mut impl Write, indent: &str, values: &Values) -> io::Result<()> {
    match values {
        Values::Tags(tags) => {
            for tag in tags {
                writeln!(writer, "{indent}{:.3}  {}", tag.score, tag.label)?;
            }
            if tags.is_empty() {
                writeln!(writer, "{indent}no tag reaches the threshold")?;
            }
            Ok(())
        }
        Values::Embedding(features) | Values::Tap { features, .. } => {
            let features: Vec<String> = features.iter().map(|value| format!("{value:.4}")).collect();
            writeln!(writer, "{indent}{}", features.join(" "))
        }
    }
}
