//! Devices that run a model: the GPU through WebGPU, or the CPU.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tagwave::gpu::{Context, RecorderInput, required_limits, wanted_features};
use tagwave::tagger::{ClipResult, Device, Recorder, Tagger, TaggerBuilder};
use tagwave::wgpu;
use tagwave::{Error, ErrorKind};
use wasm_bindgen::JsValue;

use crate::error::{js_error, js_failure};

/// Device time of one submission: the page draws in between, and drivers do not take long work for a hang.
const SUBMISSION: Duration = Duration::from_millis(8);

/// A model, ready to run.
pub(crate) enum Engine {
    Gpu(Box<GpuEngine>),
    Cpu(Box<Tagger>),
}

/// A model on a GPU.
pub(crate) struct GpuEngine {
    recorder: Recorder,
    device: wgpu::Device,
    queue: wgpu::Queue,
    errors: DeviceErrors,
}

/// Errors that the browser reported of a device.
#[derive(Clone, Default)]
pub(crate) struct DeviceErrors(Arc<Mutex<Reported>>);

#[derive(Default)]
struct Reported {
    /// The first one since the last look.
    first: Option<String>,
    /// The loss of the device, after which nothing works.
    loss: Option<String>,
}

impl DeviceErrors {
    fn reported(&self) -> MutexGuard<'_, Reported> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails with the loss of the device, or once with an error, which is of `kind`.
    pub(crate) fn check(&self, kind: &str) -> Result<(), JsValue> {
        let mut reported = self.reported();
        if let Some(reason) = &reported.loss {
            return Err(js_failure("device", &format!("the device was lost: {reason}")));
        }
        reported.first.take().map_or(Ok(()), |message| Err(js_failure(kind, &message)))
    }
}

/// An engine, and what there is to say about its device.
pub(crate) struct OpenDevice {
    pub(crate) engine: Engine,
    /// `webgpu` or `cpu`.
    pub(crate) kind: &'static str,
    /// Reason for which a GPU was not taken; else empty.
    pub(crate) note: String,
}

/// Opens `webgpu`, `cpu`, or `auto`: the GPU, and the CPU where there is none.
pub(crate) async fn open(wanted: &str, builder: impl Fn() -> TaggerBuilder) -> Result<OpenDevice, JsValue> {
    let mut note = String::new();
    if wanted != "cpu" {
        match Gpu::find().await {
            Ok(gpu) if wanted == "auto" && gpu.is_software => {
                note = "the WebGPU adapter is a software driver".into()
            }
            Ok(gpu) => match open_gpu(gpu, &builder) {
                Err(error) if wanted == "auto" && is_of_device(&error) => note = error.to_string(),
                opened => return opened.map_err(|error| js_error(&error)),
            },
            Err(reason) if wanted == "auto" => note = reason,
            Err(reason) => return Err(js_failure("device", &reason)),
        }
    }
    let tagger = builder().device(Device::Cpu).cpu_threads(1).build().map_err(|error| js_error(&error))?;
    let engine = Engine::Cpu(Box::new(tagger));
    Ok(OpenDevice { engine, kind: "cpu", note })
}

/// True for errors that another device may not have.
fn is_of_device(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Device | ErrorKind::Resource | ErrorKind::Unsupported)
}

/// A device of the browser.
pub(crate) struct Gpu {
    pub(crate) is_software: bool,
    device: wgpu::Device,
    queue: wgpu::Queue,
    pub(crate) errors: DeviceErrors,
}

impl Gpu {
    /// Opens the adapter that the browser prefers for speed, or says why there is none.
    pub(crate) async fn find() -> Result<Gpu, String> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::BROWSER_WEBGPU;
        let instance = wgpu::Instance::new(descriptor);
        let wanted = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter =
            instance.request_adapter(&wanted).await.map_err(|_| "this browser offers no WebGPU adapter")?;
        let missing = "the WebGPU adapter offers less than the default limits";
        if !required_limits().check_limits(&adapter.limits()) {
            return Err(missing.into());
        }
        let request = wgpu::DeviceDescriptor {
            label: Some("tagwave"),
            required_features: wanted_features(&adapter),
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&request).await.map_err(|error| error.to_string())?;
        let is_software = adapter.get_info().device_type == wgpu::DeviceType::Cpu;
        let errors = DeviceErrors::default();
        let of_device = errors.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            of_device.reported().first.get_or_insert(error.to_string());
        }));
        let of_device = errors.clone();
        device.set_device_lost_callback(move |_, reason| of_device.reported().loss = Some(reason));
        Ok(Gpu { is_software, device, queue, errors })
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// The device for the library.
    pub(crate) fn context(&self) -> Context {
        Context::from_device(self.device.clone(), self.queue.clone())
    }
}

fn open_gpu(gpu: Gpu, builder: &impl Fn() -> TaggerBuilder) -> Result<OpenDevice, Error> {
    let recorder = builder().gpu(gpu.context()).build_recorder()?;
    let Gpu { device, queue, errors, .. } = gpu;
    let engine = Engine::Gpu(Box::new(GpuEngine { recorder, device, queue, errors }));
    Ok(OpenDevice { engine, kind: "webgpu", note: String::new() })
}

impl Engine {
    /// Tags one clip.
    pub(crate) async fn tag(&mut self, samples: &[f32], rate_hz: u32) -> Result<ClipResult, JsValue> {
        match self {
            Engine::Gpu(gpu) => gpu.tag(samples).await,
            Engine::Cpu(tagger) => {
                let pending = tagger.submit(samples, rate_hz).map_err(|error| js_error(&error))?;
                let mut track = pending.await.map_err(|error| js_error(&error))?;
                track.clips.pop().ok_or_else(|| js_failure("internal", "no clip"))
            }
        }
    }
}

impl GpuEngine {
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    async fn tag(&mut self, samples: &[f32]) -> Result<ClipResult, JsValue> {
        let found = self.record(samples).map_err(|error| js_error(&error))?.await;
        self.errors.check("device")?;
        found.map_err(|error| js_error(&error))
    }

    /// Submits a clip in parts.
    fn record(&mut self, samples: &[f32]) -> Result<tagwave::tagger::Reading, Error> {
        self.recorder.begin(RecorderInput::Samples(samples))?;
        loop {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let is_complete = self.recorder.step(&mut encoder, SUBMISSION)?.is_complete;
            let reading = if is_complete { Some(self.recorder.read(&mut encoder)?) } else { None };
            self.queue.submit([encoder.finish()]);
            if let Some(reading) = reading {
                return Ok(reading);
            }
        }
    }
}

impl Drop for GpuEngine {
    fn drop(&mut self) {
        self.device.destroy();
    }
}
