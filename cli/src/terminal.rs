//! Rows on a terminal: bars beside the names of tags, within the width of the terminal, in colours unless NO_COLOR is set.

use std::io::{self, Write};

use console::{Term, measure_text_width, truncate_str};

use tagwave::sinks::{Row, Sink, Values, compact_line};

/// Width of a bar for a score of 1, in columns.
const BAR: usize = 12;
/// Columns that a bar needs to be worth its place.
const SHORTEST_BAR: usize = 4;
/// Width of terminals that do not state it.
const USUAL_WIDTH: usize = 80;
/// Eighths of a column.
const EIGHTHS: [&str; 8] =
    ["", "\u{258f}", "\u{258e}", "\u{258d}", "\u{258c}", "\u{258b}", "\u{258a}", "\u{2589}"];

/// Width and colours of a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct TerminalStyle {
    width: usize,
    has_colours: bool,
}

impl TerminalStyle {
    /// Style of standard output.
    pub(super) fn of_stdout() -> TerminalStyle {
        let width = Term::stdout().size_checked().map_or(USUAL_WIDTH, |(_, columns)| columns.into());
        // An empty NO_COLOR means nothing; the crate takes it for a wish.
        let is_plain = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        let has_colours = match std::env::var_os("NO_COLOR") {
            Some(wish) => wish.is_empty() && Term::stdout().is_term() && !is_plain,
            None => console::colors_enabled(),
        };
        TerminalStyle { width: width.max(20), has_colours }
    }

    fn coloured(self, code: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// Makes the sink of a format for people on a terminal; `None` for other formats.
pub(super) fn sink<'a>(
    format: &str,
    writer: impl Write + 'a,
    style: TerminalStyle,
) -> Option<Box<dyn Sink + 'a>> {
    match format {
        "table" => Some(Box::new(TerminalTable { writer, style })),
        "line" => Some(Box::new(TerminalLines { writer, style })),
        _ => None,
    }
}

/// Sink with a line for the file, then a line with a bar per tag.
struct TerminalTable<W> {
    writer: W,
    style: TerminalStyle,
}

impl<W: Write> Sink for TerminalTable<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let style = self.style;
        let (name, text) = compact_line(row);
        match &row.outcome {
            Ok(found) => {
                let made = format!("  ({}, {}, {})", found.model, found.compat, found.device);
                let has_room = measure_text_width(&name) + measure_text_width(&made) <= style.width;
                let made = if has_room { made } else { String::new() };
                writeln!(self.writer, "{}{made}", style.coloured("1", &ending(&name, style.width)))?;
                self.values("  ", &found.values)?;
                for clip in &found.clips {
                    writeln!(self.writer, "  from {:.2} s", clip.start_s)?;
                    self.values("    ", &clip.values)?;
                }
                for warning in &found.warnings {
                    writeln!(self.writer, "  {}", style.coloured("33", &format!("warning: {warning}")))?;
                }
            }
            Err(_) => {
                writeln!(self.writer, "{}", style.coloured("1", &ending(&name, style.width)))?;
                writeln!(self.writer, "  {}", style.coloured("31", &text))?;
            }
        }
        self.writer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl<W: Write> TerminalTable<W> {
    fn values(&mut self, indent: &str, values: &Values) -> io::Result<()> {
        let Values::Tags(tags) = values else { return Ok(()) };
        if tags.is_empty() {
            return writeln!(self.writer, "{indent}no tag reaches the threshold");
        }
        let names = tags.iter().map(|tag| measure_text_width(&tag.label)).max().unwrap_or(0);
        // Indent, score, name and two gaps.
        let room = self.style.width.saturating_sub(indent.len() + names + 5 + 4).min(BAR);
        for tag in tags {
            let bar = if room < SHORTEST_BAR {
                String::new()
            } else {
                let bar = bar(tag.score, room);
                let space = " ".repeat(room - measure_text_width(&bar));
                format!("  {}{space}", self.style.coloured("36", &bar))
            };
            writeln!(self.writer, "{indent}{:.3}{bar}  {}", tag.score, tag.label)?;
        }
        Ok(())
    }
}

