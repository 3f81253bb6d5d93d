//! `tagwave merge`: joins the results of several runs, shards or parts.
//!
//! Of several rows for the same file, model and reading the last one is kept.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use sha2::{Digest, Sha256};

use super::{CliError, SOME_FAILED, USAGE};
use crate::sinks::{PartKind, parts_of};

mod csv;
mod jsonl;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;

/// Arguments of `tagwave merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "Of several rows for the same file, model and reading the last one is kept, also for a file \
                        that failed first and was repeated. Rows that were truncated by an interruption are dropped \
                        and counted."
)]
pub(super) struct MergeArgs {
    /// Results to join, in this order: files or folders of parts, all of one format
    #[arg(required = true, value_name = "RESULT")]
    inputs: Vec<PathBuf>,

    /// Output file; written atomically, replaces an existing file
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum MergeFormat {
    Jsonl,
    Csv,
    Parts(PartKind),
}

impl MergeFormat {
    /// Format by file extension.
    fn of_ending(path: &Path) -> Option<MergeFormat> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        [
            MergeFormat::Jsonl,
            MergeFormat::Csv,
            MergeFormat::Parts(PartKind::Npy),
            MergeFormat::Parts(PartKind::Parquet),
        ]
        .into_iter()
        .find(|kind| kind.name() == extension)
    }

    fn name(self) -> &'static str {
        match self {
            MergeFormat::Jsonl => "jsonl",
            MergeFormat::Csv => "csv",
            MergeFormat::Parts(part) => part.extension(),
        }
    }
}

/// Number of kept and dropped rows.
type Counts = (u64, u64);

/// Digest of what a row is about: file, model, settings.
type Subject = [u8; 16];

/// Joins results.
pub(super) fn merge(args: &MergeArgs) -> Result<u8, CliError> {
    let failed = |error: io::Error| CliError { message: error.to_string(), code: SOME_FAILED };
    let (kind, files) = files(&args.inputs)?;
    if MergeFormat::of_ending(&args.output).is_some_and(|extension| extension != kind) {
        let message = format!(
            "{}: output extension does not match the input format ({})",
            args.output.display(),
            kind.name()
        );
        return Err(CliError { message, code: USAGE });
    }
    let merge = match kind {
        MergeFormat::Jsonl => jsonl::merge,
        MergeFormat::Csv => csv::merge,
        MergeFormat::Parts(PartKind::Npy) => npy::merge,
        #[cfg(feature = "parquet")]
        MergeFormat::Parts(PartKind::Parquet) => parquet::merge,
        #[cfg(not(feature = "parquet"))]
        MergeFormat::Parts(PartKind::Parquet) => {
            |_: &[PathBuf], _: &Path| Err(io::ErrorKind::Unsupported.into())
        }
    };
    let (rows, dropped) = merge(&files, &args.output).map_err(failed)?;
    eprintln!(
        "tagwave: {rows} rows of {} files; {dropped} superseded or truncated rows dropped",
        files.len()
    );
    Ok(0)
}

/// Finds the files of the inputs and their format.
fn files(inputs: &[PathBuf]) -> Result<(MergeFormat, Vec<PathBuf>), CliError> {
    let usage = |message: String| CliError { message, code: USAGE };
    let (mut kind, mut files) = (None, Vec::new());
    for input in inputs {
        let (found, parts) = if input.is_dir() { parts_in(input) } else { None }.unwrap_or_else(|| {
            (MergeFormat::of_ending(input).unwrap_or(MergeFormat::Jsonl), vec![input.clone()])
        });
        if parts.iter().any(|part| part.is_dir()) {
            return Err(usage(format!("{}: the folder has no parts", input.display())));
        }
        if let MergeFormat::Parts(part) = found {
            part.supported().map_err(|error| usage(error.to_string()))?;
        }
        if kind.is_some_and(|kind| kind != found) {
            let message =
                format!("{}: format {} differs from the other inputs", input.display(), found.name());
            return Err(usage(message));
        }
        kind = Some(found);
        files.extend(parts);
    }
    // There is at least one input.
    Ok((kind.unwrap_or(MergeFormat::Jsonl), files))
}

/// Finds the parts in a folder, of one format.
fn parts_in(folder: &Path) -> Option<(MergeFormat, Vec<PathBuf>)> {
    [PartKind::Npy, PartKind::Parquet].into_iter().find_map(|kind| {
        let parts = parts_of(folder, kind).ok().filter(|parts| !parts.is_empty())?;
        Some((MergeFormat::Parts(kind), parts))
    })
}

/// Index of the last row of each subject.
#[derive(Default)]
struct LatestRows {
    of: HashMap<Subject, u64>,
    /// Index of the last failure of each file; a later result of the file, of any model, removes it.
    failed: HashMap<Subject, u64>,
    rows: u64,
}

impl LatestRows {
    /// Records the next row: of file `path`, with settings `made`, or `None` for a failure.
    fn record(&mut self, path: &[u8], made: Option<&str>) {
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

    /// True if row `place` is kept.
    fn is_latest(&self, place: u64, path: &[u8], made: Option<&str>) -> bool {
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
