//! `tagwave bench pipeline`: throughput from files to scores, and the upper bound set by the stages.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::super::walk::{Filter, Root, files};
use super::super::{CliError, SOME_FAILED, print_line};
use tagwave::audio::Source;
use tagwave::error::Error;
use tagwave::lab::synthetic_weights;
use tagwave::models;
use tagwave::tagger::{Device, StageTimes, Tagger};
use tagwave::test_cases::synthetic_clip;

/// Arguments of `tagwave bench pipeline`.
#[derive(Debug, Args)]
#[command(
    after_help = "Weights are synthetic: speed does not depend on them. `none` decodes only. The upper bound is the \
                        slower of decoding alone and the model alone if the model runs on a GPU, and \
                        1 / (1/decoding + 1/model) if both share the CPU."
)]
pub(super) struct PipelineBenchArgs {
    /// Folders and files of music
    #[arg(required = true, value_name = "DIR")]
    paths: Vec<PathBuf>,

    /// Model to run
    #[arg(long, value_name = "NAME", default_value = models::DEFAULT)]
    model: String,

    /// Devices to measure, in this order
    #[arg(long = "device", value_name = "DEVICE", value_delimiter = ',', default_values = ["none", "cpu", "auto"])]
    devices: Vec<Device>,

    /// Maximum number of clips per batch
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    /// Number of decoder threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    decode_threads: Option<u16>,

    /// Number of passes over the files
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,

    /// One JSON object per line instead of a table
    #[arg(long)]
    json: bool,
}

/// Result of a run over sources.
struct Measured {
    tracks: usize,
    failed: usize,
    audio_s: f64,
    seconds: f64,
    times: StageTimes,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.tracks as f64 / self.seconds
    }
}

/// Measures the files of a folder on each device.
pub(super) fn bench(args: &PipelineBenchArgs) -> Result<u8, CliError> {
    let roots = || args.paths.iter().cloned().map(Root::Path).collect();
    let found: Vec<PathBuf> =
        files(roots(), Filter::default(), None, &Arc::default()).map(|entry| entry.path).collect();
    if found.is_empty() {
        return Err(CliError { message: "no audio files found".into(), code: SOME_FAILED });
    }
    let all: Vec<PathBuf> = (0..args.repeat).flat_map(|_| found.iter().cloned()).collect();
    // Reads all files into the page cache, so that all devices see the same conditions.
    for path in &found {
        std::fs::read(path).map(drop).or_else(|error| print_line(&format!("{}: {error}", path.display())))?;
    }
    let decode = run(&tagger(args, &Device::None)?, all.iter().map(Source::path));
    for device in &args.devices {
        let tagger = tagger(args, device)?;
        let name = tagger.device_name();
        let (whole, model) = if *device == Device::None {
            (None, None)
        } else {
            let spec = tagger.model().architecture().clip();
            let clip: std::sync::Arc<[f32]> = synthetic_clip(spec.samples).into();
            let clips = |count: usize| (0..count).map(|_| Source::samples(clip.clone(), spec.sample_rate));
            // Warm-up.
            run(&tagger, clips(args.batch.into()));
            let alone = run(&tagger, clips(all.len()));
            (Some(run(&tagger, all.iter().map(Source::path))), Some(alone.rate()))
        };
        let measured = whole.as_ref().unwrap_or(&decode);
        let allowed = model.map(|model| {
            if name == "cpu" || name == "reference" {
                1.0 / (1.0 / decode.rate() + 1.0 / model)
            } else {
                decode.rate().min(model)
            }
        });
        print_results(args, &name, measured, decode.rate(), model, allowed)?;
    }
    Ok(0)
}

fn tagger(args: &PipelineBenchArgs, device: &Device) -> Result<Tagger, Error> {
    let model = models::find(&args.model)?;
    let weights = synthetic_weights(model.architecture(), 0);
    let builder = Tagger::builder().device(device.clone()).max_batch(args.batch.into());
    let builder = match args.decode_threads {
        Some(threads) => builder.decode_threads(threads.into()),
        None => builder,
    };
    builder.build_from(model, &weights)
}

fn run(tagger: &Tagger, sources: impl Iterator<Item = Source> + Send) -> Measured {
    let before = tagger.stage_times();
    let start = Instant::now();
    let (mut tracks, mut failed, mut audio_s) = (0, 0, 0.0);
    tagger.tag_each(sources, |_, result| {
        tracks += 1;
        match result {
            Ok(track) => audio_s += track.track_s.unwrap_or(0.0),
            Err(_) => failed += 1,
        }
    });
    let times = tagger.stage_times().since(&before);
    Measured { tracks, failed, audio_s, seconds: start.elapsed().as_secs_f64(), times }
}

fn print_results(
    args: &PipelineBenchArgs,
    device: &str,
    measured: &Measured,
    decode: f64,
    model: Option<f64>,
    allowed: Option<f64>,
) -> Result<(), CliError> {
    let rate = measured.rate();
    let per_track = |time: std::time::Duration| 1e3 * time.as_secs_f64() / measured.tracks as f64;
    let times = &measured.times;
    let stages = [
        ("decode", times.decode),
        ("resample", times.resample),
        ("upload", times.upload),
        ("model", times.model),
    ];
    if args.json {
        let stages: serde_json::Map<_, _> =
            stages.iter().map(|(name, time)| (name.to_string(), json!(per_track(*time)))).collect();
        return print_line(
            &json!({
                "device": device, "model": args.model, "tracks": measured.tracks, "failed": measured.failed,
                "tracks_per_s": rate, "audio_hours_per_s": measured.audio_s / 3600.0 / measured.seconds,
                "ms_per_track": stages, "decode_alone_per_s": decode, "model_alone_per_s": model,
                "allowed_per_s": allowed, "allowed_over_measured": allowed.map(|allowed| allowed / rate),
            })
            .to_string(),
        );
    }
    print_line(&format!(
        "{device}: {} tracks ({} failed) in {:.2} s: {rate:.2} tracks/s, {:.2} audio hours/s",
        measured.tracks,
        measured.failed,
        measured.seconds,
        measured.audio_s / 3600.0 / measured.seconds
    ))?;
    let total: f64 = stages.iter().map(|(_, time)| time.as_secs_f64()).sum();
    for (name, time) in stages.iter().filter(|(_, time)| !time.is_zero()) {
        let share = 100.0 * time.as_secs_f64() / total.max(1e-9);
        print_line(&format!("  {name:9} {:8.2} ms/track  {share:5.1} %", per_track(*time)))?;
    }
    if let (Some(model), Some(allowed)) = (model, allowed) {
        print_line(&format!(
            "  decoding alone {decode:.2} tracks/s, model alone {model:.2}; upper bound {allowed:.2}, {:.3} times the measured rate",
            allowed / rate
        ))?;
    }
    Ok(())
}
