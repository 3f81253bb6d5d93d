//! `tagwave calibrate`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{CliError, DeviceArgs, SOME_FAILED, USAGE, WeightsArgs, write_failed};
use tagwave::audio::{ClipReader, ClipRequest, Placement, Resamplers, Source};
use tagwave::error::Error;
use tagwave::gpu::{Context, Selection};
use tagwave::models::{self, compact::Statistics};
use tagwave::sinks::write_file;
use tagwave::tagger::{Device, measure_statistics};
use tagwave::weights;

/// Arguments of `tagwave calibrate`.
#[derive(Debug, Args)]
#[command(after_help = "Each clip of 29 s needs half a megabyte of memory.")]
pub(super) struct CalibrateArgs {
    /// Folders and files of music
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// File with one path per line: files whose path ends with one of them are excluded
    #[arg(long, value_name = "FILE")]
    exclude: Option<PathBuf>,

    /// Use a clip every SECONDS of each file, instead of one in the middle
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    stride: Option<u32>,

    /// Output file [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    weights: WeightsArgs,

    #[command(flatten)]
    device: DeviceArgs,
}

/// Measures the frozen batch statistics of compact_cnn.
pub(super) fn calibrate(args: &CalibrateArgs) -> Result<u8, CliError> {
    let selection = match &args.device.device {
        Device::Adapter(selection) => selection.clone(),
        Device::Auto | Device::Gpu => Selection::Best,
        _ => {
            return Err(CliError {
                message: "calibrate needs a GPU: choose one with --device".into(),
                code: USAGE,
            });
        }
    };
    let gpu = Context::request(&selection).map_err(Error::from)?;
    let model = models::find("compact").map_err(Error::from)?;
    let manifest = model.manifest().map_err(Error::from)?;
    let path = args.weights.locator().locate(&manifest).map_err(Error::from)?;
    let weights = weights::load(&path, &model.architecture().tensors(), &manifest).map_err(Error::from)?;
    let files = files(args)?;
    let clip = model.architecture().clip();
    let stride = args.stride.map(|seconds| (seconds * clip.sample_rate) as usize);
    let request = ClipRequest {
        placement: stride.map_or(Placement::Centre, |stride_samples| Placement::All { stride_samples }),
        ..ClipRequest::new(clip.sample_rate, clip.samples)
    };
    let resamplers = Resamplers::new();
    let mut failed = 0;
    let mut count = 0;
    let clips = files.iter().flat_map(|file| {
        let clips = clips_of(file, &request, &resamplers).unwrap_or_else(|error| {
            say!("tagwave: {}: {error}", file.display());
            failed += 1;
            Vec::new()
        });
        count += clips.len();
        clips
    });
    let statistics = measure_statistics(&weights, clips, &gpu, print_progress)?;
    let seconds = clip.samples as f64 / f64::from(clip.sample_rate);
    say!("\r{count} clips of {seconds:.2} s, {failed} files failed");
    write(args, &statistics, count)?;
    Ok(if failed == 0 { 0 } else { SOME_FAILED })
}

/// Reads the clips of a file.
fn clips_of(file: &Path, request: &ClipRequest, resamplers: &Resamplers) -> Result<Vec<Vec<f32>>, Error> {
    let reader = ClipReader::open(Source::path(file), request, resamplers)?;
    Ok(reader.map(|clip| clip.map(|clip| clip.samples)).collect::<Result<_, _>>()?)
}

/// Prints progress on a terminal.
fn print_progress(pass: usize, done: usize) {
    if io::stderr().is_terminal() {
        eprint!("\rpass {pass} of 5: {done} clips ");
    }
}

/// Finds all files below the paths, sorted, without excluded ones.
fn files(args: &CalibrateArgs) -> Result<Vec<PathBuf>, CliError> {
    let excluded: Vec<PathBuf> = match &args.exclude {
        None => Vec::new(),
        Some(list) => {
            let unreadable =
                |error| CliError { message: format!("cannot read {}: {error}", list.display()), code: USAGE };
            fs::read_to_string(list).map_err(unreadable)?.lines().map(PathBuf::from).collect()
        }
    };
    let mut found = BTreeSet::new();
    let mut folders = Vec::new();
    for path in &args.paths {
        if path.is_dir() {
            folders.push(path.clone());
        } else {
            found.insert(path.clone());
        }
    }
    while let Some(folder) = folders.pop() {
        let unreadable =
            |error| CliError { message: format!("cannot read {}: {error}", folder.display()), code: USAGE };
        for entry in fs::read_dir(&folder).map_err(unreadable)?.flatten() {
            // Links are not followed, because they may form a loop.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    found.insert(entry.path());
                }
                _ => {}
            }
        }
    }
    found.retain(|file| !excluded.iter().any(|excluded| file.ends_with(excluded)));
    Ok(found.into_iter().collect())
}

fn write(args: &CalibrateArgs, statistics: &Statistics, clips: usize) -> Result<(), CliError> {
    let mut text = format!("# Made by `tagwave calibrate` from {clips} clips.\n");
    for layer in &statistics.layers {
        let row = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(", ");
        text +=
            &format!("\n[[layers]]\nmean = [{}]\nvariance = [{}]\n", row(&layer.mean), row(&layer.variance));
    }
    match &args.output {
        None => io::stdout().lock().write_all(text.as_bytes()).map_err(|error| write_failed(&error)),
        Some(path) => write_file(path, text.as_bytes())
            .map_err(|error| CliError { message: format!("cannot write {error}"), code: SOME_FAILED }),
    }
}
