//! tagwave in a browser: the classes that the JavaScript package wraps. They live in a worker, where work may take time.

mod device;
mod error;
mod lab;
mod selftest;
mod track;

use std::sync::Arc;

use js_sys::Float32Array;
use tagwave::audio::Source;
use tagwave::models::Model;
use tagwave::tagger::Tagger;
use tagwave::tags::Vocabulary;
use wasm_bindgen::prelude::*;

use device::Engine;
use error::{js_error, js_failure};
use track::WebTrack;

/// Name of the step whose output is the spectrogram.
const SPECTROGRAM: &str = "mel";

/// First bytes of a file of Keras.
const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";
/// Bands of the spectrogram, and distance of its frames in samples: those of all models.
const BANDS: usize = 96;
const HOP_SAMPLES: u32 = 256;

/// Called once the module is loaded: panics are written to the console.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| web_sys::console::error_1(&panic.to_string().into())));
}

/// A model on a device.
#[wasm_bindgen]
pub struct WebTagger {
    device: device::OpenDevice,
    model: Model,
    labels: Vec<String>,
}

#[wasm_bindgen]
impl WebTagger {
    /// Opens a device, `webgpu`, `cpu` or `auto`, and prepares a model for it: the built-in one, or that of the bytes of a
    /// model file.
    pub async fn create(model: Option<Vec<u8>>, device: String) -> Result<WebTagger, JsValue> {
        let model: Option<Arc<[u8]>> = model.map(Arc::from);
        let labels = Vocabulary::lastfm50().map_err(|error| js_failure("internal", &error.to_string()))?;
        let builder = || {
            let builder = Tagger::builder().tap(SPECTROGRAM).max_batch(1);
            let Some(bytes) = &model else { return builder };
            let builder = builder.model_bytes(bytes.clone());
            // Keras files have no labels; those of the published models are the only ones known here.
            if bytes.starts_with(HDF5) { builder.labels(labels.clone()) } else { builder }
        };
        let device = device::open(&device, builder).await?;
        let (model, labels) = match &device.engine {
            Engine::Gpu(gpu) => {
                (gpu.recorder().model().clone(), gpu.recorder().vocabulary().labels().to_vec())
            }
            Engine::Cpu(tagger) => (tagger.model().clone(), tagger.labels().to_vec()),
        };
        Ok(WebTagger { device, model, labels })
    }

    /// Name of the model.
    pub fn model(&self) -> String {
        self.model.name().into()
    }

    /// Labels, in the order of the scores.
    pub fn labels(&self) -> Vec<String> {
        self.labels.clone()
    }

    /// `webgpu` or `cpu`.
    #[wasm_bindgen(js_name = deviceKind)]
    pub fn device_kind(&self) -> String {
        self.device.kind.into()
    }

    /// Reason for which a GPU was not taken; else empty.
    #[wasm_bindgen(js_name = deviceNote)]
    pub fn device_note(&self) -> String {
        self.device.note.clone()
    }

    /// Number of mel bands of the spectrogram.
    #[wasm_bindgen(js_name = melBands)]
    pub fn mel_bands(&self) -> usize {
        BANDS
    }

    /// Seconds between two frames of the spectrogram.
    #[wasm_bindgen(js_name = melHop)]
    pub fn mel_hop(&self) -> f64 {
        f64::from(HOP_SAMPLES) / f64::from(self.model.architecture().clip().sample_rate)
    }

    /// Opens the bytes of an audio file: clips of all of it, or one from its middle.
    #[wasm_bindgen(js_name = openFile)]
    pub fn open_file(&self, bytes: Vec<u8>, all: bool) -> Result<WebTrack, JsValue> {
        WebTrack::open(self.model.architecture().clip(), Source::bytes(bytes), all)
            .map_err(|error| js_error(&error))
    }

    /// Opens mono samples at a rate in Hz, as [`WebTagger::open_file`].
    #[wasm_bindgen(js_name = openSamples)]
    pub fn open_samples(&self, samples: &Float32Array, rate_hz: u32, all: bool) -> Result<WebTrack, JsValue> {
        WebTrack::open(self.model.architecture().clip(), Source::samples(samples.to_vec(), rate_hz), all)
            .map_err(|error| js_error(&error))
    }
}
