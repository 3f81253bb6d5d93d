//! Merging of the results of several runs, shards or parts: shared by the formats.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::SCHEMA;
use super::file::with_path;

/// Number of rows that were kept, and of rows that were superseded or truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Rows in the output.
    pub kept: u64,
    /// Rows that were left out.
    pub dropped: u64,
}

/// Digest of the subject of a row: file, model, settings.
type Subject = [u8; 16];

/// Index of the last row of each subject.
#[derive(Default)]
pub(super) struct LatestRows {
    of: HashMap<Subject, u64>,
    /// Index of the last failure of each file; a later result of the file, of any model, removes it.
    failed: HashMap<Subject, u64>,
    pub(super) rows: u64,
}

impl LatestRows {
    /// Records the next row: of file `path`, with settings `made`, or `None` for a failure.
    pub(super) fn record(&mut self, path: &[u8], made: Option<&str>) {
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
    pub(super) fn is_latest(&self, place: u64, path: &[u8], made: Option<&str>) -> bool {
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

/// Checks the schema of a row of the file at `path`.
pub(super) fn check_schema(path: &Path, found: Option<u64>) -> io::Result<()> {
    if found == Some(SCHEMA.into()) {
        return Ok(());
    }
    let found = found.map_or("no schema".to_string(), |found| format!("schema {found}"));
    let message = format!(
        "{}: expected rows of schema {SCHEMA}, found {found}: it was written by another version of tagwave; merge it with \
         that version, or repeat the run",
        path.display()
    );
    Err(io::Error::other(message))
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| with_path(path, &error))
}
