//! Tuning: finds the fastest kernel configuration of each layer by measurement.

use std::time::{Duration, Instant};

use super::measure::{forced, unobtrusive_batch};
use super::{Bench, Layer, Measurement};
use crate::error::Error;
use crate::gpu::Context;
use crate::kernels::{KernelConfig, TuningTable};

/// Tuning effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The first configuration of each kernel, with few runs.
    Quick,
    /// All configurations.
    Full,
}

/// Tuning result of one layer.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// Measurement of the default configuration.
    pub default: Measurement,
    /// Measurement of the fastest configuration.
    pub best: Measurement,
    /// Number of timed configurations.
    pub tried: usize,
}

/// Minimum speedup over the default; less is noise.
const GAIN: f64 = 1.03;

/// Times the kernel configurations of each layer at `batch` clips, or fewer for slow layers
/// ([`LONGEST`](super::LONGEST)). Calls `progress` after each layer with its result and all results so far. Stops after
/// `budget`. Configurations with wrong results and layers that do not run at this batch size are skipped.
///
/// # Errors
/// If no layer ran.
pub fn tune(
    gpu: &Context,
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
                // An incomplete search does not confirm the default.
                if complete || tuned.best.config != tuned.default.config {
                    tuning.insert(tuned.best.layer.clone(), tuned.best.config);
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

/// Tunes one layer; returns the result and whether the search was complete, or `None` if there is only one
/// configuration.
fn tune_layer(
    gpu: &Context,
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

/// Configurations to try, the default first.
fn candidates(configs: &[KernelConfig], effort: Effort) -> Vec<KernelConfig> {
    let mut chosen: Vec<KernelConfig> = Vec::new();
    for &config in configs {
        if effort == Effort::Full || chosen.iter().all(|other| other.kernel() != config.kernel()) {
            chosen.push(config);
        }
    }
    chosen
}
