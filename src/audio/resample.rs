//! Streaming resampler: input samples in, samples at the wanted rate out, in bounded memory.

use std::collections::VecDeque;
use std::sync::Arc;

use pulp::Arch;

use super::error::AudioError;
use super::half_rate::HalfRateFilter;
use super::phase::PhaseAccumulator;
use super::polyphase::{PolyphaseFilter, Resamplers, output_lens};
use super::sinc::SincResampler;
use super::spacing::Spacing;

/// Unused input samples at the front of a buffer before it is compacted.
const SLACK: usize = 1 << 15;
/// Maximum number of non-finite input samples that are recorded.
const MAX_REMEMBERED: usize = 1024;

/// Streaming resampler of one track. `push` takes decoded samples, `pull` returns what can be computed. The bits of an
/// output sample depend on its position only, not on the sizes of the blocks.
pub(crate) struct Resampling {
    from_hz: u32,
    to_hz: u32,
    method: Method,
    /// The input samples that are computed.
    spacing: Spacing,
    /// Position of the next output sample.
    time: PhaseAccumulator,
    /// Number of input samples received, including those that are not computed.
    received: u64,
    /// Number of computed output samples, and of all including trailing zeros, once the input has ended.
    lens: Option<(u64, u64)>,
    non_finite: VecDeque<(u64, f32)>,
    arch: Arch,
}

enum Method {
    Copy(InputBuffer<f32>),
    Polyphase(Arc<PolyphaseFilter>, InputBuffer<f64>),
    /// Of every second sample, whose indices the buffer counts.
    HalfRate(Arc<PolyphaseFilter>, Arc<HalfRateFilter>, InputBuffer<f32>),
    Sinc(Box<SincResampler>),
}

impl Resampling {
    /// A resampler of samples at `spacing`. Only rates with a polyphase filter may have another spacing than
    /// [`Spacing::ALL`].
    pub(crate) fn new(
        from_hz: u32,
        to_hz: u32,
        spacing: Spacing,
        resamplers: &Resamplers,
    ) -> Result<Resampling, AudioError> {
        let method = if from_hz == to_hz {
            Method::Copy(InputBuffer::new(0))
        } else if let Some(filter) = resamplers.filter(from_hz, to_hz) {
            if spacing == Spacing::ALL {
                let before = filter.input_range(0).0;
                Method::Polyphase(filter, InputBuffer::new(before))
            } else {
                let half = resamplers.half_rate_filter(&filter, spacing);
                let before = half.first_index(0);
                Method::HalfRate(filter, half, InputBuffer::new(before))
            }
        } else {
            Method::Sinc(Box::new(SincResampler::new(from_hz, to_hz)?))
        };
        Ok(Resampling::at_start(from_hz, to_hz, spacing, method))
    }

    fn at_start(from_hz: u32, to_hz: u32, spacing: Spacing, method: Method) -> Resampling {
        let time = PhaseAccumulator::new(from_hz, to_hz);
        let (lens, non_finite) = (None, VecDeque::new());
        Resampling { from_hz, to_hz, method, spacing, time, received: 0, lens, non_finite, arch: Arch::new() }
    }

    /// A resampler of the same rates at the start of a track.
    pub(crate) fn restarted(&self) -> Result<Resampling, AudioError> {
        let method = match &self.method {
            Method::Copy(_) => Method::Copy(InputBuffer::new(0)),
            Method::Polyphase(filter, _) => {
                Method::Polyphase(filter.clone(), InputBuffer::new(filter.input_range(0).0))
            }
            Method::HalfRate(filter, half, _) => {
                Method::HalfRate(filter.clone(), half.clone(), InputBuffer::new(half.first_index(0)))
            }
            Method::Sinc(_) => Method::Sinc(Box::new(SincResampler::new(self.from_hz, self.to_hz)?)),
        };
        Ok(Resampling::at_start(self.from_hz, self.to_hz, self.spacing, method))
    }

    pub(super) fn is_fallback(&self) -> bool {
        matches!(self.method, Method::Sinc(_))
    }

    /// Number of input samples received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Skips forward to output sample `k`.
    pub(super) fn skip_to(&mut self, k: u64) {
        self.time.advance_to(k);
    }

    /// Appends input samples: those that are computed of the next `span`.
    pub(crate) fn push(&mut self, x: &[f32], span: u64) -> Result<(), AudioError> {
        let first = self.input_range(self.time.k).0;
        if !all_finite(x) {
            let index = self.spacing.index(self.received as i64);
            for (i, &value) in (index..).zip(x).filter(|(_, value)| !value.is_finite()) {
                let position = self.spacing.position(i);
                if position >= first && self.non_finite.len() < MAX_REMEMBERED {
                    self.non_finite.push_back((position as u64, value));
                }
            }
        }
        match &mut self.method {
            Method::Copy(buffer) => buffer.push(first, x.iter().copied()),
            Method::Polyphase(_, buffer) => buffer.push(first, x.iter().map(|&x| f64::from(x))),
            Method::HalfRate(_, half, buffer) => {
                buffer.push(half.first_index(self.time.k), x.iter().copied())
            }
            Method::Sinc(fallback) => fallback.push(x, self.time.k)?,
        }
        self.received += span;
        Ok(())
    }

