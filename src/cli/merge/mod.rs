//! `tagwave merge`: one result from those of several runs, shards or parts.
//!
//! What was done again counts once: of rows for the same file, model and reading the last one stays.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use sha2::{Digest, Sha256};

use super::{Failed, SOME_FAILED, USAGE};
use crate::sinks::{PartKind, parts_of};

mod csv;
mod jsonl;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;

/// Arguments of `tagwave merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "Of several rows for the same file, model and reading the last one counts, so that a file \
                        that failed once and not again has one row. A row that an interruption cut short is left \
                        out, and said."
)]
pub(super) struct MergeArgs {
    /// Results to join, in this order: files of lines, arrays, tables, or folders of parts; all of one format
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
    Parts(PartKind),
}

impl Kind {
    /// The format that a file's name ends like.
    fn of_ending(path: &Path) -> Option<Kind> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        [Kind::Jsonl, Kind::Csv, Kind::Parts(PartKind::Npy), Kind::Parts(PartKind::Parquet)]
            .into_iter()
            .find(|kind| kind.name() == ending)
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Jsonl => "jsonl",
            Kind::Csv => "csv",
            Kind::Parts(part) => part.ending(),
        }
    }
}

/// How many rows were kept and how many were not.
type Counts = (u64, u64);

/// What rows are of.
type Subject = [u8; 16];

/// Joins results.
pub(super) fn merge(args: &MergeArgs) -> Result<u8, Failed> {
    let failed = |error: io::Error| Failed { message: error.to_string(), code: SOME_FAILED };
    let (kind, files) = files(&args.inputs)?;
    if Kind::of_ending(&args.output).is_some_and(|ending| ending != kind) {
        let message = format!("{}: what is joined is {}, and stays so", args.output.display(), kind.name());
        return Err(Failed { message, code: USAGE });
    }
    let merge = match kind {
        Kind::Jsonl => jsonl::merge,
        Kind::Csv => csv::merge,
        Kind::Parts(PartKind::Npy) => npy::merge,
        #[cfg(feature = "parquet")]
        Kind::Parts(PartKind::Parquet) => parquet::merge,
        #[cfg(not(feature = "parquet"))]
        Kind::Parts(PartKind::Parquet) => |_: &[PathBuf], _: &Path| Err(io::ErrorKind::Unsupported.into()),
    };
    let (rows, dropped) = merge(&files, &args.output).map_err(failed)?;
    eprintln!("tagwave: {rows} rows of {} files, {dropped} superseded or cut short", files.len());
    Ok(0)
}

/// The files behind the inputs, and their format.
fn files(inputs: &[PathBuf]) -> Result<(Kind, Vec<PathBuf>), Failed> {
    let usage = |message: String| Failed { message, code: USAGE };
    let (mut kind, mut files) = (None, Vec::new());
    for input in inputs {
        let (found, parts) = if input.is_dir() { parts_in(input) } else { None }
            .unwrap_or_else(|| (Kind::of_ending(input).unwrap_or(Kind::Jsonl), vec![input.clone()]));
        if parts.iter().any(|part| part.is_dir()) {
            return Err(usage(format!("{}: no parts in it", input.display())));
        }
        if let Kind::Parts(part) = found {
            part.supported().map_err(|error| usage(error.to_string()))?;
        }
        if kind.is_some_and(|kind| kind != found) {
            let message = format!("{}: {} cannot be joined with the others", input.display(), found.name());
            return Err(usage(message));
        }
        kind = Some(found);
        files.extend(parts);
    }
    // At least one input was asked for.
    Ok((kind.unwrap_or(Kind::Jsonl), files))
}

/// The parts in a folder; those of one format.
fn parts_in(folder: &Path) -> Option<(Kind, Vec<PathBuf>)> {
    [PartKind::Npy, PartKind::Parquet].into_iter().find_map(|kind| {
        let parts = parts_of(folder, kind).ok().filter(|parts| !parts.is_empty())?;
        Some((Kind::Parts(kind), parts))
    })
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

fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
