//! List of changes: text like a diff, or a JSON object per file.

use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;
use serde_json::json;

use super::plan::FieldChange;
use super::undo::shown;

/// Maximum number of characters of a line of values.
const MAX_SHOWN: usize = 120;

/// Form of the list of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub(super) enum ReportFormat {
    /// Lines that begin with - and +
    #[default]
    Diff,
    /// One JSON object per file, also for files that do not change
    Jsonl,
}

/// Result of one song.
pub(super) enum SongOutcome {
    /// Kind of tag, and changes.
    Changed {
        title: &'static str,
        changes: Vec<FieldChange>,
    },
    Unchanged(UnchangedReason),
    Failed(String),
}

/// Reason for which a song stays as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum UnchangedReason {
    /// No tag has a value and a score that is high enough.
    NoTag,
    /// The fields have values already.
    HasValues,
}

/// Result of one song, with its path.
pub(super) struct SongReport<'a> {
    pub(super) path: &'a Path,
    pub(super) outcome: &'a SongOutcome,
    /// True if changes were written.
    pub(super) is_applied: bool,
}

impl SongReport<'_> {
    /// Prints the result; failures of the text form go to standard error.
    pub(super) fn print(&self, format: ReportFormat, to: &mut dyn Write) -> io::Result<()> {
        if format == ReportFormat::Jsonl {
            return writeln!(to, "{}", self.object());
        }
        match self.outcome {
            SongOutcome::Unchanged(_) => Ok(()),
            SongOutcome::Failed(message) => {
                say!("tagwave: {}: {message}", shown(self.path));
                Ok(())
            }
            SongOutcome::Changed { title, changes } => {
                writeln!(to, "{}  ({title})", shown(self.path))?;
                for FieldChange { field, before, after } in changes {
                    let lines = |sign: &str, values: &[String], to: &mut dyn Write| {
                        let text = shortened(&values.join(" | ").replace(char::is_control, " "));
                        if values.is_empty() { Ok(()) } else { writeln!(to, "  {sign} {field}: {text}") }
                    };
                    lines("-", before, to)?;
                    lines("+", after, to)?;
                }
                Ok(())
            }
        }
    }

    fn object(&self) -> serde_json::Value {
        let path = self.path.to_string_lossy();
        match self.outcome {
            SongOutcome::Unchanged(reason) => {
                let reason = match reason {
                    UnchangedReason::NoTag => "no tag",
                    UnchangedReason::HasValues => "has values",
                };
                json!({ "path": path, "result": "unchanged", "reason": reason })
            }
            SongOutcome::Failed(message) => json!({ "path": path, "result": "failed", "error": message }),
            SongOutcome::Changed { title, changes } => {
                let change = |change: &FieldChange| json!({ "field": change.field.to_string(), "before": change.before, "after": change.after });
                let result = if self.is_applied { "written" } else { "would change" };
                let changes: Vec<_> = changes.iter().map(change).collect();
                json!({ "path": path, "result": result, "tag": title, "changes": changes })
            }
        }
    }
}

/// Text of at most [`MAX_SHOWN`] characters.
fn shortened(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN {
        return text.to_string();
    }
    let start: String = text.chars().take(MAX_SHOWN).collect();
    format!("{start}...")
}
