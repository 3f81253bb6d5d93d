//! Checking and timing of a layer at one batch size.

use std::time::Duration;

use serde_json::{Value, json};

use super::Layer;
use crate::error::{Cause, Error};
use crate::executor::blocking::Run;
use crate::gpu::{AdapterSummary, Context, Executor, Options, Prepared, Trial};
use crate::kernels::{KernelConfig, LayerKey, Op, Operation};
use crate::plan::Plan;
use crate::reference;
use crate::tensor::{DType, HostTensor};
use crate::test_cases::{self, Difference, compare_output};

/// Number of different clips in a batch; they are repeated.
const CLIPS: usize = 2;
/// Number of sampled outputs that are compared with the reference implementation.
const SAMPLES: usize = 4096;
/// Maximum number of compared clips of a batch; a large batch is read back in part.
const COMPARED: usize = 16;

/// Maximum time of a dispatch on hardware, which may drive a desktop.
pub const LONGEST: Duration = Duration::from_millis(100);

/// A layer with its tensors on a device.
#[derive(Debug)]
pub struct Bench {
    gpu: Context,
    op: Op,
    trial: Trial,
    batch: usize,
    clips: Plan,
    /// Row-major indices in the output of [`CLIPS`] clips.
    samples: Vec<usize>,
    expected: Vec<f32>,
    flops: u64,
    activation_bytes: u64,
    key: LayerKey,
}

/// Measurement of a kernel.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Kernel name and constants.
    pub config: KernelConfig,
    /// Name of the built-in kernel.
    pub kernel: &'static str,
    /// Median time of a run.
    pub median: Duration,
    /// Shortest and longest run.
    pub range: [Duration; 2],
    /// Number of timed runs.
    pub runs: usize,
    /// Floating-point operations of a run, of the direct algorithm.
    pub flops: u64,
    /// Minimum number of bytes read and written by a run: inputs, weights, output.
    pub bytes: u64,
    /// Largest difference from the reference implementation over the sampled outputs.
    pub error: f32,
    /// Key of the layer in a [`crate::kernels::TuningTable`].
    pub layer: LayerKey,
    /// True if this is the default configuration.
    pub default: bool,
}

impl Measurement {
    /// Floating-point operations per second, in units of 10^9.
    pub fn gflops(&self) -> f64 {
        self.flops as f64 / self.median.as_secs_f64() / 1e9
    }

    /// Bytes per second, in units of 10^9.
    pub fn gbytes(&self) -> f64 {
        self.bytes as f64 / self.median.as_secs_f64() / 1e9
    }

    /// Line of a record under benches/records, without the device's peaks.
    pub fn record(&self, adapter: &AdapterSummary, layer: &str, batch: usize, precision: DType) -> Value {
        let ms = |time: Duration| 1e3 * time.as_secs_f64();
        json!({
            "adapter": adapter.name, "driver": adapter.driver, "software": adapter.limits.software,
            "vendor": adapter.limits.vendor.name(),
            "layer": layer, "key": self.layer.to_string(), "batch": batch, "precision": precision.to_string(),
            "kernel": self.config.to_string(), "default": self.default,
            "median_ms": ms(self.median), "least_ms": ms(self.range[0]), "most_ms": ms(self.range[1]),
            "runs": self.runs, "gflops": self.gflops(), "gbytes": self.gbytes(), "error": self.error,
        })
    }
}

impl Bench {
    /// Uploads synthetic inputs for batches of `batch` clips, and computes a sample of the outputs with the reference
    /// implementation.
    ///
    /// # Errors
    /// [`Cause::Gpu`] if the batch does not fit the device.
    pub fn new(gpu: &Context, layer: &Layer, batch: usize) -> Result<Bench, Error> {
        let plan = layer.plan.with_batch(batch);
        let clips = layer.plan.with_batch(CLIPS.min(batch));
        let inputs: Vec<HostTensor> = clips
            .inputs()
            .iter()
            .enumerate()
            .map(|(place, &id)| paint_input(clips.tensors()[id].shape, place))
            .collect();
        let trial = Trial::new(gpu, &plan, &inputs)?;
        let len = clips.tensors()[clips.steps()[0].output].shape.len();
        // A stride coprime to all extents visits all parts of the output.
        let samples: Vec<usize> =
            (0..SAMPLES.min(len)).map(|sample| (sample * 1_000_003 + 17) % len).collect();
        let expected = reference::sampled(&clips, &inputs, &samples)?;
        let step = &plan.steps()[0];
        let shapes = plan.shapes(step);
        let activations = step.inputs.iter().chain([&step.output]).map(|&id| {
            let tensor = &plan.tensors()[id];
            (tensor.shape.stored_len() * tensor.dtype.size()) as u64
        });
        Ok(Bench {
            gpu: gpu.clone(),
            op: step.op.clone(),
            trial,
            batch,
            samples,
            expected,
            flops: step.op.flops(&plan.call(step, &shapes)),
            key: LayerKey::new(&step.op, &plan.call(step, &shapes)),
            activation_bytes: activations.sum(),
            clips,
        })
    }

