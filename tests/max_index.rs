//! The stated largest index of every kernel, on the device: buffers are exactly that long, and around them lies poison.
//!
//! Before and after the values that a kernel may read lie NaNs, and around those that it may write a pattern that must
//! stay. A kernel that goes further than its host half states gives NaN, leaves outputs out, or destroys the pattern.
#![cfg(feature = "gpu")]

mod common;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use tagwave::gpu::AdapterSummary;
use tagwave::kernels::{Dispatch, KernelConfig, Limits, Operation, Packed, Role};
use tagwave::plan::Plan;
use tagwave::reference;
use tagwave::tensor::{DType, HostTensor, Shape, stored_channels};
use tagwave::test_cases::{self, TestCase};
use tagwave::wgpu;

/// Byte of the poison around inputs and weights: NaN in both storage types, and an index past every buffer.
const POISON: u8 = 0xff;
/// Byte around outputs: a number that no kernel writes.
const PATTERN: u8 = 0xa5;
/// Bytes before the values, a multiple of every alignment of bindings, and at least as many after them.
const GUARD: usize = 1 << 12;

/// A device with all features that kernels use, on the adapter of the other tests.
fn open(adapter: &AdapterSummary) -> (wgpu::Device, wgpu::Queue) {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let instance = wgpu::Instance::new(descriptor);
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let named = |info: wgpu::AdapterInfo| {
        info.name == adapter.name
            && info.device_pci_bus_id == adapter.pci_bus_id
            && info.backend.to_str() == adapter.backend
    };
    let found = adapters.into_iter().find(|found| named(found.get_info())).unwrap();
    let mut features = found.features() & (wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP);
    let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
    if !adapter.limits.matrices.is_empty() {
        features |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        // SAFETY: needed for the cooperative kernels alone, which are run on their test cases.
        experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
    }
    let request = found.request_device(&wgpu::DeviceDescriptor {
        required_features: features,
        required_limits: found.limits(),
        experimental_features,
        ..Default::default()
    });
    pollster::block_on(request).unwrap()
}

/// Calls `visit(logical index, stored index)` for every element of a tensor: channels last, padded.
fn each_stored(shape: Shape, mut visit: impl FnMut(usize, usize)) {
    let channels = shape.channels();
    let places = if shape.rank() == 4 { shape.extent(2) * shape.extent(3) } else { 1 };
    let stored = stored_channels(channels);
    for logical in 0..shape.len() {
        let (row, place) = (logical / places, logical % places);
        let (clip, channel) = (row / channels, row % channels);
        visit(logical, (clip * places + place) * stored + channel);
    }
}

fn bytes_of(values: &[f32], dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        DType::F16 => values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect(),
    }
}

fn stored_bytes(tensor: &HostTensor, dtype: DType) -> Vec<u8> {
    let mut stored = vec![0.0; tensor.shape().stored_len()];
    each_stored(tensor.shape(), |logical, place| stored[place] = tensor.data()[logical]);
    bytes_of(&stored, dtype)
}

/// Buffer of a binding: guard, values that the kernel may touch, guard.
struct Guarded {
    buffer: wgpu::Buffer,
    /// Bytes of the values that the kernel may touch.
    inside: usize,
}

impl Guarded {
    /// `bytes` cut to `inside` bytes; what is cut off becomes part of the poison.
    fn new(device: &wgpu::Device, bytes: &[u8], inside: usize, poison: u8) -> Guarded {
        let mut content = vec![poison; (2 * GUARD + bytes.len().max(inside)).next_multiple_of(16)];
        content[GUARD..GUARD + inside].copy_from_slice(&bytes[..inside]);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: content.len() as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        buffer.get_mapped_range_mut(..).unwrap().slice(..).copy_from_slice(&content);
        buffer.unmap();
        Guarded { buffer, inside }
    }

    fn binding(&self, reach: Reach) -> wgpu::BindingResource<'_> {
        let size = match reach {
            Reach::Exact => self.inside.next_multiple_of(4) as u64,
            Reach::PastTheEnd => self.buffer.size() - GUARD as u64,
        };
        let size = wgpu::BufferSize::new(size);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: GUARD as u64,
            size,
        })
    }
}

/// Extent of the bindings.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reach {
    /// As long as the kernel states: further reads are cut by checks or by the driver.
    Exact,
    /// With the poison behind them, which a kernel that goes too far reads or overwrites.
    PastTheEnd,
}

/// Ways of running a kernel: with checks of indices or without, and the extent of its bindings.
const WAYS: [(bool, Reach); 3] = [(true, Reach::Exact), (false, Reach::Exact), (false, Reach::PastTheEnd)];

/// Compiled kernels by their text and constants: many test cases share one.
#[derive(Default)]
struct Pipelines(HashMap<(String, String, bool), wgpu::ComputePipeline>);

impl Pipelines {
    fn get(&mut self, device: &wgpu::Device, dispatch: &Dispatch, is_checked: bool) -> wgpu::ComputePipeline {
        let key = (dispatch.source(), format!("{:?}", dispatch.constants), is_checked);
        self.0.entry(key).or_insert_with(|| pipeline(device, dispatch, is_checked)).clone()
    }
}

