//! Device selection of `auto`: adapters are tried in order until one runs the plan with correct results.

use super::refused::RefusedDevices;
#[cfg(feature = "cpu")]
use crate::cpu;
use crate::error::{Cause, Error};
use crate::executor::blocking::Run;
use crate::executor::{ExecuteError, Executor};
use crate::gpu::GpuError;
use crate::plan::Plan;
use crate::tensor::{DType, HostTensor, Shape};
use crate::test_cases::{Tolerance, compare};

/// Candidate device.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Index of its adapter.
    pub(super) index: usize,
    /// Display name.
    pub(super) name: String,
    /// Key in [`RefusedDevices`].
    pub(super) key: String,
}

/// Reason for which a candidate was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// True if another attempt with the same driver would fail in the same way.
    pub(super) is_permanent: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        // Lack of memory and lost devices are temporary; missing features and limits depend on the plan.
        let is_permanent = matches!(
            error.cause(),
            Cause::Gpu(GpuError::Shader { .. } | GpuError::Execute(ExecuteError::NotResponding { .. }))
                | Cause::Execute(ExecuteError::NotResponding { .. })
        );
        Refusal { reason: error.to_string(), is_permanent }
    }
}

/// Result of the search.
#[derive(Debug)]
pub(super) struct Search<T> {
    /// Index of the candidate that works, and the value of its attempt.
    pub(super) found: Option<(usize, T)>,
    /// One line for each refused candidate.
    pub(super) refused: Vec<String>,
}

/// Finds the first candidate for which `attempt` succeeds. Permanent refusals are recorded, and candidates refused on an
/// earlier run are skipped.
///
/// # Errors
/// The outer error of `attempt`, which another candidate would have too.
pub(super) fn first_working<T>(
    candidates: &[Candidate],
    refused_devices: &mut RefusedDevices,
    mut attempt: impl FnMut(&Candidate) -> Result<Result<T, Refusal>, Error>,
) -> Result<Search<T>, Error> {
    let mut refused = Vec::new();
    for candidate in candidates {
        if let Some(reason) = refused_devices.reason(&candidate.key) {
            let advice =
                refused_devices.file().map(|file| format!(", delete {} to try again", file.display()));
            let advice = advice.unwrap_or_default();
            refused.push(format!("{}: {reason} (on an earlier run{advice})", candidate.name));
            continue;
        }
        match attempt(candidate)? {
            Ok(found) => return Ok(Search { found: Some((candidate.index, found)), refused }),
            Err(Refusal { reason, is_permanent }) => {
                if is_permanent {
                    refused_devices.add(&candidate.key, &reason);
                }
                refused.push(format!("{}: {reason}", candidate.name));
            }
        }
    }
    Ok(Search { found: None, refused })
}

/// Compares the results of one clip on a device with those of the CPU executor, which is much faster than the reference
/// implementation and tested against it.
///
/// # Errors
/// [`Refusal`] for an error of the device and for wrong results. If the CPU executor cannot run the plan, nothing is
/// checked.
#[cfg(feature = "cpu")]
pub(super) fn check(executor: &dyn Executor, plan: &Plan) -> Result<(), Refusal> {
    let inputs: Vec<HostTensor> =
        plan.inputs().iter().map(|&id| noise(plan.tensors()[id].shape.with_batch(1))).collect();
    let options = cpu::Options { max_batch: 1, ..cpu::Options::default() };
    let Ok(cpu) = cpu::Executor::new(&plan.with_precision(DType::F32), &options) else { return Ok(()) };
    let Ok(expected) = cpu.run(&inputs) else { return Ok(()) };
    let found = executor.run(&inputs).map_err(|error| Refusal::from(Error::from(error)))?;
    let names = plan.outputs().iter().map(|(name, _)| name.as_str());
    close(names, &found, &expected, plan.precision())
}

/// Checks nothing: without the CPU executor no correct results are at hand.
#[cfg(not(feature = "cpu"))]
#[allow(clippy::unnecessary_wraps, reason = "the signature with the feature")]
pub(super) fn check(_: &dyn Executor, _: &Plan) -> Result<(), Refusal> {
    Ok(())
}

/// Compares outputs, with a tolerance relative to the largest value of each.
fn close<'a>(
    names: impl Iterator<Item = &'a str>,
    found: &[HostTensor],
    expected: &[HostTensor],
    precision: DType,
) -> Result<(), Refusal> {
    // Ten times the tolerance of scores in docs/numerics.md: a broken driver is off by far more.
    let share = if precision == DType::F16 { 5e-2 } else { 1e-3 };
    for (name, (found, expected)) in names.zip(found.iter().zip(expected)) {
        let largest = expected.data().iter().fold(1f32, |most, v| most.max(v.abs()));
        let difference = compare(found, expected, Tolerance { absolute: share * largest, relative: 0.0 });
        if !difference.within {
            return Err(Refusal { reason: format!("wrong {name}: {difference}"), is_permanent: true });
        }
    }
    Ok(())
}

