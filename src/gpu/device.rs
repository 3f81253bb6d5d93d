//! Adapters and devices: what there is, which one to take, what it can do.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::GpuError;
use super::cache::PipelineCache;
use crate::executor::{ExecuteError, Selection};
use crate::kernels::{Kernels, Limits, TuningTable, Vendor};

/// Kind of an adapter, the preferred kind first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AdapterType {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU behind a virtual machine.
    Virtual,
    /// The driver does not say.
    Other,
    /// A software driver on the processor.
    Software,
}

impl AdapterType {
    /// The word used in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            AdapterType::Discrete => "discrete",
            AdapterType::Integrated => "integrated",
            AdapterType::Virtual => "virtual",
            AdapterType::Other => "other",
            AdapterType::Software => "software",
        }
    }

    fn of(info: &wgpu::AdapterInfo) -> AdapterType {
        match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterType::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterType::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterType::Virtual,
            wgpu::DeviceType::Cpu => AdapterType::Software,
            wgpu::DeviceType::Other => AdapterType::Other,
        }
    }
}

/// Properties of an adapter that are known without making a device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdapterSummary {
    /// Name of the card or the software driver.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// Driver and its version.
    pub driver: String,
    /// PCI address, empty where there is none. Tells two equal cards apart.
    pub pci_bus_id: String,
    /// Kind of the adapter.
    pub adapter_type: AdapterType,
    /// Threads of a subgroup, least and most.
    pub subgroup_size: [u32; 2],
    /// True if timestamps can be taken between kernels.
    pub timestamps: bool,
    /// Limits and features that kernels are selected by.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub limits: Limits,
}

impl AdapterSummary {
    fn new(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> AdapterSummary {
        let adapter_type = AdapterType::of(info);
        AdapterSummary {
            name: info.name.clone(),
            backend: info.backend.to_str().to_string(),
            driver: [&*info.driver, &*info.driver_info].join(" ").trim().to_string(),
            pci_bus_id: info.device_pci_bus_id.clone(),
            adapter_type,
            subgroup_size: [info.subgroup_min_size, info.subgroup_max_size],
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
            limits: Limits {
                max_workgroups_per_axis: limits.max_compute_workgroups_per_dimension,
                max_workgroup_threads: limits.max_compute_invocations_per_workgroup,
                max_shared_bytes: limits.max_compute_workgroup_storage_size,
                max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
                max_binding_bytes: limits.max_storage_buffer_binding_size,
                max_buffer_bytes: limits.max_buffer_size,
                f16: features.contains(wgpu::Features::SHADER_F16),
                subgroup: features
                    .contains(wgpu::Features::SUBGROUP)
                    .then_some([info.subgroup_min_size, info.subgroup_max_size]),
                // naga 30 writes HLSL for subgroup built-ins among the arguments alone, not in a struct of them, which
                // is how `common/reduce_subgroup.wgsl` has them.
                subgroup_ids: features.contains(wgpu::Features::SUBGROUP)
                    && info.backend != wgpu::Backend::Dx12,
                matrices: Vec::new(),
                // The kernels for software drivers are long, and the compilers of browsers take minutes for them.
                software: adapter_type == AdapterType::Software
                    && info.backend != wgpu::Backend::BrowserWebGpu,
                vendor: Vendor::of_pci(info.vendor),
            },
        }
    }

    fn of(adapter: &wgpu::Adapter) -> AdapterSummary {
        AdapterSummary::new(&adapter.get_info(), adapter.features(), &adapter.limits())
    }
}

/// Features used where the adapter has them; no kernel of a shipped model needs one.
const WANTED: wgpu::Features = wgpu::Features::SHADER_F16
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES);

/// Minimum limits of a device of the caller, for every published model in f32, one clip at a time: wgpu's downlevel
/// defaults with six storage buffers per shader stage. [`wgpu::Limits::default`] has more.
pub fn required_limits() -> wgpu::Limits {
    wgpu::Limits { max_storage_buffers_per_shader_stage: 6, ..wgpu::Limits::downlevel_defaults() }
}

/// Features of an adapter that make kernels faster or times measurable; a caller may enable any of them, or none.
pub fn wanted_features(adapter: &wgpu::Adapter) -> wgpu::Features {
    adapter.features() & WANTED
}

/// Features that cooperative kernels need.
const WANTED_BY_MATRICES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16);

/// Sides of the square f16 matrices that the adapter multiplies into f32 sums.
fn matrices(adapter: &wgpu::Adapter) -> Vec<u32> {
    if !adapter.features().contains(WANTED_BY_MATRICES) {
        return Vec::new();
    }
    let fits = |kind: &wgpu::CooperativeMatrixProperties| {
        kind.m_size == kind.n_size
            && kind.n_size == kind.k_size
            && kind.ab_type == wgpu::CooperativeScalarType::F16
            && kind.cr_type == wgpu::CooperativeScalarType::F32
    };
    let kinds = adapter.cooperative_matrix_properties();
    let mut sides: Vec<u32> = kinds.iter().filter(|kind| fits(kind)).map(|kind| kind.m_size).collect();
    sides.sort_unstable();
    sides.dedup();
    sides
}

