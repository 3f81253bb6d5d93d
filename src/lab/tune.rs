//! Finds the fastest strategy of each layer by trying.

use std::time::{Duration, Instant};

use super::measure::forced;
use super::{Bench, Layer, Measurement};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernels::{Choice, Strategy};

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The first strategy of each kernel, briefly.
    Quick,
    /// Every strategy.
    Full,
}

/// What was found for one layer.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The default's measurement.
    pub default: Measurement,
    /// The fastest one's.
    pub best: Measurement,
    /// Strategies that were timed.
    pub tried: usize,
}

/// Another strategy must be this much faster than the default to be taken: less is noise.
const GAIN: f64 = 1.03;

/// Times the strategies of each layer at `batch`, calling `progress` after each layer; stops looking when `budget`
/// is spent, with what it has. Strategies that disagree with the twin are left out.
///
/// # Errors
/// [`Error::Gpu`] when a layer's default does not run.
pub fn tune(
    gpu: &Gpu,
    layers: &[Layer],
    batch: usize,
    effort: Effort,
    budget: Duration,
    mut progress: impl FnMut(&Layer, &Tuned),
) -> Result<Choice, Error> {
    let end = Instant::now() + budget;
    let mut choice = Choice::none();
    for layer in layers {
        let bench = Bench::new(gpu, layer, batch)?;
        let strategies = candidates(&bench.strategies(), effort);
        if strategies.len() < 2 || Instant::now() > end {
            continue;
        }
        let time = |strategy: Strategy| -> Result<Measurement, Error> {
            let prepared = bench.check(&forced(strategy, batch))?;
            let (slice, most) = match effort {
                Effort::Quick => (Duration::from_millis(30), 10),
                Effort::Full => (Duration::from_millis(150), 50),
            };
            bench.time(&prepared, slice, most)
        };
        let default = time(strategies[0])?;
        let mut tuned = Tuned { best: default.clone(), default, tried: 1 };
        for &strategy in &strategies[1..] {
            if Instant::now() > end {
                break;
            }
            let Ok(found) = time(strategy) else { continue };
            tuned.tried += 1;
            if found.median < tuned.best.median {
                tuned.best = found;
            }
        }
        if tuned.default.median.as_secs_f64() < GAIN * tuned.best.median.as_secs_f64() {
            tuned.best = tuned.default.clone();
        }
        let plan = layer.plan.with_batch(batch);
        let step = &plan.steps()[0];
        let shapes = plan.shapes(step);
        choice.insert(&step.op, &plan.call(step, &shapes), tuned.best.strategy);
        progress(layer, &tuned);
    }
    Ok(choice)
}

/// The strategies to try, the default first.
fn candidates(strategies: &[Strategy], effort: Effort) -> Vec<Strategy> {
    let mut chosen: Vec<Strategy> = Vec::new();
    for &strategy in strategies {
        if effort == Effort::Full || chosen.iter().all(|other| other.kernel() != strategy.kernel()) {
            chosen.push(strategy);
        }
    }
    chosen
}