/// Test signal: bursts of noise with decaying loudness.
fn noise(shape: impl Into<Shape>) -> HostTensor {
    // A linear congruential generator (Numerical Recipes' constants), started at 1.
    let mut state = 1u32;
    HostTensor::from_fn(shape, |i| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let loudness = 1.0 - (i % 8192) as f32 / 8192.0;
        (state as f32 / 4_294_967_296.0 - 0.5) * loudness
    })
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;
    use crate::gpu::{self, Options};
    use crate::lab::synthetic_weights;
    use crate::models::{self, Compat, Starts};

    fn candidates() -> Vec<Candidate> {
        let candidate = |(index, name): (usize, &&str)| Candidate {
            index,
            name: name.to_string(),
            key: format!("{name} key"),
        };
        ["first", "second", "third"].iter().enumerate().map(candidate).collect()
    }

    /// Fails to compile on the first, has wrong results on the second, and loses the third if `is_lost`.
    fn attempt(candidate: &Candidate, is_lost: bool) -> Result<Result<usize, Refusal>, Error> {
        Ok(match candidate.index {
            0 => {
                let error = GpuError::Shader { kernel: "gru".into(), reason: "no".into() };
                Err(Error::from(error).into())
            }
            1 => {
                let tensor = |v: f32| [HostTensor::new([1], vec![v]).unwrap()];
                close(["scores"].into_iter(), &tensor(0.5), &tensor(0.1), DType::F32).map(|()| 1)
            }
            _ if is_lost => Err(Error::from(ExecuteError::Failed { reason: "lost".into() }).into()),
            index => Ok(index),
        })
    }

    #[test]
    fn the_first_that_works_is_taken_and_refusals_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        for run in 0..2 {
            let mut tried = Vec::new();
            let mut refused_devices = RefusedDevices::read(Some(folder.path()));
            let Search { found, refused } = first_working(&candidates(), &mut refused_devices, |candidate| {
                tried.push(candidate.index);
                attempt(candidate, false)
            })
            .unwrap();
            assert_eq!(found, Some((2, 2)));
            assert_eq!(tried, if run == 0 { vec![0, 1, 2] } else { vec![2] });
            assert_eq!(refused.len(), 2);
            assert!(refused[0].starts_with("first: kernel \"gru\": no"), "{refused:?}");
            assert!(refused[1].starts_with("second: wrong scores"), "{refused:?}");
            assert_eq!(refused[0].contains("earlier run, delete"), run == 1, "{refused:?}");
        }
    }

    #[test]
    fn none_works_and_what_may_pass_is_not_remembered() {
        let mut refused_devices = RefusedDevices::read(None);
        for _ in 0..2 {
            let mut tried = 0;
            let Search { found, refused } = first_working(&candidates(), &mut refused_devices, |candidate| {
                tried += usize::from(candidate.index == 2);
                attempt(candidate, true)
            })
            .unwrap();
            assert!(found.is_none());
            assert_eq!((tried, refused.len()), (1, 3));
        }
    }

    #[test]
    fn an_error_that_no_device_mends_ends_the_search() {
        let outcome: Result<Search<()>, _> =
            first_working(&candidates(), &mut RefusedDevices::read(None), |_| Err(Cause::Precision.into()));
        assert!(matches!(outcome.unwrap_err().cause(), Cause::Precision));
    }

    #[test]
    fn wrong_results_are_detected() {
        let Some(gpu) = gpu::adapter() else { return };
        let plan = |seed: usize| {
            let config = models::crnn::Config::tiny();
            let weights = synthetic_weights(&config, seed);
            let plan = models::Architecture::build(&config, &weights, Compat::Corrected, Starts::Samples);
            plan.unwrap().fused()
        };
        let executor = gpu::Executor::new(&gpu, &plan(0), &Options::default()).unwrap();
        assert!(check(&executor, &plan(0)).is_ok());
        // Other weights stand for a driver with wrong results.
        let refusal = check(&executor, &plan(5)).unwrap_err();
        assert!(refusal.is_permanent && refusal.reason.starts_with("wrong "), "{}", refusal.reason);
    }

    #[test]
    fn nan_is_wrong() {
        let tensor = |v: f32| [HostTensor::new([2], vec![0.5, v]).unwrap()];
        let close = |found: f32, precision: DType| {
            close(["scores"].into_iter(), &tensor(found), &tensor(0.5), precision).is_ok()
        };
        assert!(close(0.5005, DType::F32) && !close(0.502, DType::F32) && !close(f32::NAN, DType::F32));
        assert!(close(0.52, DType::F16) && !close(0.6, DType::F16) && !close(f32::NAN, DType::F16));
    }
}
