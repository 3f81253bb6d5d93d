//! `tagwave merge`: one result from those of several runs, shards or parts.
//!
//! What was done again counts once: of rows for the same file, model and reading the last one stays.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use sha2::{Digest, Sha256};

use super::{Failed, SOME_FAILED, USAGE};
use crate::sinks::{ArrayFile, ArrayReader, NewFile, PartKind, parts_of, paths_file};

/// Arguments of `tagwave merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "Of several rows for the same file, model and reading the last one counts, so that a file \
                        that failed once and not again has one row. A row that an interruption cut short is left \
                        out, and said."
)]
pub(super) struct MergeArgs {
    /// Results to join, in this order: files of lines, arrays, or folders of parts; all of one format
    #[arg(required = true, value_name = "RESULT")]
    inputs: Vec<PathBuf>,

    /// File to write; appears when it is whole, and replaces an older one
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Jsonl,
    Csv,
    Npy,
}

/// What rows are of.
type Subject = [u8; 16];

/// Joins results.
pub(super) fn merge(args: &MergeArgs) -> Result<u8, Failed> {
    let failed = |error: io::Error| Failed { message: error.to_string(), code: SOME_FAILED };
    let (kind, files) = files(&args.inputs)?;
    let (rows, dropped) = match kind {
        Kind::Jsonl => lines(&files, &args.output).map_err(failed)?,
        Kind::Csv => records(&files, &args.output).map_err(failed)?,
        Kind::Npy => arrays(&files, &args.output).map_err(failed)?,
    };
    eprintln!("tagwave: {rows} rows of {} files, {dropped} superseded or cut short", files.len());
    Ok(0)
}

/// The files behind the inputs, and their format.
fn files(inputs: &[PathBuf]) -> Result<(Kind, Vec<PathBuf>), Failed> {
    let usage = |message: String| Failed { message, code: USAGE };
    let (mut kind, mut files) = (None, Vec::new());
    for input in inputs {
        let (found, parts) = if input.is_dir() {
            (Kind::Npy, parts_of(input, PartKind::Npy).unwrap_or_default())
        } else {
            let kind = match input.extension().and_then(|ending| ending.to_str()) {
                Some("csv") => Kind::Csv,
                Some("npy") => Kind::Npy,
                _ => Kind::Jsonl,
            };
            (kind, vec![input.clone()])
        };
        if parts.is_empty() {
            return Err(usage(format!("{}: no parts in it", input.display())));
        }
        if kind.is_some_and(|kind| kind != found) {
            return Err(usage(format!("{}: {found:?} cannot be joined with the others", input.display())));
        }
        kind = Some(found);
        files.extend(parts);
    }
    // At least one input was asked for.
    Ok((kind.unwrap_or(Kind::Jsonl), files))
}

/// The place of the last row of each subject.
#[derive(Default)]
struct Last {
    of: HashMap<Subject, u64>,
    /// Failures are of a file whatever the model, so they count until the file has any row after them.
    failed: HashMap<Subject, u64>,
    rows: u64,
}

impl Last {
    /// Notes the next row: of `path` by what `made` it, nothing when it failed.
    fn note(&mut self, path: &[u8], made: Option<&str>) {
        let place = self.rows;
        self.rows += 1;
        match made {
            Some(made) => {
                self.of.insert(subject(path, made), place);
                self.failed.remove(&subject(path, ""));
            }
            None => {
                self.failed.insert(subject(path, ""), place);
            }
        }
    }

    /// Whether row `place` counts.
    fn keeps(&self, place: u64, path: &[u8], made: Option<&str>) -> bool {
        match made {
            Some(made) => self.of.get(&subject(path, made)) == Some(&place),
            None => self.failed.get(&subject(path, "")) == Some(&place),
        }
    }
}