async fn enumerate() -> Vec<wgpu::Adapter> {
    // Not OpenGL, which has no compute shaders on many drivers.
    let backends = wgpu::Backends::PRIMARY & wgpu::Instance::enabled_backend_features();
    if backends.is_empty() {
        // wgpu panics here, as with `webgpu` alone outside of a browser.
        return Vec::new();
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = instance.enumerate_adapters(backends).await;
    adapters.sort_by_key(|adapter| AdapterType::of(&adapter.get_info()));
    adapters
}

impl Selection {
    /// Place of the adapter that is meant in a list such as [`adapters`](super::adapters).
    pub fn find(&self, adapters: &[AdapterSummary]) -> Option<usize> {
        match self {
            Selection::Best => Some(0).filter(|_| !adapters.is_empty()),
            Selection::Index(index) => Some(*index).filter(|&index| index < adapters.len()),
            Selection::Name(name) => {
                let name = name.to_lowercase();
                adapters.iter().position(|adapter| {
                    let words = [&adapter.name, &adapter.backend, &adapter.pci_bus_id];
                    words.iter().any(|word| word.to_lowercase().contains(&name))
                })
            }
        }
    }
}

/// The adapters of this machine, ready to be opened: finding them takes a while.
#[derive(Debug)]
pub struct Adapters {
    adapters: Vec<wgpu::Adapter>,
    summaries: Vec<AdapterSummary>,
}

impl Adapters {
    /// Finds all adapters, the one that [`Selection::Best`] takes first.
    pub async fn find() -> Adapters {
        let adapters = enumerate().await;
        Adapters { summaries: adapters.iter().map(AdapterSummary::of).collect(), adapters }
    }

    /// Descriptions, in the order of [`Selection::Index`].
    pub fn summaries(&self) -> &[AdapterSummary] {
        &self.summaries
    }

    /// Opens a device on the adapter that `selection` names.
    ///
    /// # Errors
    /// As [`Context::request`].
    pub async fn request(&self, selection: &Selection) -> Result<Context, GpuError> {
        if self.adapters.is_empty() {
            return Err(GpuError::NoAdapter);
        }
        let Some(index) = selection.find(&self.summaries) else {
            let wanted = match selection {
                Selection::Index(index) => index.to_string(),
                Selection::Name(name) => name.clone(),
                Selection::Best => String::new(),
            };
            let found = self.summaries.iter().map(|adapter| adapter.name.clone()).collect();
            return Err(GpuError::NoMatch { wanted, found });
        };
        let adapter = &self.adapters[index];
        let mut features = wanted_features(adapter);
        let matrices = matrices(adapter);
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if !matrices.is_empty() {
            features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            // SAFETY: the one feature asked for with it is used by the cooperative kernels of this crate alone, which
            // the tests hold against their reference implementations; nothing takes them that was not told to.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("tagwave"),
            required_features: features,
            required_limits: adapter.limits(),
            experimental_features,
            ..Default::default()
        });
        let (device, queue) = request.await.map_err(|error| GpuError::Device {
            adapter: self.summaries[index].name.clone(),
            reason: error.to_string(),
        })?;
        let mut gpu = Context { is_owned: true, ..Context::from_device(device, queue) };
        Arc::make_mut(&mut gpu.summary).limits.matrices = matrices;
        Ok(gpu)
    }
}

/// State of the background thread of a device that tagwave opened. The thread runs while callers wait for completions
/// without polling.
#[derive(Debug, Default)]
pub(super) struct Poller {
    /// True while the thread runs and will poll again.
    pub(super) is_running: Mutex<bool>,
    /// True if a caller asked since the last poll.
    pub(super) is_requested: AtomicBool,
}

/// A device with its queue, and what it can do. Cheap to clone; clones share the device.
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    summary: Arc<AdapterSummary>,
    kernels: Arc<Kernels>,
    pub(super) cache: Option<Arc<PipelineCache>>,
    /// True once the device did not answer in time; it is not waited for again.
    pub(super) is_stuck: Arc<AtomicBool>,
    /// True for a device that tagwave opened and polls; false for one of the caller, who polls it.
    pub(super) is_owned: bool,
    pub(super) poller: Arc<Poller>,
}

/// Time limit of a wait for a hardware device, which gets work for a fraction of a second at a time.
const HARDWARE_TIMEOUT: Duration = Duration::from_secs(120);
/// Least time limit of a wait for a software driver, and the time limit for each clip of a batch.
const SOFTWARE_TIMEOUT: Duration = Duration::from_secs(600);
const SOFTWARE_TIMEOUT_OF_A_CLIP: Duration = Duration::from_secs(60);

