//! Merging of JSON Lines.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{Counts, LatestRows, open};
use crate::sinks::AtomicFile;

/// File and settings of a line.
fn of_line(line: &str) -> Option<(Vec<u8>, Option<String>)> {
    let row: serde_json::Value = serde_json::from_str(line).ok()?;
    let word = |key: &str| row.get(key).and_then(|value| value.as_str());
    let path = match word("path") {
        Some(path) => [b"text ", path.as_bytes()].concat(),
        None => [b"bytes ", word("path_bytes")?.as_bytes()].concat(),
    };
    let made = word("model").map(|model| {
        format!("{model} {} {}", word("reading").unwrap_or_default(), word("tap").unwrap_or_default())
    });
    Some((path, made))
}

/// Joins files.
pub(super) fn merge(files: &[PathBuf], output: &Path) -> io::Result<Counts> {
    let each = |row: &mut dyn FnMut(&str) -> io::Result<()>| -> io::Result<()> {
        for file in files {
            let mut reader = BufReader::new(open(file)?);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line)? > 0 {
                // A last line without a newline was truncated.
                row(std::str::from_utf8(&line).unwrap_or(""))?;
                line.clear();
            }
        }
        Ok(())
    };
    let mut last = LatestRows::default();
    let (mut all, mut kept) = (0, 0);
    each(&mut |line| {
        all += 1;
        if let Some((path, made)) = of_line(line) {
            last.record(&path, made.as_deref());
        }
        Ok(())
    })?;
    if all > 0 && last.rows == 0 {
        return Err(io::Error::other("no rows found in the input: expected JSON Lines written by tagwave"));
    }
    let file = AtomicFile::create(output)?;
    let mut writer = BufWriter::new(file.writer()?);
    let mut place = 0;
    each(&mut |line| {
        let Some((path, made)) = of_line(line) else { return Ok(()) };
        place += 1;
        if last.is_latest(place - 1, &path, made.as_deref()) {
            kept += 1;
            writer.write_all(line.trim_end().as_bytes())?;
            writer.write_all(b"\n")?;
        }
        Ok(())
    })?;
    writer.flush()?;
    drop(writer);
    file.finish()?;
    Ok((kept, all - kept))
}