fn pipeline(device: &wgpu::Device, dispatch: &Dispatch, is_checked: bool) -> wgpu::ComputePipeline {
    let source = dispatch.source();
    let module = wgpu::ShaderModuleDescriptor {
        label: Some(dispatch.kernel.name),
        source: wgpu::ShaderSource::Wgsl((&*source).into()),
    };
    let module = if is_checked {
        device.create_shader_module(module)
    } else {
        // SAFETY: the stated bounds of the kernel are inside its bindings, which is what this test is about; a kernel
        // that goes further reads and writes memory of the software driver's buffers.
        unsafe { device.create_shader_module_trusted(module, wgpu::ShaderRuntimeChecks::unchecked()) }
    };
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(dispatch.kernel.name),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &dispatch.constants,
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    })
}

/// Content of a buffer after the work that was submitted.
fn read(device: &wgpu::Device, readback: &wgpu::Buffer) -> Vec<u8> {
    let (sender, receiver) = mpsc::channel();
    readback.map_async(wgpu::MapMode::Read, .., move |result| sender.send(result).unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    receiver.recv().unwrap().unwrap();
    readback.get_mapped_range(..).unwrap().to_vec()
}

/// One configuration of a test case with its stated bounds.
struct Bounded<'a> {
    case: &'a TestCase,
    dispatch: Dispatch,
    packed: Vec<Packed>,
    bounds: Vec<usize>,
}

impl Bounded<'_> {
    /// Buffers of the kernel's bindings, in their order.
    fn buffers(&self, device: &wgpu::Device) -> Vec<Guarded> {
        let plan = &self.case.plan;
        let step = &plan.steps()[0];
        let bindings = self.dispatch.kernel.bindings.iter().zip(&self.bounds);
        let buffer = |role: Role, bound: usize| match role {
            Role::Input(index) => {
                let dtype = plan.tensors()[step.inputs[index]].dtype;
                let bytes = stored_bytes(&self.case.inputs[index], dtype);
                Guarded::new(device, &bytes, bound * dtype.size(), POISON)
            }
            Role::Weight(index) => {
                let (bytes, size) = match &self.packed[index] {
                    Packed::Element(values) => {
                        (bytes_of(values, self.dispatch.element), self.dispatch.element.size())
                    }
                    Packed::F32(values) => (bytes_of(values, DType::F32), 4),
                    Packed::U32(values) => (values.iter().flat_map(|value| value.to_le_bytes()).collect(), 4),
                };
                Guarded::new(device, &bytes, bound * size, POISON)
            }
            Role::Output => {
                let tensor = &plan.tensors()[step.output];
                // Not written yet is NaN.
                let bytes = vec![POISON; tensor.shape.stored_len() * tensor.dtype.size()];
                Guarded::new(device, &bytes, bound * tensor.dtype.size(), PATTERN)
            }
        };
        bindings.map(|(binding, &bound)| buffer(binding.role, bound)).collect()
    }

    /// Runs the kernel and returns the whole buffer of its output, with its guards.
    fn run(
        &self,
        (device, queue): &(wgpu::Device, wgpu::Queue),
        pipeline: &wgpu::ComputePipeline,
        reach: Reach,
    ) -> (Guarded, Vec<u8>) {
        let block = self.dispatch.params.bytes();
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let size = block.len() as u64;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let params = device.create_buffer(&descriptor);
        queue.write_buffer(&params, 0, &block);
        let mut buffers = self.buffers(device);
        let resources = buffers.iter().map(|buffer| buffer.binding(reach));
        let entries: Vec<_> = std::iter::once(params.as_entire_binding())
            .chain(resources)
            .enumerate()
            .map(|(slot, resource)| wgpu::BindGroupEntry { binding: slot as u32, resource })
            .collect();
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let roles = self.dispatch.kernel.bindings.iter().map(|binding| binding.role);
        let place = roles.into_iter().position(|role| role == Role::Output).unwrap();
        let output = buffers.swap_remove(place);
        let size = output.buffer.size();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let readback = device.create_buffer(&descriptor);
        let mut encoder = device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &bind_group, &[]);
            let [x, y, z] = self.dispatch.workgroups;
            pass.dispatch_workgroups(x, y, z);
        }
        encoder.copy_buffer_to_buffer(&output.buffer, 0, &readback, 0, size);
        queue.submit([encoder.finish()]);
        let content = read(device, &readback);
        (output, content)
    }

    /// Compares the output with the reference and its guards with the pattern; returns what is wrong.
    fn fault(&self, output: &Guarded, content: &[u8], expected: &HostTensor) -> Option<String> {
        let end = GUARD + output.inside;
        let overwritten = |&place: &usize| content[place] != PATTERN;
        if let Some(place) = (0..GUARD).chain(end..content.len()).find(overwritten) {
            let place = place as i64 - GUARD as i64;
            return Some(format!("wrote byte {place} of an output of {} bytes", output.inside));
        }
        let tensor = &self.case.plan.tensors()[self.case.plan.steps()[0].output];
        let size = tensor.dtype.size();
        let stored: Vec<f32> = content[GUARD..][..tensor.shape.stored_len() * size]
            .chunks_exact(size)
            .map(|bytes| match tensor.dtype {
                DType::F32 => f32::from_le_bytes(bytes.try_into().unwrap()),
                DType::F16 => half::f16::from_le_bytes(bytes.try_into().unwrap()).to_f32(),
            })
            .collect();
        // Padding channels of activations are read by the next kernel, whose weights for them are zero.
        let is_not_finite = |value: &f32| !value.is_finite();
        let activations = if tensor.shape.rank() == 4 { &stored[..output.inside / size] } else { &[] };
        if let Some(place) = activations.iter().position(is_not_finite) {
            return Some(format!("{} at stored value {place} of {}", stored[place], stored.len()));
        }
        let mut found = HostTensor::zeros(tensor.shape);
        each_stored(tensor.shape, |logical, place| found.data_mut()[logical] = stored[place]);
        let difference = self.case.compare(&found, expected);
        (!difference.within).then(|| difference.to_string())
    }
}

