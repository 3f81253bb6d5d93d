//! A table for people.

use std::io::{self, Write};

use super::{Row, Sink, Values};

/// A line with the file's name, then a line per tag.
pub(super) struct Table<W>(W);

impl<W: Write> Table<W> {
    pub(super) fn new(writer: W) -> Table<W> {
        Table(writer)
    }
}

impl<W: Write> Sink for Table<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        // A file name may hold anything, escape sequences for the terminal among it.
        let name: String =
            row.path.to_string_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        match &row.outcome {
            Ok(found) => {
                writeln!(self.0, "{name}  ({}, {}, {})", found.model, found.reading, found.device)?;
                match &found.values {
                    Values::Tags(tags) => {
                        for tag in tags {
                            writeln!(self.0, "  {:.3}  {}", tag.score, tag.label)?;
                        }
                        if tags.is_empty() {
                            writeln!(self.0, "  no tag reaches the threshold")?;
                        }
                    }
                    Values::Embedding(values) => {
                        let values: Vec<String> = values.iter().map(|v| format!("{v:.4}")).collect();
                        writeln!(self.0, "  {}", values.join(" "))?;
                    }
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
