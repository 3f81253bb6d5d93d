//! Input samples in, samples at the wanted rate out, in order and in bounded memory.

use std::collections::VecDeque;
use std::sync::Arc;

use pulp::Arch;

use super::error::AudioError;
use super::fallback::Fallback;
use super::resample::{Bank, Resamplers, TimeRegister, output_lens};

/// Inputs that may lie unused at the front before they are moved out.
const SLACK: usize = 1 << 15;
/// Non-finite inputs remembered at a time; the first one that a clip needs ends the clip.
const MAX_REMEMBERED: usize = 1024;

/// A resampler in the middle of a track. `push` what was decoded, `pull` what can be computed: the bits of
/// each output depend on its position only, never on the sizes of the pieces.
pub(super) struct Resampling {
    from_hz: u32,
    to_hz: u32,
    engine: Engine,
    /// Next output.
    time: TimeRegister,
    /// Inputs received.
    received: u64,
    /// Outputs computed and in all, once the input has ended.
    lens: Option<(u64, u64)>,
    non_finite: VecDeque<(u64, f32)>,
    arch: Arch,
}

enum Engine {
    Copy(Window<f32>),
    Bank(Arc<Bank>, Window<f64>),
    Fallback(Box<Fallback>),
}

impl Resampling {
    pub(super) fn new(from_hz: u32, to_hz: u32, resamplers: &Resamplers) -> Result<Resampling, AudioError> {
        let engine = if from_hz == to_hz {
            Engine::Copy(Window::new(0))
        } else if let Some(bank) = resamplers.bank(from_hz, to_hz) {
            let before = bank.input_range(0).0;
            Engine::Bank(bank, Window::new(before))
        } else {
            Engine::Fallback(Box::new(Fallback::new(from_hz, to_hz)?))
        };
        Ok(Resampling::at_start(from_hz, to_hz, engine))
    }

    fn at_start(from_hz: u32, to_hz: u32, engine: Engine) -> Resampling {
        let time = TimeRegister::new(from_hz, to_hz);
        let (lens, non_finite) = (None, VecDeque::new());
        Resampling { from_hz, to_hz, engine, time, received: 0, lens, non_finite, arch: Arch::new() }
    }

    /// The same resampler at a track's start.
    pub(super) fn restarted(&self) -> Result<Resampling, AudioError> {
        let engine = match &self.engine {
            Engine::Copy(_) => Engine::Copy(Window::new(0)),
            Engine::Bank(bank, _) => Engine::Bank(bank.clone(), Window::new(bank.input_range(0).0)),
            Engine::Fallback(_) => Engine::Fallback(Box::new(Fallback::new(self.from_hz, self.to_hz)?)),
        };
        Ok(Resampling::at_start(self.from_hz, self.to_hz, engine))
    }

    pub(super) fn is_fallback(&self) -> bool {
        matches!(self.engine, Engine::Fallback(_))
    }

    /// Inputs received so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Makes `k` the next output; only forward.
    pub(super) fn skip_to(&mut self, k: u64) {
        self.time.advance_to(k);
    }

    /// The next inputs.
    pub(super) fn push(&mut self, x: &[f32]) -> Result<(), AudioError> {
        let first = self.input_range(self.time.k).0;
        if !all_finite(x) {
            for (i, &value) in x.iter().enumerate().filter(|(_, value)| !value.is_finite()) {
                let index = self.received + i as u64;
                if index as i64 >= first && self.non_finite.len() < MAX_REMEMBERED {
                    self.non_finite.push_back((index, value));
                }
            }
        }
        match &mut self.engine {
            Engine::Copy(window) => window.push(first, x.iter().copied()),
            Engine::Bank(_, window) => window.push(first, x.iter().map(|&x| f64::from(x))),
            Engine::Fallback(fallback) => fallback.push(x, self.time.k)?,
        }
        self.received += x.len() as u64;
        Ok(())
    }

    /// No more inputs: the track is as long as what was pushed.
    pub(super) fn finish(&mut self) -> Result<(), AudioError> {
        let lens = output_lens(self.received, self.from_hz, self.to_hz);
        if self.lens.replace(lens).is_none() {
            match &mut self.engine {
                Engine::Copy(_) => {}
                Engine::Bank(bank, window) => {
                    let after = bank.input_range(0).1 + 1;
                    window.push(i64::MIN, std::iter::repeat_n(0.0, after));
                }
                Engine::Fallback(fallback) => fallback.finish(lens.1, self.time.k)?,
            }
        }
        Ok(())
    }

    /// Goes on at input `at` as if all before had been pushed: only before anything was, and only where each
    /// output depends on its own inputs alone. `false` where that is not so.
    pub(super) fn jump_to(&mut self, at: u64) -> bool {
        match &mut self.engine {
            Engine::Copy(window) => *window = Window { start: at as i64, samples: Vec::new() },
            Engine::Bank(_, window) => *window = Window { start: at as i64, samples: Vec::new() },
            Engine::Fallback(_) => return false,
        }
        self.received = at;
        true
    }

    /// The first input that output `k` is made of, where [`Resampling::jump_to`] can reach it.
    pub(super) fn first_input(&self, k: u64) -> Option<u64> {
        (!self.is_fallback()).then(|| self.input_range(k).0.max(0) as u64)
    }