    /// Ends the input: the track has the length of the samples so far.
    pub(crate) fn finish(&mut self) -> Result<(), AudioError> {
        let lens = output_lens(self.received, self.from_hz, self.to_hz);
        if self.lens.replace(lens).is_none() {
            match &mut self.method {
                Method::Copy(_) => {}
                Method::Polyphase(filter, buffer) => {
                    let after = filter.input_range(0).1 + 1;
                    buffer.push(i64::MIN, std::iter::repeat_n(0.0, after));
                }
                Method::HalfRate(_, half, buffer) => {
                    buffer.push(i64::MIN, std::iter::repeat_n(0.0, half.span()));
                }
                Method::Sinc(fallback) => fallback.finish(lens.1, self.time.k)?,
            }
        }
        Ok(())
    }

    /// Continues at input sample `at` as if all before it had been pushed. Must be called before the first `push`.
    /// `false` if the resampler has state that depends on earlier input.
    pub(super) fn seek(&mut self, at: u64) -> bool {
        match &mut self.method {
            Method::Copy(buffer) => *buffer = InputBuffer { start: at as i64, samples: Vec::new() },
            Method::Polyphase(_, buffer) => *buffer = InputBuffer { start: at as i64, samples: Vec::new() },
            Method::HalfRate(_, _, buffer) => {
                *buffer = InputBuffer { start: self.spacing.index(at as i64), samples: Vec::new() };
            }
            Method::Sinc(_) => return false,
        }
        self.received = at;
        true
    }

    /// First input sample that output `k` depends on, if [`Resampling::seek`] is supported.
    pub(super) fn first_input(&self, k: u64) -> Option<u64> {
        (!self.is_fallback()).then(|| self.input_range(k).0.max(0) as u64)
    }

    /// Number of output samples that can be computed from the input so far.
    pub(crate) fn computable(&self) -> u64 {
        let end = match (&self.method, self.lens) {
            (_, Some((_, total))) => total,
            (Method::Sinc(_), None) => u64::MAX,
            // An output depends on `after` input samples past its position.
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

    /// Appends output samples that can be computed by now, until `y` holds `wanted` samples.
    ///
    /// # Errors
    /// [`AudioError::NonFinite`] when one of them depends on a NaN or an infinity.
    pub(crate) fn pull(&mut self, y: &mut Vec<f32>, wanted: usize) -> Result<(), AudioError> {
        let most = wanted.saturating_sub(y.len()) as u64;
        let count = self.computable().min(most) as usize;
        let computed = self.lens.map_or(u64::MAX, |(computed, _)| computed);
        // The original appends zeros here.
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
        match &mut self.method {
            Method::Copy(buffer) => {
                y.extend_from_slice(buffer.from(first, count - zeros));
                self.time.advance_to(self.time.k + (count - zeros) as u64);
            }
            Method::Polyphase(filter, buffer) => {
                y.resize(from + count - zeros, 0.0);
                filter.outputs(self.arch, &mut self.time, buffer.all(first), &mut y[from..]);
            }
            Method::HalfRate(_, half, buffer) => {
                y.resize(from + count - zeros, 0.0);
                let x = buffer.all(half.first_index(self.time.k));
                half.outputs(self.arch, &mut self.time, x, &mut y[from..]);
            }
            Method::Sinc(fallback) => {
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

    /// Range of input samples that output `k` depends on: first index and count.
    fn input_range(&self, k: u64) -> (i64, usize) {
        match &self.method {
            Method::Copy(_) => (k as i64, 1),
            Method::Polyphase(filter, _) => filter.input_range(k),
            Method::HalfRate(filter, half, _) => (filter.input_range(k).0, half.span()),
            Method::Sinc(fallback) => fallback.input_range(k),
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

/// True if all samples are finite. No early exit, so that the loop is vectorised.
fn all_finite(x: &[f32]) -> bool {
    x.iter().fold(true, |finite, x| finite & x.is_finite())
}

/// Buffer of input samples from index `start` on; samples before the track are zero.
struct InputBuffer<T> {
    start: i64,
    samples: Vec<T>,
}

impl<T: Copy + Default> InputBuffer<T> {
    fn new(start: i64) -> InputBuffer<T> {
        InputBuffer { start, samples: vec![T::default(); start.min(0).unsigned_abs() as usize] }
    }

    /// Appends `x` and may discard samples before `needed`.
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

    /// `count` samples from index `first` on.
    fn from(&self, first: i64, count: usize) -> &[T] {
        &self.all(first)[..count]
    }

    /// All samples from index `first` on; empty if there are none yet.
    fn all(&self, first: i64) -> &[T] {
        self.samples.get((first - self.start).max(0) as usize..).unwrap_or_default()
    }
}
