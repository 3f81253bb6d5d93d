//! All executors, for tests that loop over them.

use tagwave::executor::Executor;
use tagwave::gpu::Context;
use tagwave::plan::Plan;
use tagwave::{cpu, gpu};

/// Factory of executors: the CPU with one thread, with three threads, and with Winograd for every convolution, then the
/// adapter if there is one, with checked shaders and with the unchecked ones of release builds.
pub struct Maker {
    pub name: &'static str,
    make: Make,
}

/// Makes an executor of a plan for batches of at most so many clips.
type Make = Box<dyn Fn(&Plan, usize) -> Box<dyn Executor>>;

impl Maker {
    pub fn make(&self, plan: &Plan, max_batch: usize) -> Box<dyn Executor> {
        (self.make)(plan, max_batch)
    }
}

pub fn makers(gpu: Option<Context>) -> Vec<Maker> {
    let cpu = |threads: usize, convolution: Option<cpu::Convolution>| {
        move |plan: &Plan, max_batch: usize| {
            let options =
                cpu::Options { threads: Some(threads), max_batch, convolution, ..Default::default() };
            Box::new(cpu::Executor::new(plan, &options).unwrap()) as Box<dyn Executor>
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
                Box::new(gpu::Executor::new(&gpu, plan, &options).unwrap()) as Box<dyn Executor>
            };
            makers.push(Maker { name, make: Box::new(make) });
        }
    }
    makers
}
