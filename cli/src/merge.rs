//! `tagwave merge`: joins the results of several runs, shards or parts.
//!
//! Of several rows for the same file, model and --compat the last one is kept.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{CliError, SOME_FAILED, counted};
use tagwave::sinks::{DEFAULT_FORMAT, FORMATS, Format, Layout, Merge, format_of, parts_of};

/// Arguments of `tagwave merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "Of several rows for the same file, model and --compat the last one is kept, also for a file \
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

/// Joins results.
pub(super) fn merge(args: &MergeArgs) -> Result<u8, CliError> {
    let failed = |error: io::Error| CliError { message: error.to_string(), code: SOME_FAILED };
    let (format, files) = files(&args.inputs)?;
    let merge = merger(format)?;
    if format_of(&args.output).is_some_and(|other| other != format) {
        let output = args.output.display();
        return Err(CliError::usage(format!(
            "{output}: output extension does not match the input format ({})",
            format.name()
        )));
    }
    let merged = merge(&files, &args.output).map_err(failed)?;
    say!(
        "tagwave: {} of {}; {} dropped",
        counted(merged.kept, "row"),
        counted(files.len(), "file"),
        counted(merged.dropped, "superseded or truncated row")
    );
    Ok(0)
}

/// Merging of a format, if this build has it.
fn merger(format: &Format) -> Result<Merge, CliError> {
    if let Layout::Whole(whole) = format.layout {
        whole.check_built().map_err(|error| CliError::usage(error.to_string()))?;
    }
    format
        .merge
        .ok_or_else(|| CliError::usage(format!("files of the format {} cannot be joined", format.name())))
}

/// Finds the files of the inputs and their format. Files without a known extension are lines, as written with -o.
fn files(inputs: &[PathBuf]) -> Result<(&'static Format, Vec<PathBuf>), CliError> {
    let (mut format, mut files) = (None, Vec::new());
    for input in inputs {
        let parts = if input.is_dir() { parts_in(input) } else { None };
        let file = || (format_of(input).unwrap_or(DEFAULT_FORMAT), vec![input.clone()]);
        let (found, parts) = parts.unwrap_or_else(file);
        if parts.iter().any(|part| part.is_dir()) {
            return Err(CliError::usage(format!("{}: the folder has no parts", input.display())));
        }
        if format.is_some_and(|format| format != found) {
            let input = input.display();
            return Err(CliError::usage(format!(
                "{input}: format {} differs from the other inputs",
                found.name()
            )));
        }
        format = Some(found);
        files.extend(parts);
    }
    // There is at least one input.
    Ok((format.unwrap_or(DEFAULT_FORMAT), files))
}

/// Finds the parts in a folder, of one format.
pub(super) fn parts_in(folder: &Path) -> Option<(&'static Format, Vec<PathBuf>)> {
    FORMATS.into_iter().find_map(|format| {
        let Layout::Whole(whole) = format.layout else { return None };
        let parts = parts_of(folder, whole).ok().filter(|parts| !parts.is_empty())?;
        Some((format, parts))
    })
}