    /// How many outputs can be computed from what was pushed.
    pub(super) fn computable(&self) -> u64 {
        let end = match (&self.engine, self.lens) {
            (_, Some((_, total))) => total,
            (Engine::Fallback(_), None) => u64::MAX,
            // An output reaches `after` inputs past its position.
            _ => {
                let (first, count) = self.input_range(0);
                let after = (first + count as i64).max(0) as u64;
                let positions = self.received.saturating_sub(after) as u128 + 1;
                let whole = self.received >= after;
                let outputs = positions * u128::from(self.to_hz);
                if whole { outputs.div_ceil(u128::from(self.from_hz)) as u64 } else { 0 }
            }
        };
        end.saturating_sub(self.time.k)
    }

    /// Appends the outputs that can be computed by now, until `y` holds `wanted` samples.
    ///
    /// # Errors
    /// [`AudioError::NonFinite`] when one of them is made of a NaN or an infinity.
    pub(super) fn pull(&mut self, y: &mut Vec<f32>, wanted: usize) -> Result<(), AudioError> {
        let most = wanted.saturating_sub(y.len()) as u64;
        let count = self.computable().min(most) as usize;
        let computed = self.lens.map_or(u64::MAX, |(computed, _)| computed);
        // Outputs that the original makes up with zeros.
        let zeros = (self.time.k + count as u64).saturating_sub(computed).min(count as u64) as usize;
        // The next output may lie past the end of a track that is shorter than it states.
        if count == 0 {
            return Ok(());
        }
        let (first, _) = self.input_range(self.time.k);
        if count > zeros {
            let (start, length) = self.input_range(self.time.k + (count - zeros) as u64 - 1);
            self.check(first, start + length as i64)?;
        }
        let from = y.len();
        match &mut self.engine {
            Engine::Copy(window) => {
                y.extend_from_slice(window.from(first, count - zeros));
                self.time.advance_to(self.time.k + (count - zeros) as u64);
            }
            Engine::Bank(bank, window) => {
                y.resize(from + count - zeros, 0.0);
                bank.outputs(self.arch, &mut self.time, window.all(first), &mut y[from..]);
            }
            Engine::Fallback(fallback) => {
                while y.len() < wanted && self.time.k < computed {
                    let Some(sample) = fallback.pull(self.time.k) else { return Ok(()) };
                    y.push(sample);
                    self.time.step();
                }
            }
        }
        // Finite inputs near the largest f32 can still overflow.
        let place = if all_finite(&y[from..]) { None } else { y[from..].iter().position(|x| !x.is_finite()) };
        if let Some(place) = place {
            let (start, length) = self.input_range(self.time.k - (y.len() - from - place) as u64);
            let index = (start + length as i64 - 1).max(0) as u64;
            return Err(AudioError::NonFinite { index, value: y[from + place] });
        }
        let zeros = zeros.min(wanted.saturating_sub(y.len()));
        y.resize(y.len() + zeros, 0.0);
        (0..zeros).for_each(|_| self.time.step());
        Ok(())
    }

    /// Inputs that output `k` is made of: the first and how many.
    fn input_range(&self, k: u64) -> (i64, usize) {
        match &self.engine {
            Engine::Copy(_) => (k as i64, 1),
            Engine::Bank(bank, _) => bank.input_range(k),
            Engine::Fallback(fallback) => fallback.input_range(k),
        }
    }

    fn check(&mut self, first: i64, end: i64) -> Result<(), AudioError> {
        while let Some(&(index, value)) = self.non_finite.front() {
            if index as i64 >= end {
                break;
            }
            if index as i64 >= first {
                return Err(AudioError::NonFinite { index, value });
            }
            self.non_finite.pop_front();
        }
        Ok(())
    }
}

/// Without an early end, which would keep the loop from being vectorised: it is over all samples of a track.
fn all_finite(x: &[f32]) -> bool {
    x.iter().fold(true, |finite, x| finite & x.is_finite())
}

/// The inputs from `start` on. Before the track there are zeros.
struct Window<T> {
    start: i64,
    samples: Vec<T>,
}

impl<T: Copy + Default> Window<T> {
    fn new(start: i64) -> Window<T> {
        Window { start, samples: vec![T::default(); start.min(0).unsigned_abs() as usize] }
    }

    /// Appends `x`, forgetting what lies before `needed`.
    fn push(&mut self, needed: i64, x: impl ExactSizeIterator<Item = T>) {
        let unused = needed.saturating_sub(self.start).clamp(0, self.samples.len() as i64) as usize;
        if unused == self.samples.len() || unused > SLACK {
            self.samples.drain(..unused);
            self.start += unused as i64;
        }
        if self.samples.is_empty() && self.start + (x.len() as i64) <= needed {
            self.start += x.len() as i64;
        } else {
            self.samples.extend(x);
        }
    }

    /// `count` inputs from `first` on.
    fn from(&self, first: i64, count: usize) -> &[T] {
        &self.all(first)[..count]
    }

    /// All inputs from `first` on; none where they are still to come.
    fn all(&self, first: i64) -> &[T] {
        self.samples.get((first - self.start).max(0) as usize..).unwrap_or_default()
    }
}
