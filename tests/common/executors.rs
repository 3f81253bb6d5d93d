//! All executors, for tests that loop over them.

use tagwave::gpu::Gpu;
use tagwave::plan::Plan;
use tagwave::tensor::HostTensor;
use tagwave::{cpu, gpu};

/// An executor of a plan.
pub enum Executor {
    Gpu(Box<gpu::Executor>),
    Cpu(Box<cpu::Executor>),
}

impl Executor {
    pub fn run(&self, inputs: &[HostTensor]) -> Vec<HostTensor> {
        match self {
            Executor::Gpu(executor) => executor.run(inputs).unwrap(),
            Executor::Cpu(executor) => executor.run(inputs).unwrap(),
        }
    }
}

/// Factory of executors: the CPU with one thread, with three threads, and with Winograd for every convolution, then the
/// adapter if there is one, with checked shaders and with the unchecked ones of release builds.
pub struct Maker {
    pub name: &'static str,
    make: Make,
}

/// Makes an executor of a plan for batches of at most so many clips.
type Make = Box<dyn Fn(&Plan, usize) -> Executor>;

impl Maker {
    pub fn make(&self, plan: &Plan, max_batch: usize) -> Executor {
        (self.make)(plan, max_batch)
    }
}

pub fn makers(gpu: Option<Gpu>) -> Vec<Maker> {
    let cpu = |threads: usize, convolution: Option<cpu::Convolution>| {
        move |plan: &Plan, max_batch: usize| {
            let options =
                cpu::Options { threads: Some(threads), max_batch, convolution, ..Default::default() };
            Executor::Cpu(Box::new(cpu::Executor::new(plan, &options).unwrap()))
        }
    };
    let mut makers = vec![
        Maker { name: "cpu", make: Box::new(cpu(1, None)) },
        Maker { name: "cpu, three threads", make: Box::new(cpu(3, None)) },
        Maker { name: "cpu, winograd", make: Box::new(cpu(2, Some(cpu::Convolution::Winograd))) },
    ];
    if let Some(gpu) = gpu {
        for (name, checked) in [("gpu", true), ("gpu, unchecked", false)] {
            let gpu = gpu.clone();
            let make = move |plan: &Plan, max_batch: usize| {
                let options = gpu::Options { max_batch, checked, ..Default::default() };
                Executor::Gpu(Box::new(gpu::Executor::new(&gpu, plan, &options).unwrap()))
            };
            makers.push(Maker { name, make: Box::new(make) });
        }
    }
    makers
}
