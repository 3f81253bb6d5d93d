//! Device selection of `auto`: adapters are tried in order until one runs the plan with correct results, faster than the CPU.

#[cfg(feature = "cpu")]
use std::time::{Duration, Instant};

use super::known::{Finding, KnownDevices};
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
    /// Key in [`KnownDevices`].
    pub(super) key: String,
}

/// Reason for which a candidate was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// Finding that another attempt with the same driver would have too.
    pub(super) finding: Option<Finding>,
}

/// Device that works.
#[derive(Debug)]
pub(super) struct Working<T> {
    pub(super) value: T,
    /// Its speed and that of the CPU, if they were measured.
    pub(super) speed: Option<String>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        // Lack of memory and lost devices are temporary; missing features and limits depend on the plan.
        let is_permanent = matches!(
            error.cause(),
            Cause::Gpu(GpuError::Shader { .. } | GpuError::Execute(ExecuteError::NotResponding { .. }))
                | Cause::Execute(ExecuteError::NotResponding { .. })
        );
        Refusal { reason: error.to_string(), finding: is_permanent.then_some(Finding::Refused) }
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

/// Finds the first candidate for which `attempt` succeeds; it is also given the finding of an earlier run. Findings are
/// kept, and candidates that were refused or slower than the CPU on an earlier run are skipped.
///
/// # Errors
/// The outer error of `attempt`, which another candidate would have too.
pub(super) fn first_working<T>(
    candidates: &[Candidate],
    known: &mut KnownDevices,
    mut attempt: impl FnMut(&Candidate, Option<Finding>) -> Result<Result<Working<T>, Refusal>, Error>,
) -> Result<Search<T>, Error> {
    let mut refused = Vec::new();
    for candidate in candidates {
        let found = known.find(&candidate.key);
        match found {
            Some((Finding::Refused, reason)) => {
                let advice = known.file().map(|file| format!(", delete {} to try again", file.display()));
                let advice = advice.unwrap_or_default();
                refused.push(format!("{}: {reason} (on an earlier run{advice})", candidate.name));
                continue;
            }
            // Told when it was measured; `tagwave devices` shows it.
            Some((Finding::Slower, _)) => continue,
            Some((Finding::Faster, _)) | None => {}
        }
        match attempt(candidate, found.map(|(finding, _)| finding))? {
            Ok(Working { value, speed }) => {
                if let Some(speed) = speed {
                    known.add(&candidate.key, Finding::Faster, &speed);
                }
                return Ok(Search { found: Some((candidate.index, value)), refused });
            }
            Err(Refusal { reason, finding }) => {
                if let Some(finding) = finding {
                    known.add(&candidate.key, finding, &reason);
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
            let reason = format!("wrong {name}: {difference}");
            return Err(Refusal { reason, finding: Some(Finding::Refused) });
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

/// Time limit of a measurement of one device.
#[cfg(feature = "cpu")]
const MEASUREMENT: Duration = Duration::from_millis(400);

/// Measures a device against the CPU executor with `threads` threads. Returns both speeds in words, or `None` if the CPU
/// executor cannot run the plan.
///
/// # Errors
/// [`Refusal`] if the device is slower or fails.
#[cfg(feature = "cpu")]
pub(super) fn compare_speed(
    executor: &dyn Executor,
    plan: &Plan,
    threads: Option<usize>,
) -> Result<Option<String>, Refusal> {
    let options = cpu::Options { max_batch: 8, threads, ..cpu::Options::default() };
    let Ok(cpu) = cpu::Executor::new(&plan.with_precision(DType::F32), &options) else { return Ok(None) };
    let refuse = |error: ExecuteError| Refusal::from(Error::from(error));
    let Ok(cpu) = clips_per_second(&cpu, plan, MEASUREMENT) else { return Ok(None) };
    let device = clips_per_second(executor, plan, MEASUREMENT).map_err(refuse)?;
    faster([device, cpu]).map(Some)
}

/// Measures nothing: without the CPU executor there is no choice.
#[cfg(not(feature = "cpu"))]
#[allow(clippy::unnecessary_wraps, reason = "the signature with the feature")]
pub(super) fn compare_speed(_: &dyn Executor, _: &Plan, _: Option<usize>) -> Result<Option<String>, Refusal> {
    Ok(None)
}

/// The speeds of a device and of the CPU in words; a refusal if the device is slower.
#[cfg(feature = "cpu")]
fn faster([device, cpu]: [f64; 2]) -> Result<String, Refusal> {
    let speeds = format!("{device:.0} clips/s, the CPU {cpu:.0}");
    if device > cpu {
        Ok(speeds)
    } else {
        Err(Refusal { reason: format!("slower than the CPU: {speeds}"), finding: Some(Finding::Slower) })
    }
}

/// Clips per second of an executor: of a batch that takes about `limit`, after one clip that is not counted and one that
/// tells the size of the batch.
#[cfg(feature = "cpu")]
fn clips_per_second(executor: &dyn Executor, plan: &Plan, limit: Duration) -> Result<f64, ExecuteError> {
    let run = |clips: usize| -> Result<f64, ExecuteError> {
        let inputs: Vec<HostTensor> =
            plan.inputs().iter().map(|&id| noise(plan.tensors()[id].shape.with_batch(clips))).collect();
        let start = Instant::now();
        executor.run(&inputs)?;
        Ok(start.elapsed().as_secs_f64().max(1e-6))
    };
    run(1)?;
    let one = run(1)?;
    let clips = ((limit.as_secs_f64() / one) as usize).clamp(1, executor.max_batch());
    let seconds = if clips == 1 { one } else { run(clips)? };
    Ok(clips as f64 / seconds)
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;
    use crate::executor::{Inputs, PlanOutputs, Submission};
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

    fn working<T>(value: T) -> Working<T> {
        Working { value, speed: None }
    }

    /// Fails to compile on the first, has wrong results on the second, and loses the third if `is_lost`.
    fn attempt(candidate: &Candidate, is_lost: bool) -> Result<Result<Working<usize>, Refusal>, Error> {
        Ok(match candidate.index {
            0 => {
                let error = GpuError::Shader { kernel: "gru".into(), reason: "no".into() };
                Err(Error::from(error).into())
            }
            1 => {
                let tensor = |v: f32| [HostTensor::new([1], vec![v]).unwrap()];
                close(["scores"].into_iter(), &tensor(0.5), &tensor(0.1), DType::F32).map(|()| working(1))
            }
            _ if is_lost => Err(Error::from(ExecuteError::Failed { reason: "lost".into() }).into()),
            index => Ok(working(index)),
        })
    }

    #[test]
    fn the_first_that_works_is_taken_and_refusals_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        for run in 0..2 {
            let mut tried = Vec::new();
            let mut known = KnownDevices::read(Some(folder.path()));
            let Search { found, refused } = first_working(&candidates(), &mut known, |candidate, _| {
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
        let mut known = KnownDevices::read(None);
        for _ in 0..2 {
            let mut tried = 0;
            let Search { found, refused } = first_working(&candidates(), &mut known, |candidate, _| {
                tried += usize::from(candidate.index == 2);
                attempt(candidate, true)
            })
            .unwrap();
            assert!(found.is_none());
            assert_eq!((tried, refused.len()), (1, 3));
        }
    }

    #[test]
    fn a_device_that_is_slower_than_the_cpu_is_skipped_on_later_runs() {
        let folder = tempfile::tempdir().unwrap();
        for (run, tried) in
            [vec![(0, None), (1, None)], vec![(1, Some(Finding::Faster))]].into_iter().enumerate()
        {
            let mut known = KnownDevices::read(Some(folder.path()));
            let mut attempts = Vec::new();
            let search = first_working(&candidates(), &mut known, |candidate, finding| {
                attempts.push((candidate.index, finding));
                let speeds = [[8.0, 20.0], [50.0, 20.0]][candidate.index];
                let speed = if finding.is_none() { faster(speeds).map(Some) } else { Ok(None) };
                Ok(speed.map(|speed| Working { value: candidate.index, speed }))
            })
            .unwrap();
            assert_eq!((search.found, &attempts), (Some((1, 1)), &tried));
            let told = if run == 0 {
                vec!["first: slower than the CPU: 8 clips/s, the CPU 20".to_string()]
            } else {
                Vec::new()
            };
            assert_eq!(search.refused, told);
        }
    }

    /// Executor that takes `per_batch` and `per_clip` for each batch.
    #[derive(Debug)]
    struct Sleeper {
        plan: Plan,
        per_batch: Duration,
        per_clip: Duration,
    }

    impl Executor for Sleeper {
        fn device(&self) -> &str {
            "sleeper"
        }

        fn plan(&self) -> &Plan {
            &self.plan
        }

        fn max_batch(&self) -> usize {
            4
        }

        fn submit(&self, inputs: &Inputs) -> Result<Submission, ExecuteError> {
            std::thread::sleep(self.per_batch + self.per_clip * inputs.batch() as u32);
            Ok(Submission::ready(Ok(PlanOutputs::default())))
        }
    }

    #[test]
    fn speed_is_that_of_a_whole_batch() {
        let config = models::crnn::Config::tiny();
        let weights = synthetic_weights(&config, 0);
        let plan =
            models::Architecture::build(&config, &weights, Compat::Corrected, Starts::Samples).unwrap();
        let ms = Duration::from_millis;
        let speed = |per_batch: u64, limit: u64| {
            let sleeper = Sleeper { plan: plan.clone(), per_batch: ms(per_batch), per_clip: ms(10) };
            clips_per_second(&sleeper, &plan, ms(limit)).unwrap()
        };
        // One clip takes 50 ms and four take 80; without time for a batch the single clip counts.
        let (batched, single) = (speed(40, 1000), speed(40, 1));
        assert!(batched <= 50.0 && single <= 20.0 && batched > 1.5 * single, "{batched} {single}");
    }

    #[test]
    fn an_error_that_no_device_mends_ends_the_search() {
        let outcome: Result<Search<()>, _> =
            first_working(&candidates(), &mut KnownDevices::read(None), |_, _| Err(Cause::Precision.into()));
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
        assert!(
            refusal.finding == Some(Finding::Refused) && refusal.reason.starts_with("wrong "),
            "{}",
            refusal.reason
        );
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
