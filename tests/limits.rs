//! Devices with small limits: each limit that is exceeded is an error that names it, never a panic.
#![cfg(all(feature = "cpu", feature = "gpu", feature = "small"))]

mod common;

use tagwave::gpu::{Context, Executor, GpuError, Options};
use tagwave::kernels::{DispatchError, KernelConfig, Limits, Operation};
use tagwave::tensor::{DType, HostTensor};
use tagwave::test_cases;
use tagwave::wgpu;

/// Minimum limits of WebGPU, each reduced to `value` in turn, with its name.
fn cut_down(value: u32) -> Vec<(&'static str, Limits)> {
    let (least, wide) = (Limits::default(), u64::from(value));
    let all = Limits { f16: true, subgroup: Some([32, 32]), subgroup_ids: true, ..least.clone() };
    let all = Limits { matrices: vec![8, 16], max_shared_bytes: 48 << 10, ..all };
    vec![
        ("workgroups per axis", Limits { max_workgroups_per_axis: value, ..all.clone() }),
        ("threads", Limits { max_workgroup_threads: value, ..all.clone() }),
        ("workgroup memory", Limits { max_shared_bytes: value, ..all.clone() }),
        ("storage buffers", Limits { max_storage_buffers: value, ..all.clone() }),
        ("binding bytes", Limits { max_binding_bytes: wide, ..all.clone() }),
        ("buffer bytes", Limits { max_buffer_bytes: wide, ..all.clone() }),
        ("subgroup", Limits { subgroup: Some([value, value]), ..all.clone() }),
        ("matrices", Limits { matrices: vec![value], ..all.clone() }),
    ]
}

/// A kernel configuration, and the same without each of its constants.
fn crippled(config: KernelConfig) -> Vec<KernelConfig> {
    let zeroed = config.constants().filter_map(|(name, _)| config.with(name, 0));
    let huge = config.constants().filter_map(|(name, _)| config.with(name, u32::MAX));
    let bare = KernelConfig::new(config.kernel(), &[]);
    [config, bare].into_iter().chain(zeroed).chain(huge).collect()
}

#[test]
fn no_limit_makes_a_kernel_panic() {
    let cases: Vec<_> = test_cases::all()
        .into_iter()
        .filter(|case| case.inputs[0].data().len() < 1 << 20)
        .flat_map(|case| [case.stored_as(DType::F16), case])
        .collect();
    let mut runs = 0;
    for (name, limits) in [0, 1].into_iter().flat_map(cut_down) {
        for limits in [true, false].map(|software| Limits { software, ..limits.clone() }) {
            for case in &cases {
                let step = &case.plan.steps()[0];
                let shapes = case.plan.shapes(step);
                let call = case.plan.call(step, &shapes);
                let own = step.op.configs(&call, &limits);
                let elsewhere = step.op.configs(&call, &Limits::default());
                let configs = [own, elsewhere, vec![KernelConfig::new("unknown", &[])]].concat();
                let weights: Vec<&HostTensor> =
                    step.weights.iter().filter_map(|&id| case.plan.weight(id).map(|w| &**w)).collect();
                for config in configs.into_iter().flat_map(crippled) {
                    runs += 1;
                    let Ok(dispatch) = step.op.dispatch(&call, config, &limits) else { continue };
                    let what = format!("{} ({config}), {name}", case.name);
                    let most = limits.max_workgroups_per_axis;
                    assert!(dispatch.workgroups.iter().all(|&count| (1..=most).contains(&count)), "{what}");
                    assert!(dispatch.kernel.bindings.len() <= limits.max_storage_buffers as usize, "{what}");
                    if config.constants().all(|(_, value)| value < 1 << 10) {
                        let packed = step.op.pack(&call, config, &weights);
                        step.op.max_index(&call, config, &packed);
                    }
                }
            }
        }
    }
    println!("{runs} runs");
}

/// A device with limits of the caller's choice, on the first adapter; `None` without one.
fn device(limits: impl FnOnce(wgpu::Limits) -> wgpu::Limits) -> Option<Context> {
    common::gpu()?;
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let instance = wgpu::Instance::new(descriptor);
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = adapters.into_iter().next()?;
    let required_limits = limits(wgpu::Limits::defaults());
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    Some(Context::from_device(device, queue))
}

/// Result of each test case on a device, without the large ones.
fn errors(gpu: &Context) -> Vec<(String, GpuError)> {
    let cases = test_cases::all().into_iter().filter(|case| case.inputs[0].data().len() < 1 << 12);
    let tried = cases.filter_map(|case| {
        let error = Executor::new(gpu, &case.plan, &Options::default()).err()?;
        Some((case.name, error))
    });
    tried.collect()
}

#[test]
fn a_device_without_compute_shaders_is_refused_by_its_limit() {
    let Some(gpu) = device(|_| wgpu::Limits::downlevel_webgl2_defaults()) else { return };
    let errors = errors(&gpu);
    assert!(!errors.is_empty());
    for (name, error) in errors {
        let text = error.to_string();
        assert!(matches!(error, GpuError::Dispatch { .. }), "{name}: {text}");
        let named = ["workgroups", "storage buffers", "threads", "workgroup memory", "bytes"];
        assert!(named.iter().any(|word| text.contains(word)), "{name}: {text}");
    }
}

#[test]
fn four_storage_buffers_are_too_few_for_some_kernels() {
    let Some(gpu) = device(|limits| wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..limits })
    else {
        return;
    };
    let errors = errors(&gpu);
    assert!(errors.iter().any(|(name, _)| name.starts_with("log_mel")));
    for (name, error) in errors {
        let GpuError::Dispatch { source, .. } = &error else { panic!("{name}: {error}") };
        let is_named = matches!(source, DispatchError::Unsupported { what: "storage buffers", has: 4, .. });
        assert!(is_named, "{name}: {error}");
    }
}