/// A configuration of a test case, or `None` if the device cannot run it.
fn bounded<'a>(case: &'a TestCase, config: KernelConfig, limits: &Limits) -> Option<Bounded<'a>> {
    let step = &case.plan.steps()[0];
    let shapes = case.plan.shapes(step);
    let call = case.plan.call(step, &shapes);
    let dispatch = step.op.dispatch(&call, config, limits).ok()?;
    let weights: Vec<&HostTensor> =
        step.weights.iter().filter_map(|&id| case.plan.weight(id).map(|weight| &**weight)).collect();
    let packed = step.op.pack(&call, config, &weights);
    let bounds = step.op.max_index(&call, config, &packed)?;
    Some(Bounded { case, dispatch, packed, bounds })
}

/// Names of the kernels of a plan of one step on a device with every feature.
fn kernels(plan: &Plan) -> Vec<&'static str> {
    let all = Limits {
        f16: true,
        subgroup: Some([32, 32]),
        subgroup_ids: true,
        matrices: vec![8, 16],
        max_shared_bytes: 48 << 10,
        ..Limits::default()
    };
    let step = &plan.steps()[0];
    let shapes = plan.shapes(step);
    let call = plan.call(step, &shapes);
    let names = [true, false].into_iter().flat_map(|software| {
        let limits = Limits { software, ..all.clone() };
        let configs = step.op.configs(&call, &limits);
        configs.into_iter().filter_map(move |config| {
            step.op.dispatch(&call, config, &limits).ok().map(|dispatch| dispatch.kernel.name)
        })
    });
    names.collect()
}

/// Test cases without the large ones, in both storage types.
fn cases(limits: &Limits) -> Vec<TestCase> {
    let small = test_cases::all().into_iter().filter(|case| case.inputs[0].data().len() < 1 << 20);
    small
        .flat_map(|case| {
            let half = limits.f16.then(|| case.stored_as(DType::F16));
            std::iter::once(case).chain(half)
        })
        .collect()
}

#[test]
fn kernels_stay_inside_buffers_of_their_stated_length() {
    let Some(gpu) = common::gpu() else { return };
    let native = &gpu.summary().limits;
    // Software drivers and hardware are given different configurations by default; each can run both.
    let limits = [native.clone(), Limits { software: !native.software, ..native.clone() }];
    let cases = cases(native);
    let results = Mutex::new((0, BTreeSet::new(), Vec::new()));
    let next = AtomicUsize::new(0);
    // A software driver compiles on one thread per device.
    let work = || {
        let (device, mut pipelines) = (open(gpu.summary()), Pipelines::default());
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let expected = reference::run(&case.plan, &case.inputs).unwrap();
            let configs = limits
                .iter()
                .flat_map(|limits| case.configs(limits).into_iter().map(move |config| (config, limits)));
            let mut tried = Vec::new();
            for (config, limits) in configs {
                if tried.contains(&config) {
                    continue;
                }
                tried.push(config);
                let Some(bounded) = bounded(case, config, limits) else { continue };
                for is_checked in [true, false] {
                    let pipeline = pipelines.get(&device.0, &bounded.dispatch, is_checked);
                    for (_, reach) in WAYS.into_iter().filter(|way| way.0 == is_checked) {
                        let (output, content) = bounded.run(&device, &pipeline, reach);
                        let fault = bounded.fault(&output, &content, &expected[0]);
                        let mut results = results.lock().unwrap();
                        results.0 += 1;
                        results.1.insert(bounded.dispatch.kernel.name);
                        if let Some(fault) = fault {
                            let way = if is_checked { "checked" } else { "unchecked" };
                            results.2.push(format!("{} ({config}), {way}, {reach:?}: {fault}", case.name));
                        }
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let (runs, reached, failures) = results.into_inner().unwrap();
    println!("{runs} runs of {} kernels", reached.len());
    for name in
        cases.iter().flat_map(|case| kernels(&case.plan)).collect::<BTreeSet<_>>().difference(&reached)
    {
        println!("{name}: not run on this adapter");
    }
    assert!(failures.is_empty(), "{} of {runs} failed:\n{}", failures.len(), failures.join("\n"));
}
