//! `tagwave write --undo`: restores what a journal describes.

use std::fs;
use std::io;
use std::path::Path;

use super::journal::{self, JournalLine, RunLock};
use super::pieces::assemble;
use super::replace::{MAX_BYTES, Original, digest, part_of, replace};
use crate::{CliError, SOME_FAILED, counted, print_line};

/// Result of one file.
enum Restored {
    Yes,
    /// The file has its earlier contents already.
    Before,
}

/// Restores the files of a journal, byte for byte, with their modification times.
pub(super) fn undo(path: &Path, state: Option<&Path>) -> Result<u8, CliError> {
    let named = |error: io::Error| CliError::usage(format!("{}: {error}", path.display()));
    let _lock =
        state.map(RunLock::acquire).transpose().map_err(|error| CliError::usage(error.to_string()))?;
    let (mut restored, mut before, mut failed) = (0, 0, 0);
    let mut output = Ok(());
    let is_cut = journal::read(path, |line| {
        let line = line.and_then(|line| {
            let path = line.path().map_err(|error| error.to_string())?;
            Ok((restore(&path, &line), path))
        });
        let message = match line {
            Ok((Ok(Restored::Yes), path)) => {
                restored += 1;
                format!("restored {}", shown(&path))
            }
            Ok((Ok(Restored::Before), path)) => {
                before += 1;
                format!("as before {}", shown(&path))
            }
            Ok((Err(error), path)) => {
                failed += 1;
                say!("tagwave: {}: {error}", shown(&path));
                return;
            }
            Err(error) => {
                failed += 1;
                say!("tagwave: {}: {error}", path.display());
                return;
            }
        };
        if output.is_ok() {
            output = print_line(&message);
        }
    });
    let is_cut = is_cut.map_err(named)?;
    output?;
    if is_cut {
        say!("tagwave: the last line of the journal is cut off: its file was not changed");
    }
    say!("tagwave: {} restored, {before} as before, {failed} failed", counted(restored, "file"));
    Ok(if failed > 0 { SOME_FAILED } else { 0 })
}

/// Path for the terminal.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().replace(char::is_control, "\u{fffd}")
}

fn restore(path: &Path, line: &JournalLine) -> Result<Restored, String> {
    // Left by a run that was killed.
    let _ = fs::remove_file(part_of(path));
    let is_missing = !path.try_exists().map_err(|error| format!("cannot open: {error}"))?;
    let Some(earlier) = &line.before else {
        if is_missing {
            return Ok(Restored::Before);
        }
        let original = Original::read(path, true)?;
        if digest(&original.bytes) != line.sha256 {
            return Err("was changed since: not removed".into());
        }
        return fs::remove_file(path)
            .map(|()| Restored::Yes)
            .map_err(|error| format!("cannot remove: {error}"));
    };
    if is_missing {
        return Err("does not exist any more".into());
    }
    let original = Original::read(path, true)?;
    let found = digest(&original.bytes);
    if found == earlier.sha256 {
        return Ok(Restored::Before);
    }
    if found != line.sha256 {
        return Err("was changed since: not restored".into());
    }
    let old = (earlier.size <= MAX_BYTES)
        .then(|| assemble(&earlier.pieces, &original.bytes, earlier.size))
        .flatten()
        .filter(|old| digest(old) == earlier.sha256)
        .ok_or("the line of the journal is damaged: not restored")?;
    replace(path, &original, &old, Some(earlier.modified_ns)).map(|()| Restored::Yes)
}
