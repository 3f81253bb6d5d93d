//! Options of a handle, by name.

use std::str::FromStr;

use tagwave::audio::ClipPadding;
use tagwave::models::{self, Compat};
use tagwave::tagger::{Device, StreamConfig, Tagger, TaggerBuilder};
use tagwave::tags::Vocabulary;
use tagwave::tensor::DType;

use crate::status::Failed;

/// Options of streams.
const STREAM_OPTIONS: [&str; 5] = ["hop", "window", "buffer", "smoothing", "every_hop"];
/// Most threads of a kind.
const MAX_THREADS: usize = 1024;
/// Most clips of a batch.
const MAX_BATCH: usize = 4096;

/// Settings of streams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamOptions {
    hop_s: Option<f64>,
    window_s: Option<f64>,
    buffer_s: Option<f64>,
    smoothing_s: Option<f64>,
    every_hop: bool,
}

impl StreamOptions {
    pub(crate) fn config(&self, sample_rate_hz: u32, channels: usize) -> StreamConfig {
        let config = StreamConfig::new(sample_rate_hz, channels).every_hop(self.every_hop);
        let config = self.hop_s.into_iter().fold(config, StreamConfig::hop_s);
        let config = self.window_s.into_iter().fold(config, StreamConfig::window_s);
        let config = self.buffer_s.into_iter().fold(config, StreamConfig::buffer_s);
        self.smoothing_s.into_iter().fold(config, StreamConfig::smoothing_s)
    }
}

/// All options.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) builder: TaggerBuilder,
    pub(crate) stream: StreamOptions,
}

impl Default for Options {
    fn default() -> Options {
        Options { builder: Tagger::builder(), stream: StreamOptions::default() }
    }
}

fn parsed<T: FromStr>(key: &str, value: &str, expected: &str) -> Result<T, Failed> {
    value.parse().map_err(|_| Failed::argument(format!("option {key}: expected {expected}, found {value:?}")))
}

fn one_of<T: Copy>(key: &str, value: &str, choices: &[(&str, T)]) -> Result<T, Failed> {
    let found = choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice);
    found.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        Failed::argument(format!("option {key}: expected {}, found {value:?}", names.join(" or ")))
    })
}

impl Options {
    /// Sets an option; those of the model are refused once it `is_open`.
    pub(crate) fn set(&mut self, key: &str, value: &str, is_open: bool) -> Result<(), Failed> {
        if is_open && !STREAM_OPTIONS.contains(&key) {
            return Err(Failed::argument(format!(
                "option {key:?}: the model is open: set it before tagwave_open"
            )));
        }
        let builder = self.builder.clone();
        let number = |most: usize| {
            let expected = format!("a number from 1 to {most}");
            match value.parse::<usize>() {
                Ok(number) if (1..=most).contains(&number) => Ok(number),
                _ => Err(Failed::argument(format!("option {key}: expected {expected}, found {value:?}"))),
            }
        };
        let seconds = || parsed::<f64>(key, value, "a number of seconds").map(Some);
        self.builder = match key {
            "model" => match models::path_of(value) {
                Some(path) => builder.model_file(path),
                None => builder.model(value),
            },
            "labels" => {
                let labels = Vocabulary::parse(value);
                builder.labels(labels.map_err(|error| Failed::argument(format!("option labels: {error}")))?)
            }
            "weights" => builder.weights(value),
            "device" => {
                let device = Device::from_str(value);
                builder.device(device.map_err(|error| Failed::argument(format!("option device: {error}")))?)
            }
            "compat" => builder.compat(one_of(
                key,
                value,
                &[("corrected", Compat::Corrected), ("original", Compat::Original)],
            )?),
            "precision" => {
                builder.precision(one_of(key, value, &[("f32", DType::F32), ("f16", DType::F16)])?)
            }
            "padding" => builder.padding(one_of(
                key,
                value,
                &[("zeros", ClipPadding::Zeros), ("repeat", ClipPadding::Repeat)],
            )?),
            "cpu_threads" => builder.cpu_threads(number(MAX_THREADS)?),
            "decode_threads" => builder.decode_threads(number(MAX_THREADS)?),
            "max_batch" => builder.max_batch(number(MAX_BATCH)?),
            #[cfg(feature = "gpu")]
            "pipeline_cache" => builder.pipeline_cache(value),
            #[cfg(feature = "gpu")]
            "known_devices" => builder.known_devices(value),
            _ => {
                let stream = &mut self.stream;
                match key {
                    "hop" => stream.hop_s = seconds()?,
                    "window" => stream.window_s = seconds()?,
                    "buffer" => stream.buffer_s = seconds()?,
                    "smoothing" => stream.smoothing_s = seconds()?,
                    "every_hop" => {
                        stream.every_hop = one_of(key, value, &[("true", true), ("false", false)])?;
                    }
                    _ => return Err(Failed::argument(format!("unknown option {key:?}: see tagwave_set"))),
                }
                return Ok(());
            }
        };
        Ok(())
    }
}
