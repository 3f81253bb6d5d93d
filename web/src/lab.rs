//! Kernel laboratory: a user's kernel is checked against the reference implementation, then timed beside the built-in ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use js_sys::Promise;
use tagwave::error::Error;
use tagwave::executor::{Executor as _, Inputs};
use tagwave::gpu::{Context, Executor, Options};
use tagwave::kernels::{KernelConfig, Kernels, Operation, UserKernel, UserKernelError};
use tagwave::lab::{Bench, Layer, contract, forced, kernel_names, layers, template};
use tagwave::tensor::{DType, HostTensor};
use tagwave::test_cases::{self, TestCase, compare_output};
use tagwave::{models, reference};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_time::Instant;

use crate::device::Gpu;
use crate::error::{js_error, js_failure};
use crate::selftest::LARGE;

/// Time that the runs of one submission should take, so that the wait for its end counts little.
const SUBMISSION_TIME: Duration = Duration::from_millis(40);
/// Runs of one submission, at most.
const MOST_RUNS: u32 = 4096;
/// Timed submissions.
const SUBMISSIONS: usize = 7;

/// Names for records.
struct RecordNames {
    adapter: String,
    vendor: String,
    browser: String,
}

/// A device for trying kernels.
#[wasm_bindgen]
pub struct KernelLab {
    gpu: Gpu,
    context: Context,
    names: RecordNames,
    /// Checks of the last kernel that are left.
    checks: VecDeque<(TestCase, UserKernel)>,
}

#[wasm_bindgen]
impl KernelLab {
    /// Opens the GPU. `adapter`, `vendor` and `browser` are named in records.
    pub async fn create(adapter: String, vendor: String, browser: String) -> Result<KernelLab, JsValue> {
        let gpu = Gpu::find().await.map_err(|reason| js_failure("device", &reason))?;
        let context = gpu.context();
        let names = RecordNames { adapter, vendor, browser };
        Ok(KernelLab { gpu, context, names, checks: VecDeque::new() })
    }

    /// Names of the built-in kernels.
    #[wasm_bindgen(js_name = kernelNames)]
    pub fn kernel_names(&self) -> Vec<String> {
        kernel_names().into_iter().map(String::from).collect()
    }

    /// A kernel's text with its contract.
    pub fn template(&self, name: &str) -> Option<String> {
        template(name)
    }

    /// Names of the layers of the models that a kernel can run.
    pub fn layers(&self, source: &str) -> Result<Vec<String>, JsValue> {
        let (kernel, op) = parsed(source)?;
        let fits = |layer: &Layer| {
            layer.op().name() == op && layer.is_run_by(&kernel, &self.context.summary().limits)
        };
        Ok(all_layers()?.into_iter().filter(fits).map(|layer| layer.name).collect())
    }

    /// Begins the checks of a kernel, and returns their number.
    #[wasm_bindgen(js_name = beginChecks)]
    pub fn begin_checks(&mut self, source: &str) -> Result<usize, JsValue> {
        let (kernel, op) = parsed(source)?;
        let limits = &self.context.summary().limits;
        let runs = |case: &TestCase| {
            let step = &case.plan.steps()[0];
            let call_shapes = case.plan.shapes(step);
            let call = case.plan.call(step, &call_shapes);
            step.op.name() == op
                && case.inputs[0].data().len() < LARGE
                && matches!(kernel.dispatch(&step.op, &call, limits), Some(Ok(_)))
        };
        let cases = test_cases::all().into_iter().filter(runs);
        self.checks = cases.map(|case| (case, kernel.clone())).collect();
        match self.checks.len() {
            0 => Err(js_failure(
                "input",
                &format!("no test case of {op} runs with this kernel on this device"),
            )),
            count => Ok(count),
        }
    }

    /// Runs the next check; `undefined` after the last one. The line begins with `ok`; a wrong result is an error.
    #[wasm_bindgen(js_name = nextCheck)]
    pub async fn next_check(&mut self) -> Result<Option<String>, JsValue> {
        let Some((case, kernel)) = self.checks.pop_front() else { return Ok(None) };
        let expected = reference::run(&case.plan, &case.inputs).map_err(failed)?;
        let options = options(kernel, case.plan.batch());
        let found = self.output(&case.plan, &case.inputs, &options).await?;
        let difference = case.compare(&found, &expected[0]);
        if !difference.within {
            return Err(js_failure("kernel", &format!("{}: {difference}", case.name)));
        }
        Ok(Some(format!("ok  {}: {:.1e}", case.name, difference.largest)))
    }