fn subject(path: &[u8], made: &str) -> Subject {
    let digest = Sha256::new().chain_update((path.len() as u64).to_le_bytes()).chain_update(path);
    let digest = digest.chain_update(made).finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

/// What a line of JSON is of.
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

fn lines(files: &[PathBuf], output: &Path) -> io::Result<(u64, u64)> {
    let each = |row: &mut dyn FnMut(&str) -> io::Result<()>| -> io::Result<()> {
        for file in files {
            let mut reader = BufReader::new(open(file)?);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line)? > 0 {
                // A last line without an end was cut short.
                row(std::str::from_utf8(&line).unwrap_or(""))?;
                line.clear();
            }
        }
        Ok(())
    };
    let mut last = Last::default();
    let (mut all, mut kept) = (0, 0);
    each(&mut |line| {
        all += 1;
        if let Some((path, made)) = of_line(line) {
            last.note(&path, made.as_deref());
        }
        Ok(())
    })?;
    let file = NewFile::create(output)?;
    let mut writer = BufWriter::new(file.writer()?);
    let mut place = 0;
    each(&mut |line| {
        let Some((path, made)) = of_line(line) else { return Ok(()) };
        place += 1;
        if last.keeps(place - 1, &path, made.as_deref()) {
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

/// Lines of CSV; those of a file follow one another and go together.
fn records(files: &[PathBuf], output: &Path) -> io::Result<(u64, u64)> {
    let mut headers: Option<csv::StringRecord> = None;
    for path in files {
        let found = csv::Reader::from_reader(open(path)?).headers()?.clone();
        match &headers {
            Some(headers) if *headers != found => {
                return Err(io::Error::other(format!("{}: its columns are others", path.display())));
            }
            _ => headers = Some(found),
        }
    }
    let headers = headers.unwrap_or_default();
    let column = |name: &str| {
        let place = headers.iter().position(|header| header == name);
        place.ok_or_else(|| io::Error::other(format!("{}: no column {name}", files[0].display())))
    };
    let of = [column("path")?, column("path_bytes")?, column("model")?, column("reading")?];
    let made = |record: &csv::StringRecord| {
        let [path, bytes, model, reading] = of.map(|column| record.get(column).unwrap_or(""));
        let path = format!("{path}\0{bytes}").into_bytes();
        (path, (!model.is_empty()).then(|| format!("{model} {reading}")))
    };
    let (mut all, mut kept) = (0, 0);
    let mut last = Last::default();
    let groups = |row: &mut dyn FnMut(&csv::StringRecord, bool) -> io::Result<()>| -> io::Result<()> {
        for path in files {
            let mut before = None;
            for record in csv::Reader::from_reader(open(path)?).records() {
                // A torn last line has too few columns.
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
            last.note(&path, made.as_deref());
        }
        Ok(())
    })?;
    let file = NewFile::create(output)?;
    let mut writer = csv::Writer::from_writer(file.writer()?);
    writer.write_record(&headers)?;
    let (mut place, mut keeps) = (0u64, false);
    groups(&mut |record, begins| {
        if begins {
            let (path, made) = made(record);
            keeps = last.keeps(place, &path, made.as_deref());
            place += 1;
            kept += u64::from(keeps);
        }
        if keeps { writer.write_record(record).map_err(io::Error::from) } else { Ok(()) }
    })?;
    writer.flush()?;
    drop(writer);
    file.finish()?;
    Ok((kept, all - kept))
}

/// Arrays, each with its list of files; the rows of a file follow one another and go together.
fn arrays(files: &[PathBuf], output: &Path) -> io::Result<(u64, u64)> {
    let mut last = Last::default();
    // The list has a line per row; a clip's line ends in its start, by which two runs of a file match.
    let lists = |file: &PathBuf| -> io::Result<Vec<String>> {
        BufReader::new(open(&paths_file(file))?).lines().collect()
    };
    for file in files {
        for line in lists(file)? {
            last.note(line.as_bytes(), Some(""));
        }
    }
    let mut array = ArrayFile::create(output)?;
    let list = NewFile::create(&paths_file(output))?;
    let mut names = BufWriter::new(list.writer()?);
    let (mut place, mut kept) = (0, 0);
    for file in files {
        let mut rows = ArrayReader::open(file)?;
        for line in lists(file)? {
            let row = rows.next_row()?.ok_or_else(|| {
                io::Error::other(format!("{}: fewer rows than its list has lines", file.display()))
            })?;
            if last.keeps(place, line.as_bytes(), Some("")) {
                array.push(&row)?;
                writeln!(names, "{line}")?;
                kept += 1;
            }
            place += 1;
        }
        if rows.rows() > 0 {
            return Err(io::Error::other(format!("{}: more rows than its list has lines", file.display())));
        }
    }
    names.flush()?;
    drop(names);
    list.finish()?;
    array.finish()?;
    Ok((kept, place - kept))
}

fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
