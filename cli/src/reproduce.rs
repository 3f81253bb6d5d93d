//! `tagwave reproduce`.

use std::io;
use std::path::PathBuf;

use clap::Args;

use super::{CliError, DeviceArgs, SOME_FAILED, USAGE, WeightsArgs, error, write_failed};
use tagwave::audio::{Clip, ClipReader, ClipRequest, Resamplers, Source};
use tagwave::error::Error;
use tagwave::models;
use tagwave::sinks::{JSON_LINES, Prediction, Row, Values};
use tagwave::tagger::{Device, OriginalBatch};
use tagwave::tags::{self, TagSelection};

/// Arguments of `tagwave reproduce`.
#[derive(Debug, Args)]
#[command(
    after_help = "The scores of a file depend on the other files of its batch. Use `tagwave tag` for tagging."
)]
pub(super) struct ReproduceArgs {
    /// Audio files, in the order of the batches
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Model to run
    #[arg(long, value_name = "NAME", default_value = "compact")]
    model: String,

    /// Batch size in files
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,

    /// Number of tags per file
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,

    #[command(flatten)]
    weights: WeightsArgs,

    #[command(flatten)]
    device: DeviceArgs,
}

/// A clip, or the row of a file that cannot be read.
type Read = Result<(PathBuf, Clip, ClipReader), Box<Row>>;

/// Tags groups of files as the original project does, one JSON object per line.
pub(super) fn reproduce(args: &ReproduceArgs) -> Result<u8, CliError> {
    if args.device.device == Device::None {
        let message = "device `none` runs no model: choose another --device".into();
        return Err(CliError { message, code: USAGE });
    }
    let model = models::find(&args.model).map_err(Error::from)?;
    let weights = model.weights(&args.weights.locator()).map_err(Error::from)?;
    let vocabulary = model.vocabulary().map_err(Error::from)?;
    let batch = usize::from(args.batch);
    let executor = OriginalBatch::new(&model, &weights, &args.device.device, batch)?;
    let clip = model.architecture().clip();
    let request = ClipRequest::new(clip.sample_rate, clip.samples);
    let resamplers = Resamplers::new();
    let mut sink = JSON_LINES.sink(io::stdout().lock());
    let mut failed = 0;
    for group in args.files.chunks(batch) {
        let read: Vec<Read> = group.iter().map(|path| read(path, &request, &resamplers)).collect();
        let clips: Vec<Vec<f32>> =
            read.iter().filter_map(|read| Some(read.as_ref().ok()?.1.samples.clone())).collect();
        let mut results = if clips.is_empty() { Vec::new() } else { executor.run(&clips)? }.into_iter();
        for read in read {
            let row = match read {
                Err(row) => *row,
                Ok((path, start, reader)) => {
                    let Some(result) = results.next() else { continue };
                    Row {
                        path,
                        key: None,
                        outcome: Ok(Prediction {
                            model: model.name().to_string(),
                            compat: models::Compat::Original.as_str(),
                            device: executor.device_name().to_string(),
                            decoder: reader.decoder_name().to_string(),
                            clip_start_s: start.start_samples as f64 / f64::from(clip.sample_rate),
                            track_s: reader.track_seconds(),
                            clip_count: 1,
                            values: Values::Tags(tags::select(
                                &vocabulary,
                                &result.scores,
                                TagSelection::Top(args.top),
                            )),
                            clips: Vec::new(),
                            warnings: reader.warnings().iter().map(ToString::to_string).collect(),
                        }),
                    }
                }
            };
            failed += usize::from(row.outcome.is_err());
            sink.row(&row).map_err(|error| write_failed(&error))?;
        }
    }
    sink.finish().map_err(|error| write_failed(&error))?;
    Ok(if failed == 0 { 0 } else { SOME_FAILED })
}

fn read(path: &PathBuf, request: &ClipRequest, resamplers: &Resamplers) -> Read {
    let clip = || -> Result<(Clip, ClipReader), Error> {
        let mut reader = ClipReader::open(Source::path(path), request, resamplers)?;
        let clip = reader.next().ok_or_else(|| Error::from(tagwave::error::Cause::NoClips))??;
        Ok((clip, reader))
    };
    clip().map(|(clip, reader)| (path.clone(), clip, reader)).map_err(|error| {
        let outcome = Err(error::failure(&error));
        Box::new(Row { path: path.clone(), key: None, outcome })
    })
}