impl Context {
    /// A device and queue that the caller shares, as a game or a media tool does. It needs [`required_limits`]; features
    /// that the caller enabled are used ([`wanted_features`]), and none is needed.
    ///
    /// The caller polls the device: tagwave does so only while one of its blocking calls waits, and callbacks of the
    /// caller that are due then run on that thread.
    pub fn from_device(device: wgpu::Device, queue: wgpu::Queue) -> Context {
        let summary = AdapterSummary::new(&device.adapter_info(), device.features(), &device.limits());
        let (summary, is_stuck) = (Arc::new(summary), Arc::default());
        let poller = Arc::default();
        let kernels = Arc::default();
        let gpu = Context { device, queue, summary, kernels, cache: None, is_stuck, is_owned: false, poller };
        gpu.with_kernels(Kernels::default())
    }

    /// The same device with other kernels: what was measured on it, or kernels from outside. Layers that were not
    /// measured keep the built-in choice for devices of its kind.
    #[must_use]
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn with_kernels(self, kernels: Kernels) -> Context {
        let tuning = kernels.tuning.or(TuningTable::built_in(&self.summary.limits));
        Context { kernels: Arc::new(Kernels { tuning, ..kernels }), ..self }
    }

    /// The kernels that run on it.
    #[cfg_attr(not(feature = "unstable"), doc(hidden))]
    pub fn kernels(&self) -> &Arc<Kernels> {
        &self.kernels
    }

    /// Properties of the adapter, with the limits and features that were enabled.
    pub fn summary(&self) -> &AdapterSummary {
        &self.summary
    }

    /// Gives the device up, whoever else has it: what runs on it fails from now on.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Time limit of a wait for a submission of `clips` clips where the caller sets none.
    pub(super) fn default_timeout(&self, clips: usize) -> Duration {
        if !self.summary.limits.software {
            return HARDWARE_TIMEOUT;
        }
        let clips = u32::try_from(clips).unwrap_or(u32::MAX);
        SOFTWARE_TIMEOUT_OF_A_CLIP.saturating_mul(clips).max(SOFTWARE_TIMEOUT)
    }

    /// Fails if the device was not waited for successfully before.
    pub(super) fn check_responding(&self, limit: Duration) -> Result<(), ExecuteError> {
        if self.is_stuck.load(Ordering::Acquire) {
            return Err(ExecuteError::NotResponding { limit_s: limit.as_secs() });
        }
        Ok(())
    }

    /// Runs `work`. A browser tells errors later than a scope could be asked for them, so the owner's error handler has them.
    #[cfg(target_arch = "wasm32")]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "the signature elsewhere")]
    pub(super) fn scoped<T>(&self, work: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
        Ok(work())
    }

    /// Runs `work` and returns the errors that it caused on the device, without calling the error handler of the
    /// device's owner.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn scoped<T>(&self, work: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
        let scopes =
            [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory]
                .map(|filter| self.device.push_error_scope(filter));
        let value = work();
        // Scopes end in the reverse order of their beginning; native backends know the errors of a scope at its end.
        let mut context = std::task::Context::from_waker(Waker::noop());
        let [internal, validation, memory] = scopes;
        let errors = [memory, validation, internal].map(|scope| match pin!(scope.pop()).poll(&mut context) {
            Poll::Ready(error) => error,
            Poll::Pending => None,
        });
        match errors.into_iter().flatten().next() {
            Some(error) => Err(error),
            None => Ok(value),
        }
    }

    /// A buffer, or [`ExecuteError::OutOfMemory`].
    pub(super) fn buffer(
        &self,
        what: &'static str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, GpuError> {
        self.buffer_with(what, bytes, usage, false)
    }

    /// A buffer of the host's memory that is mapped for writing, or [`ExecuteError::OutOfMemory`].
    pub(super) fn upload_buffer(&self, what: &'static str, bytes: u64) -> Result<wgpu::Buffer, GpuError> {
        self.buffer_with(what, bytes, wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC, true)
    }

    fn buffer_with(
        &self,
        what: &'static str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        mapped_at_creation: bool,
    ) -> Result<wgpu::Buffer, GpuError> {
        let limit = self.summary.limits.max_buffer_bytes;
        if bytes > limit {
            return Err(ExecuteError::OutOfMemory { what, bytes }.into());
        }
        let size = bytes.next_multiple_of(16).max(16);
        let descriptor = wgpu::BufferDescriptor { label: Some(what), size, usage, mapped_at_creation };
        self.scoped(|| self.device.create_buffer(&descriptor))
            .map_err(|_| ExecuteError::OutOfMemory { what, bytes }.into())
    }
}
