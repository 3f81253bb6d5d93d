//! Every kernel on a device of the browser against its reference implementation.

use std::collections::VecDeque;

use tagwave::cpu;
use tagwave::executor::{Executor as _, Inputs};
use tagwave::gpu::{self, Context};
use tagwave::kernels::KernelConfig;
use tagwave::reference;
use tagwave::tensor::HostTensor;
use tagwave::test_cases::{self, TestCase};
use wasm_bindgen::prelude::*;

use crate::device::{DeviceErrors, Gpu};
use crate::error::{js_failure, message_of};

/// Inputs of a large test case.
pub(crate) const LARGE: usize = 1 << 18;

/// Checks that are left.
#[wasm_bindgen]
pub struct Selftest {
    /// The device and its errors; `None` for the CPU.
    gpu: Option<(Context, DeviceErrors)>,
    checks: VecDeque<(TestCase, Option<KernelConfig>)>,
    is_software: bool,
}

#[wasm_bindgen]
impl Selftest {
    /// Opens `webgpu` or `cpu`; `quick` for one configuration of each test case, and no large ones.
    pub async fn create(device: String, quick: bool) -> Result<Selftest, JsValue> {
        let mut is_software = false;
        let gpu = match device.as_str() {
            "cpu" => None,
            _ => {
                let gpu = Gpu::find().await.map_err(|reason| js_failure("device", &reason))?;
                is_software = gpu.is_software;
                Some((gpu.context(), gpu.errors))
            }
        };
        let configs = |case: &TestCase| match &gpu {
            Some((context, _)) => case.configs(&context.summary().limits).into_iter().map(Some).collect(),
            // The CPU runs clips that depend on each other one at a time.
            None if case.plan.depends_on_batch() && case.plan.batch() > 1 => Vec::new(),
            None => vec![None],
        };
        let cases =
            test_cases::all().into_iter().filter(|case| !quick || case.inputs[0].data().len() < LARGE);
        let checks = cases.flat_map(|case| {
            let configs: Vec<Option<KernelConfig>> = configs(&case);
            configs
                .into_iter()
                .take(if quick { 1 } else { usize::MAX })
                .map(move |config| (case.clone(), config))
                .collect::<Vec<_>>()
        });
        Ok(Selftest { checks: checks.collect(), is_software, gpu })
    }

    /// Number of checks that are left.
    pub fn left(&self) -> usize {
        self.checks.len()
    }

    /// Runs the next check; `undefined` after the last one. The line begins with `ok`, `FAILED` or
    /// `not run`.
    pub async fn next(&mut self) -> Option<String> {
        let (case, config) = self.checks.pop_front()?;
        let kernel = config.map(|config| format!(" [{config:?}]")).unwrap_or_default();
        let name = format!("{}{kernel}", case.name);
        // Unrolled to thousands of lines, for drivers that lack registers.
        if self.is_software && config.is_some_and(|config| config.kernel() == "conv2d_direct") {
            return Some(format!("not run  {name}: the compiler of the software driver takes minutes"));
        }
        Some(match self.run(&case, config).await {
            Err(message) => format!("FAILED   {name}: {message}"),
            Ok((found, expected)) => match case.compare(&found, &expected) {
                difference if difference.within => format!("ok       {name}: {:.1e}", difference.largest),
                difference => format!("FAILED   {name}: {difference}"),
            },
        })
    }
}

impl Selftest {
    /// Output of a kernel, and that of the reference implementation.
    async fn run(
        &self,
        case: &TestCase,
        config: Option<KernelConfig>,
    ) -> Result<(HostTensor, HostTensor), String> {
        let mut expected = reference::run(&case.plan, &case.inputs).map_err(|error| error.to_string())?;
        let inputs = Inputs::from(&case.inputs);
        let submitted = match &self.gpu {
            Some((context, _)) => {
                let options = gpu::Options { max_batch: case.plan.batch(), config, ..Default::default() };
                let executor =
                    gpu::Executor::new(context, &case.plan, &options).map_err(|error| error.to_string())?;
                executor.submit(&inputs)
            }
            None => {
                let options =
                    cpu::Options { threads: Some(1), max_batch: case.plan.batch(), ..Default::default() };
                let executor = cpu::Executor::new(&case.plan, &options).map_err(|error| error.to_string())?;
                executor.submit(&inputs)
            }
        };
        let found = submitted.map_err(|error| error.to_string())?.await;
        if let Some((_, errors)) = &self.gpu {
            errors.check("device").map_err(|error| message_of(&error))?;
        }
        let mut found = found.map_err(|error| error.to_string())?.tensors;
        match (found.is_empty(), expected.is_empty()) {
            (false, false) => Ok((found.swap_remove(0), expected.swap_remove(0))),
            _ => Err("no output".into()),
        }
    }
}