    /// Times a kernel on a layer beside the built-in ones: records as JSON lines, that of the kernel first. Its results are
    /// compared with those of the default kernel.
    pub async fn time(&self, source: &str, layer: &str) -> Result<Vec<String>, JsValue> {
        let (kernel, _) = parsed(source)?;
        let contract = kernel.contract.clone();
        let Some(layer) = all_layers()?.into_iter().find(|known| known.name == layer) else {
            return Err(js_failure("input", &format!("{layer}: no such layer")));
        };
        let bench = Bench::new(&self.context, &layer, 1).map_err(failed)?;
        let plan = layer.plan.with_batch(1);
        let inputs: Vec<HostTensor> =
            plan.inputs().iter().map(|&id| test_cases::fill(plan.tensors()[id].shape, 3)).collect();
        let configs = bench.configs();
        let Some(&default) = configs.first() else { return Err(js_failure("input", "no built-in kernel")) };
        let expected = self.output(&plan, &inputs, &forced(default, 1)).await?;
        let own = options(kernel, 1);
        let mut lines = Vec::new();
        for options in [own].into_iter().chain(self.beside(&configs)) {
            let found = self.output(&plan, &inputs, &options).await?;
            let difference = compare_output(&plan, &found, &expected);
            if !difference.within {
                return Err(js_failure("kernel", &format!("{}: {difference}", layer.name)));
            }
            let prepared = bench.trial().prepare(&options).map_err(failed)?;
            let times = self.times(&bench, &prepared).await?;
            let found = bench.measurement(&prepared, difference.largest, times);
            let mut record = found.record(self.context.summary(), &layer.name, 1, DType::F32);
            let RecordNames { adapter, vendor, browser } = &self.names;
            record["timer"] = "submission".into();
            record["adapter"] = adapter.as_str().into();
            record["vendor"] = vendor.as_str().into();
            record["driver"] = browser.as_str().into();
            record["software"] = self.gpu.is_software.into();
            if let Some(fields) = record.as_object_mut().filter(|_| lines.is_empty()) {
                // Not one of the project's, so its time chooses none of them.
                fields.remove("kernel");
                fields.insert("user_kernel".into(), contract.clone().into());
                fields.insert("default".into(), false.into());
            }
            lines.push(record.to_string());
        }
        Ok(lines)
    }
}

impl KernelLab {
    /// The built-in configurations to time: the default and one of each other kernel.
    fn beside(&self, configs: &[KernelConfig]) -> Vec<Options> {
        let mut names: Vec<&str> = Vec::new();
        let mut found = Vec::new();
        for config in configs {
            // Its compilation takes minutes there.
            let is_slow = self.gpu.is_software && config.kernel() == "conv2d_direct";
            if !is_slow && !names.contains(&config.kernel()) {
                names.push(config.kernel());
                found.push(forced(*config, 1));
            }
        }
        found
    }

    /// First output of a plan; errors of the browser come before those of the library, which follow from them.
    async fn output(
        &self,
        plan: &tagwave::plan::Plan,
        inputs: &[HostTensor],
        options: &Options,
    ) -> Result<HostTensor, JsValue> {
        let executor = Executor::new(&self.context, plan, options).map_err(failed)?;
        let submitted = executor.submit(&Inputs::from(inputs)).map_err(failed)?;
        let found = submitted.await;
        self.gpu.errors.check("kernel")?;
        let mut tensors = found.map_err(failed)?.tensors;
        if tensors.is_empty() { Err(js_failure("internal", "no output")) } else { Ok(tensors.swap_remove(0)) }
    }

    /// Times of a run, each the mean over the runs of a submission.
    async fn times(
        &self,
        bench: &Bench,
        prepared: &tagwave::gpu::Prepared,
    ) -> Result<Vec<Duration>, JsValue> {
        self.elapsed(bench, prepared, 1).await?;
        let mut runs = 1;
        while runs < MOST_RUNS && self.elapsed(bench, prepared, runs).await? < SUBMISSION_TIME {
            runs *= 2;
        }
        let mut times = Vec::new();
        for _ in 0..SUBMISSIONS {
            times.push(self.elapsed(bench, prepared, runs).await? / runs);
        }
        Ok(times)
    }

    async fn elapsed(
        &self,
        bench: &Bench,
        prepared: &tagwave::gpu::Prepared,
        runs: u32,
    ) -> Result<Duration, JsValue> {
        let start = Instant::now();
        bench.trial().submit(prepared, runs as usize).map_err(failed)?;
        let done = Promise::new(&mut |resolve, _| {
            self.gpu.queue().on_submitted_work_done(move || {
                let _ = resolve.call0(&JsValue::NULL);
            });
        });
        JsFuture::from(done).await?;
        let elapsed = start.elapsed();
        self.gpu.errors.check("device")?;
        Ok(elapsed)
    }
}

/// A kernel and the name of its op.
fn parsed(source: &str) -> Result<(UserKernel, String), JsValue> {
    let kernel = UserKernel::parse("kernel", source).map_err(|error| input_error(&error))?;
    let Some((op, built_in)) = contract(&kernel.contract) else {
        let message =
            format!("unknown contract {}: expected one of {}", kernel.contract, kernel_names().join(", "));
        return Err(js_failure("input", &message));
    };
    kernel.check_bindings(built_in.source).map_err(|error| input_error(&error))?;
    Ok((kernel, op))
}

fn options(kernel: UserKernel, max_batch: usize) -> Options {
    let own = Kernels { user_kernels: vec![Arc::new(kernel)], ..Kernels::default() };
    Options { kernels: Some(Arc::new(own)), max_batch, ..Options::default() }
}

fn all_layers() -> Result<Vec<Layer>, JsValue> {
    layers(&models::all(), DType::F32).map_err(failed)
}

fn input_error(error: &UserKernelError) -> JsValue {
    js_failure("input", &error.to_string())
}

fn failed(error: impl Into<Error>) -> JsValue {
    js_error(&error.into())
}
