//! Settings of an element: its properties.

use std::ops::RangeInclusive;
use std::time::Duration;

use tagwave::audio::RATES_HZ;
use tagwave::models;
use tagwave::tagger::{Device, StreamConfig, Tagger};
use tagwave::tags::{self, Tag, TagSelection, Vocabulary};

/// Longest buffer between the streaming thread and that of tagwave: in seconds, and in samples.
const BUFFER: (f64, f64) = (4.0, (32 << 20) as f64);

/// Limits of `eos-timeout` in seconds.
const EOS_TIMEOUTS_S: RangeInclusive<f64> = 0.0..=3600.0;

/// Values of the properties.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) model: Option<String>,
    pub(crate) weights: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) hop_s: f64,
    /// 0 for one clip of the model.
    pub(crate) window_s: f64,
    pub(crate) smoothing_s: f64,
    pub(crate) every_hop: bool,
    pub(crate) threshold: f32,
    pub(crate) top: u32,
    pub(crate) tags_each_hop: bool,
    pub(crate) eos_timeout_s: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            model: None,
            weights: None,
            device: None,
            hop_s: 1.0,
            window_s: 0.0,
            smoothing_s: 0.0,
            every_hop: false,
            threshold: 0.0,
            top: 5,
            tags_each_hop: false,
            eos_timeout_s: 5.0,
        }
    }
}

impl Settings {
    /// Opens the model, and checks the other settings.
    pub(crate) fn open(&self) -> Result<Tagger, String> {
        let device = self.device.as_deref().map_or(Ok(Device::Cpu), str::parse);
        let device = device.map_err(|error| format!("property device: {error}"))?;
        if device == Device::None {
            return Err("property device: none runs no model".into());
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(format!("property threshold: {}: expected 0 to 1", self.threshold));
        }
        if !EOS_TIMEOUTS_S.contains(&self.eos_timeout_s) {
            return Err(format!("property eos-timeout: {} s: expected 0 to 3600 s", self.eos_timeout_s));
        }
        // One thread suffices for live audio, and leaves the others to the pipeline.
        let builder = Tagger::builder().device(device).cpu_threads(1);
        let builder = match &self.model {
            Some(model) => match models::path_of(model) {
                Some(path) => builder.model_file(path),
                None => builder.model(model),
            },
            None => builder,
        };
        let builder = self.weights.iter().fold(builder, |builder, path| builder.weights(path));
        let tagger = builder.build().map_err(|error| error.to_string())?;
        // The first stream of a tagger prepares the model once more.
        tagger.stream(self.config(48_000, 2)).map_err(|error| error.to_string())?;
        Ok(tagger)
    }

    /// Settings of a stream.
    pub(crate) fn config(&self, rate_hz: u32, channels: usize) -> StreamConfig {
        let (seconds, samples) = BUFFER;
        let samples_per_s = f64::from(rate_hz.max(*RATES_HZ.start())) * channels.max(1) as f64;
        let config = StreamConfig::new(rate_hz, channels)
            .hop_s(self.hop_s)
            .smoothing_s(self.smoothing_s)
            .buffer_s(seconds.min(samples / samples_per_s))
            .every_hop(self.every_hop);
        if self.window_s == 0.0 { config } else { config.window_s(self.window_s) }
    }

    /// Longest wait for the last update. The property may have changed since it was checked.
    pub(crate) fn eos_timeout(&self) -> Duration {
        let seconds = self.eos_timeout_s.max(*EOS_TIMEOUTS_S.start()).min(*EOS_TIMEOUTS_S.end());
        Duration::from_secs_f64(seconds)
    }

    /// The tags to report, highest first.
    pub(crate) fn select(&self, vocabulary: &Vocabulary, scores: &[f32]) -> Vec<Tag> {
        let mut tags = tags::select(vocabulary, scores, TagSelection::Threshold(self.threshold));
        tags.truncate(self.top as usize);
        tags
    }
}