/// Sink with a line per file, no longer than the terminal is wide.
struct TerminalLines<W> {
    writer: W,
    style: TerminalStyle,
}

impl<W: Write> Sink for TerminalLines<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let (name, text) = compact_line(row);
        let width = self.style.width;
        // The end of a path says more than its start; half of the line is for the tags.
        let shown = ending(&name, width.saturating_sub(2 + measure_text_width(&text)).max(width / 2 - 2));
        let text = truncate_str(&text, width.saturating_sub(measure_text_width(&shown) + 2), "\u{2026}");
        let code = if row.outcome.is_ok() { "0" } else { "31" };
        writeln!(self.writer, "{}  {}", self.style.coloured("1", &shown), self.style.coloured(code, &text))?;
        self.writer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Bar of a score in 0..1.
fn bar(score: f32, width: usize) -> String {
    let eighths = (score.clamp(0.0, 1.0) * width as f32 * 8.0).round() as usize;
    format!("{}{}", "\u{2588}".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// End of a text that fits into `width` columns; `\u{2026}` stands for what is left out.
fn ending(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_string();
    }
    let mut left = text;
    while measure_text_width(left) + 1 > width {
        let mut chars = left.chars();
        if chars.next().is_none() {
            break;
        }
        left = chars.as_str();
    }
    format!("\u{2026}{left}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tagwave::sinks::{Failure, Prediction};
    use tagwave::tags::Tag;

    fn shown(format: &str, width: usize, has_colours: bool, outcome: Result<Prediction, Failure>) -> String {
        let row = Row { path: "some/very/long/folder/\u{97f3}\u{697d} song.mp3".into(), key: None, outcome };
        let mut text = Vec::new();
        sink(format, &mut text, TerminalStyle { width, has_colours }).unwrap().row(&row).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn prediction() -> Prediction {
        let tag = |label: &str, score| Tag { label: label.into(), score };
        Prediction {
            model: "small".into(),
            compat: "corrected",
            device: "cpu".into(),
            decoder: String::new(),
            clip_start_s: 0.0,
            track_s: None,
            clip_count: 1,
            values: Values::Tags(vec![tag("alternative rock", 1.0), tag("jazz", 0.25), tag("sad", 0.0)]),
            clips: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn lines_fit_into_any_width() {
        for format in ["table", "line"] {
            for width in [20, 40, 60, 80, 200] {
                let text = shown(format, width, false, Ok(prediction()));
                let widest = text.lines().map(measure_text_width).max().unwrap();
                // A name that needs the whole width is not cut.
                assert!(widest <= width.max(25), "{width}: {text}");
                assert!(text.contains("song.mp3") || width < 40, "{text}");
                assert!(!text.contains('\x1b'));
            }
        }
        assert_eq!(shown("line", 200, false, Ok(prediction())).lines().count(), 1);
    }

    #[test]
    fn bars_are_as_long_as_their_scores() {
        let text = shown("table", 80, false, Ok(prediction()));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], format!("  1.000  {}  alternative rock", "\u{2588}".repeat(12)));
        assert_eq!(lines[2], format!("  0.250  {}{}  jazz", "\u{2588}".repeat(3), " ".repeat(9)));
        assert_eq!(bar(1.0 / 96.0, 12), "\u{258f}");
        // Names begin in one column.
        assert!(lines[3].ends_with(&format!("{}  sad", " ".repeat(12))));
    }

    #[test]
    fn colours_are_optional() {
        let failed = || Err(Failure { kind: tagwave::ErrorKind::Input, message: "no\x1b[2Jaudio".into() });
        assert!(shown("table", 80, true, failed()).contains("\x1b[31merror: no\u{fffd}[2Jaudio"));
        assert!(!shown("line", 80, false, failed()).contains('\x1b'));
    }
}
