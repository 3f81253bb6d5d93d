//! Which clips of a track are heard: arguments of `tag` and `embed`.

use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::{Failed, USAGE};
use crate::audio::{Padding, Placement};
use crate::models::ClipSpec;
use crate::tagger::TaggerBuilder;
use crate::tags::Aggregation;

/// Longest distance between clips: 115 days.
const MAX_STRIDE_S: f64 = 1e7;

/// Where clips lie and what becomes of several.
#[derive(Debug, Args)]
pub(super) struct ClipArgs {
    /// What to hear of each track: `centre` (one clip from its middle), `all` (clips from its start to its
    /// end, one every --stride), or one clip that starts this many seconds into it
    #[arg(long, value_name = "centre|all|SECONDS", default_value = "centre")]
    clips: Clips,

    /// Seconds between the starts of two clips, with `--clips all`; less than a clip makes them overlap
    /// [default: the length of a clip]
    #[arg(long, value_name = "SECONDS", value_parser = stride)]
    stride: Option<f64>,

    /// How the scores, or features, of several clips become the track's
    #[arg(long, value_enum, default_value_t)]
    aggregate: AggregateArg,

    /// Give what was found in each clip too (csv, npy and parquet: instead of the track's)
    #[arg(long)]
    pub(super) per_clip: bool,

    /// What fills the clip of a track that is shorter than one
    #[arg(long, value_enum, default_value_t)]
    pad: PadArg,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Clips {
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
    /// The mean over clips
    #[default]
    Mean,
    /// The largest over clips
    Max,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum PadArg {
    /// Silence after the audio
    #[default]
    Zeros,
    /// The audio again and again
    Repeat,
}

fn stride(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= MAX_STRIDE_S => Ok(seconds),
        _ => Err("expected a number of seconds above 0".into()),
    }
}

impl ClipArgs {
    /// Whether a track may have more than one clip.
    pub(super) fn are_many(&self) -> bool {
        self.clips == Clips::All
    }

    /// What of these settings a row depends on.
    pub(super) fn settings(&self) -> String {
        format!(
            "clips={:?} stride={:?} aggregate={:?} pad={:?}",
            self.clips, self.stride, self.aggregate, self.pad
        )
    }

    /// These settings for a model that hears clips of this kind.
    pub(super) fn apply(&self, builder: TaggerBuilder, clip: ClipSpec) -> Result<TaggerBuilder, Failed> {
        if self.stride.is_some() && !self.are_many() {
            return Err(Failed { message: "--stride needs --clips all".into(), code: USAGE });
        }
        let samples = |seconds: f64| ((seconds * f64::from(clip.sample_rate)).round() as usize).max(1);
        let placement = match self.clips {
            Clips::Centre => Placement::Centre,
            Clips::All => Placement::All { stride_samples: self.stride.map_or(clip.samples, samples) },
            Clips::At(seconds) => Placement::At(seconds),
        };
        let padding = match self.pad {
            PadArg::Zeros => Padding::Zeros,
            PadArg::Repeat => Padding::Repeat,
        };
        let aggregation = match self.aggregate {
            AggregateArg::Mean => Aggregation::Mean,
            AggregateArg::Max => Aggregation::Max,
        };
        Ok(builder.placement(placement).padding(padding).aggregation(aggregation))
    }
}
