//! Finds the fastest configuration of each layer by trying.

use std::time::{Duration, Instant};

use super::measure::{forced, unobtrusive_batch};
use super::{Bench, Layer, Measurement};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::kernels::{KernelConfig, TuningTable};

/// Extent of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The first configuration of each kernel, briefly.
    Quick,
    /// Every configuration.
    Full,
}

/// Result of the search for one layer.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The default's measurement.
    pub default: Measurement,
    /// The fastest one's.
    pub best: Measurement,
    /// Configurations that were timed.
    pub tried: usize,
}

/// Another configuration must be this much faster than the default to be taken: less is noise.
const GAIN: f64 = 1.03;

/// Times the configurations of each layer at `batch`, calling `progress` after each layer with what was found for it and for
/// all so far; slow layers with fewer clips, so that a desktop goes on ([`LONGEST`](super::LONGEST)). Stops looking when
/// `budget` is spent, with what it has. Configurations that disagree with the reference implementation are left out, and so are layers that do
/// not run at this batch.
///
/// # Errors
/// [`Error::Gpu`] when no layer ran.
pub fn tune(
    gpu: &Gpu,
    layers: &[Layer],
    batch: usize,
    effort: Effort,
    budget: Duration,
    mut progress: impl FnMut(&Layer, Result<&Tuned, &Error>, &TuningTable),
) -> Result<TuningTable, Error> {
    let end = Instant::now() + budget;
    let mut tuning = TuningTable::none();
    let (mut ran, mut failure) = (false, None);
    for layer in layers {
        if Instant::now() > end {
            break;
        }
        let tuned =
            unobtrusive_batch(gpu, layer, batch).and_then(|batch| tune_layer(gpu, layer, batch, effort, end));
        match tuned {
            Ok(None) => ran = true,
            Ok(Some((tuned, complete))) => {
                ran = true;
                // A default that was compared with nothing is no winner.
                if complete || tuned.best.config != tuned.default.config {
                    let plan = layer.plan.with_batch(batch);
                    let step = &plan.steps()[0];
                    let shapes = plan.shapes(step);
                    tuning.insert(&step.op, &plan.call(step, &shapes), tuned.best.config);
                }
                progress(layer, Ok(&tuned), &tuning);
            }
            Err(error) => {
                progress(layer, Err(&error), &tuning);
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if !ran => Err(error),
        _ => Ok(tuning),
    }
}

/// Searches a layer; returns the result and true if everything was tried, `None` where there is one configuration only.
fn tune_layer(
    gpu: &Gpu,
    layer: &Layer,
    batch: usize,
    effort: Effort,
    end: Instant,
) -> Result<Option<(Tuned, bool)>, Error> {
    let bench = Bench::new(gpu, layer, batch)?;
    let configs = candidates(&bench.configs(), effort);
    if configs.len() < 2 {
        return Ok(None);
    }
    let time = |config: KernelConfig| -> Result<Measurement, Error> {
        let prepared = bench.check(&forced(config, batch))?;
        let (slice, most) = match effort {
            Effort::Quick => (Duration::from_millis(30), 10),
            Effort::Full => (Duration::from_millis(150), 50),
        };
        bench.time(&prepared, slice, most)
    };
    let default = time(configs[0])?;
    let mut tuned = Tuned { best: default.clone(), default, tried: 1 };
    let mut complete = true;
    for &config in &configs[1..] {
        if Instant::now() > end {
            complete = false;
            break;
        }
        let Ok(found) = time(config) else { continue };
        tuned.tried += 1;
        if found.median < tuned.best.median {
            tuned.best = found;
        }
    }
    if tuned.default.median.as_secs_f64() < GAIN * tuned.best.median.as_secs_f64() {
        tuned.best = tuned.default.clone();
    }
    Ok(Some((tuned, complete)))
}

/// The configurations to try, the default first.
fn candidates(configs: &[KernelConfig], effort: Effort) -> Vec<KernelConfig> {
    let mut chosen: Vec<KernelConfig> = Vec::new();
    for &config in configs {
        if effort == Effort::Full || chosen.iter().all(|other| other.kernel() != config.kernel()) {
            chosen.push(config);
        }
    }
    chosen
}