    /// Built-in configurations for this layer, the default first.
    pub fn configs(&self) -> Vec<KernelConfig> {
        configs(&self.gpu, &self.clips.with_batch(self.batch))
    }

    /// Compiles a kernel, runs it once and compares its output with the reference implementation.
    ///
    /// # Errors
    /// [`Cause::Gpu`] if it does not run, [`Cause::Kernel`] if results are wrong.
    pub fn check(&self, options: &Options) -> Result<(Prepared, f32), Error> {
        let prepared = self.trial.prepare(options)?;
        self.trial.clear()?;
        self.trial.time(&prepared, 1)?;
        let (mut places, mut found, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        // All clips of a small batch; a sample of a large one.
        let compared = self.batch.min(COMPARED);
        for turn in 0..compared {
            let clip = turn * (self.batch - 1) / (compared - 1).max(1);
            let output = self.trial.output(clip)?;
            let len = output.data().len();
            for (&place, &value) in self.samples.iter().zip(&self.expected) {
                if place / len == clip % self.clips.batch() {
                    places.push(place);
                    found.push(output.data()[place % len]);
                    expected.push(value);
                }
            }
        }
        let tensor = |data| HostTensor::new([places.len()], data).map_err(Error::from);
        let mut difference = compare_output(&self.clips, &tensor(found)?, &tensor(expected)?);
        difference.index = places[difference.index];
        difference.shape = self.clips.tensors()[self.clips.steps()[0].output].shape;
        if difference.within {
            Ok((prepared, difference.largest))
        } else {
            Err(disagrees(&prepared.config, self.op.name(), difference))
        }
    }

    /// Times a checked kernel for about `budget`, with at least three and at most `most` runs.
    ///
    /// # Errors
    /// [`Cause::Gpu`] from the device.
    pub fn time(
        &self,
        (prepared, error): &(Prepared, f32),
        budget: Duration,
        most: usize,
    ) -> Result<Measurement, Error> {
        let first = self.trial.time(prepared, 1)?[0];
        let runs = (budget.as_secs_f64() / first.as_secs_f64().max(1e-6)) as usize;
        let runs = runs.clamp(3, most.max(3));
        // Short runs share a submission.
        let together = (0.05 / first.as_secs_f64().max(1e-6)).clamp(1.0, 256.0) as usize;
        let mut times = Vec::new();
        while times.len() < runs {
            times.extend(self.trial.time(prepared, together.min(runs - times.len()))?);
        }
        Ok(self.measurement(prepared, *error, times))
    }

    /// The tensors on the device, for callers that may not wait.
    pub fn trial(&self) -> &Trial {
        &self.trial
    }

    /// Describes a checked kernel by the times of its runs, of which there is at least one.
    pub fn measurement(&self, prepared: &Prepared, error: f32, mut times: Vec<Duration>) -> Measurement {
        times.sort();
        Measurement {
            config: prepared.config,
            kernel: prepared.kernel,
            median: times.get(times.len() / 2).copied().unwrap_or_default(),
            range: [times.first(), times.last()].map(|time| time.copied().unwrap_or_default()),
            runs: times.len(),
            flops: self.flops,
            bytes: self.activation_bytes + prepared.weight_bytes,
            error,
            default: self.configs().first() == Some(&prepared.config),
            layer: self.key.clone(),
        }
    }
}

/// Batch size for trying kernels of a layer, at most `batch`: limited on hardware so that the default kernel takes a
/// quarter of [`LONGEST`], and a kernel four times slower does not block a desktop.
///
/// # Errors
/// [`Cause::Gpu`] if one clip does not run.
pub fn unobtrusive_batch(gpu: &Context, layer: &Layer, batch: usize) -> Result<usize, Error> {
    if gpu.summary().limits.software || batch <= 1 {
        return Ok(batch);
    }
    let one = Bench::new(gpu, layer, 1)?;
    let checked = one.check(&Options { max_batch: 1, ..Options::default() })?;
    Ok(clips_within(LONGEST / 4, one.time(&checked, Duration::ZERO, 3)?.median, batch))
}

/// Number of clips that take at most `limit` in total, at least one and at most `batch`.
fn clips_within(limit: Duration, clip: Duration, batch: usize) -> usize {
    ((limit.as_secs_f64() / clip.as_secs_f64().max(1e-9)) as usize).clamp(1, batch.max(1))
}

/// Synthetic input; later inputs (deviations and variances) are positive.
fn paint_input(shape: crate::tensor::Shape, place: usize) -> HostTensor {
    let mut input = test_cases::fill(shape, 3 + place);
    if place > 0 {
        input.data_mut().iter_mut().for_each(|v| *v = v.abs() + 0.5);
    }
    input
}

fn disagrees(config: &KernelConfig, op: &'static str, difference: Difference) -> Error {
    Cause::Kernel { kernel: format!("{op} [{config}]"), difference: difference.to_string() }.into()
}

/// Runs all test cases of the op called `op` with all configurations of `kernel` (or any kernel, or the user kernel in
/// `options`), and compares the results with the reference implementation. Returns the number of test cases.
///
/// # Errors
/// [`Cause::Kernel`] for the first wrong result, [`Cause::Gpu`] if the kernel does not run.
pub fn check_test_cases(
    gpu: &Context,
    op: &str,
    kernel: Option<&str>,
    precision: DType,
    options: &Options,
) -> Result<usize, Error> {
    let mut checked = 0;
    for case in test_cases::all().iter().filter(|case| case.plan.steps()[0].op.name() == op) {
        let case = case.stored_as(precision);
        let step = &case.plan.steps()[0];
        let shapes = case.plan.shapes(step);
        let call = case.plan.call(step, &shapes);
        let limits = &gpu.summary().limits;
        let mut configs = step.op.configs(&call, limits);
        configs.retain(|&config| {
            let dispatch = step.op.dispatch(&call, config, limits);
            dispatch.is_ok_and(|dispatch| kernel.is_none_or(|kernel| dispatch.kernel.name == kernel))
        });
        let custom = options.kernels.iter().flat_map(|kernels| &kernels.user_kernels);
        match custom.into_iter().find_map(|custom| custom.dispatch(&step.op, &call, limits)) {
            // A user kernel has its own constants.
            Some(Ok(_)) => configs.truncate(1),
            // The user kernel does not support this test case.
            Some(Err(_)) => continue,
            None => {}
        }
        // The largest test cases are skipped: the reference implementation takes seconds.
        if configs.is_empty() || case.inputs[0].data().len() >= 1 << 20 {
            continue;
        }
        let expected = reference::run(&case.plan, &case.inputs)?;
        for config in configs {
            let options = Options { max_batch: case.plan.batch(), config: Some(config), ..options.clone() };
            let found = Executor::new(gpu, &case.plan, &options)?.run(&case.inputs)?;
            let difference = case.compare(&found[0], &expected[0]);
            if !difference.within {
                let kernel = format!("{} [{config}]", case.name);
                return Err(Cause::Kernel { kernel, difference: difference.to_string() }.into());
            }
        }
        checked += 1;
    }
    Ok(checked)
}

/// Built-in configurations for the only step of a plan, the default first.
pub fn configs(gpu: &Context, plan: &Plan) -> Vec<KernelConfig> {
    let step = &plan.steps()[0];
    let shapes = plan.shapes(step);
    let call = plan.call(step, &shapes);
    let mut configs = step.op.configs(&call, &gpu.summary().limits);
    let default = gpu.kernels().tuning.find(&LayerKey::new(&step.op, &call), &configs);
    if let Some(place) = default.and_then(|default| configs.iter().position(|&config| config == default)) {
        configs[..=place].rotate_right(1);
    }
    configs
}

/// Options that force one built-in configuration.
pub fn forced(config: KernelConfig, batch: usize) -> Options {
    Options { config: Some(config), max_batch: batch, ..Options::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_layers_are_tried_with_fewer_clips() {
        let within = |clip_ms: u64| clips_within(LONGEST / 4, Duration::from_millis(clip_ms), 8);
        assert_eq!([0, 1, 3, 5, 13, 25, 400].map(within), [8, 8, 8, 5, 1, 1, 1]);
    }
}
