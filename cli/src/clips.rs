//! Clip arguments of `tag` and `embed`.

use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::{CliError, USAGE};
use tagwave::audio::{ClipPadding, Placement};
use tagwave::models::ClipSpec;
use tagwave::tagger::TaggerBuilder;
use tagwave::tags::Aggregation;

/// Maximum distance between clips in seconds: 115 days.
const MAX_STRIDE_S: f64 = 1e7;

/// Position of the clips and their aggregation.
#[derive(Debug, Default, Args)]
pub(super) struct ClipArgs {
    /// Clips of each track: `centre` (one clip from the middle), `all` (clips from start to end, one every --stride), or
    /// the start of one clip in seconds
    #[arg(long, value_name = "centre|all|SECONDS", default_value = "centre")]
    clips: Clips,

    /// Seconds between the starts of two clips, with `--clips all`; less than the length of a clip makes clips overlap
    /// [default: the length of a clip]
    #[arg(long, value_name = "SECONDS", value_parser = stride)]
    stride: Option<f64>,

    /// Aggregation of the scores, or features, of several clips
    #[arg(long, value_enum, default_value_t)]
    aggregate: AggregateArg,

    /// Also write the result of each clip (csv, npy and parquet: instead of the result of the track)
    #[arg(long)]
    pub(super) per_clip: bool,

    /// Padding of tracks shorter than a clip
    #[arg(long, value_enum, default_value_t)]
    pad: PadArg,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Clips {
    #[default]
    Centre,
    All,
    At(f64),
}

impl FromStr for Clips {
    type Err = String;

    fn from_str(word: &str) -> Result<Clips, String> {
        match word {
            "centre" | "center" => Ok(Clips::Centre),
            "all" => Ok(Clips::All),
            word => match word.parse::<f64>() {
                Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(Clips::At(seconds)),
                _ => Err("expected centre, all, or a start in seconds".into()),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum AggregateArg {
    /// Mean over clips
    #[default]
    Mean,
    /// Maximum over clips
    Max,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum PadArg {
    /// Silence after the audio
    #[default]
    Zeros,
    /// The audio, repeated
    Repeat,
}

fn stride(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= MAX_STRIDE_S => Ok(seconds),
        _ => Err("expected a number of seconds above 0".into()),
    }
}

impl ClipArgs {
    /// True if a track may have more than one clip.
    pub(super) fn are_many(&self) -> bool {
        self.clips == Clips::All
    }

    /// Settings that rows depend on, for the journal.
    pub(super) fn settings(&self) -> String {
        format!(
            "clips={:?} stride={:?} aggregate={:?} pad={:?}",
            self.clips, self.stride, self.aggregate, self.pad
        )
    }

    /// Applies these settings for a model with such clips.
    pub(super) fn apply(&self, builder: TaggerBuilder, clip: ClipSpec) -> Result<TaggerBuilder, CliError> {
        if self.stride.is_some() && !self.are_many() {
            return Err(CliError { message: "--stride needs --clips all".into(), code: USAGE });
        }
        let samples = |seconds: f64| ((seconds * f64::from(clip.sample_rate)).round() as usize).max(1);
        let placement = match self.clips {
            Clips::Centre => Placement::Centre,
            Clips::All => Placement::All { stride_samples: self.stride.map_or(clip.samples, samples) },
            Clips::At(seconds) => Placement::At(seconds),
        };
        let padding = match self.pad {
            PadArg::Zeros => ClipPadding::Zeros,
            PadArg::Repeat => ClipPadding::Repeat,
        };
        let aggregation = match self.aggregate {
            AggregateArg::Mean => Aggregation::Mean,
            AggregateArg::Max => Aggregation::Max,
        };
        Ok(builder.placement(placement).padding(padding).aggregation(aggregation))
    }
}
