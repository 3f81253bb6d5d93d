//! Live audio.

use std::cell::UnsafeCell;
use std::time::{Duration, Instant};

use tagwave::tagger::{StreamInput, StreamUpdate, StreamWorker};

use crate::arrays::{result_arrays, write_all};
use crate::handle::{Tagwave, object};
use crate::status::{Failed, TagwaveStatus, guarded, value};

/// A stream of live audio. It lives on when the handle that opened it is freed.
pub struct TagwaveStream {
    /// Used by the functions of the audio thread only, which call one at a time by their contract.
    input: UnsafeCell<Option<StreamInput>>,
    worker: StreamWorker,
    channels: usize,
}

/// The object behind a stream.
///
/// # Safety
/// `stream` is null or comes from [`tagwave_stream_open`] and was not closed.
unsafe fn of<'a>(stream: *const TagwaveStream) -> Result<&'a TagwaveStream, Failed> {
    // SAFETY: the caller's promise.
    unsafe { stream.as_ref() }.ok_or_else(|| Failed::argument("the stream is null"))
}

/// Runs `work` on the input of a stream; `None` without one.
///
/// # Safety
/// As [`of`], and no other function of the audio thread runs on the stream.
unsafe fn with_input<T>(
    stream: *const TagwaveStream,
    work: impl FnOnce(&mut StreamInput, usize) -> T,
) -> Option<T> {
    // SAFETY: the caller's promise.
    let stream = unsafe { of(stream) }.ok()?;
    // SAFETY: only these functions use the cell, one at a time.
    let input = unsafe { &mut *stream.input.get() };
    input.as_mut().map(|input| work(input, stream.channels))
}

/// Opens a stream of audio with `channels` channels at `sample_rate` Hz, with the options set so far, and starts its
/// thread. [thread-safe]
///
/// # Safety
/// `handle` comes from [`tagwave_new`](crate::tagwave_new); `stream` is valid for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_stream_open(
    handle: *const Tagwave,
    sample_rate: u32,
    channels: u32,
    stream: *mut *mut TagwaveStream,
) -> TagwaveStatus {
    guarded(|| {
        // SAFETY: the caller's promise.
        let object = unsafe { object(handle)? };
        if stream.is_null() {
            return Err(Failed::argument("stream is null"));
        }
        let config = object.options().stream.config(sample_rate, channels as usize);
        let (input, opened) = object.opened()?.tagger.stream(config)?;
        let input = UnsafeCell::new(Some(input));
        let opened = TagwaveStream { input, worker: opened.spawn()?, channels: channels as usize };
        // SAFETY: it is not null, and valid by the caller's promise.
        unsafe { *stream = Box::into_raw(Box::new(opened)) };
        Ok(TagwaveStatus::Ok)
    })
}

/// Closes a stream; null is allowed. Waits for the window that is being computed. No other call may use the stream
/// meanwhile. [one thread at a time]
///
/// # Safety
/// `stream` is null or comes from [`tagwave_stream_open`] and was not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_stream_close(stream: *mut TagwaveStream) {
    if !stream.is_null() {
        // SAFETY: the caller's promise.
        value((), || drop(unsafe { Box::from_raw(stream) }));
    }
}

/// Appends interleaved samples and returns the number of frames taken; the others did not fit the buffer. [audio thread]
///
/// # Safety
/// `stream` is null or an open stream; `samples` is valid for `frames * channels` values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_stream_push(
    stream: *mut TagwaveStream,
    samples: *const f32,
    frames: usize,
) -> usize {
    if samples.is_null() {
        return 0;
    }
    let push = |input: &mut StreamInput, channels: usize| {
        // SAFETY: the caller's promise.
        input.push_interleaved(unsafe { std::slice::from_raw_parts(samples, frames * channels) })
    };
    // SAFETY: the caller's promise.
    value(0, || unsafe { with_input(stream, push) }.unwrap_or(0))
}

/// As tagwave_stream_push, for 16-bit integers. [audio thread]
///
/// # Safety
/// As [`tagwave_stream_push`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_stream_push_i16(
    stream: *mut TagwaveStream,
    samples: *const i16,
    frames: usize,
) -> usize {
    if samples.is_null() {
        return 0;
    }
    let push = |input: &mut StreamInput, channels: usize| {
        // SAFETY: the caller's promise.
        input.push_interleaved_i16(unsafe { std::slice::from_raw_parts(samples, frames * channels) })
    };
    // SAFETY: the caller's promise.
    value(0, || unsafe { with_input(stream, push) }.unwrap_or(0))
}

/// Discards what was heard so far, after a seek or a change of track: times begin at 0 again. [audio thread]
///
/// # Safety
/// `stream` is null or an open stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_stream_reset(stream: *mut TagwaveStream) {
    // SAFETY: the caller's promise.
    value(None, || unsafe { with_input(stream, |input, _| input.reset()) });
}

/// Number of frames that can be pushed now. [audio thread]
///
/// # Safety
/// `stream` is null or an open stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_stream_free_frames(stream: *const TagwaveStream) -> usize {
    // SAFETY: the caller's promise.
    value(0, || unsafe { with_input(stream, |input, _| input.free_frames()) }.unwrap_or(0))
}

/// Number of frames that did not fit the buffer so far. [audio thread]
///
/// # Safety
/// `stream` is null or an open stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_stream_overrun_frames(stream: *const TagwaveStream) -> u64 {
    // SAFETY: the caller's promise.
    value(0, || unsafe { with_input(stream, |input, _| input.overrun_frames()) }.unwrap_or(0))
}

/// Ends the input: after the last update, tagwave_stream_next returns TAGWAVE_STATUS_ENDED. Frees memory, so it is no
/// function for an audio callback; no other function of the audio thread may run. [one thread at a time]
///
/// # Safety
/// `stream` is null or an open stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_stream_end(stream: *mut TagwaveStream) {
    value((), || {
        // SAFETY: the caller's promise.
        if let Ok(stream) = unsafe { of(stream) } {
            // SAFETY: only these functions use the cell, one at a time.
            drop(unsafe { &mut *stream.input.get() }.take());
        }
    });
}

/// The next update, for which it waits at most `timeout_ms` milliseconds; without one in time, TAGWAVE_STATUS_PENDING.
/// `times`, null or three values, gets the start and the end of the window and how much audio is in it, in seconds
/// since the last reset. `marks`, null or two values, gets 1 if the window is silent, and the number of updates left out
/// before this one because the device was too slow. A window that cannot be tagged is an error, and the stream goes on. An update whose arrays are too short is lost, and
/// `times` and `marks` are not written on an error. Updates from before a reset are not given. [thread-safe]
///
/// # Safety
/// `stream` comes from [`tagwave_stream_open`]; the arrays are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_stream_next(
    stream: *const TagwaveStream,
    timeout_ms: u32,
    times: *mut f64,
    marks: *mut u64,
    scores: *mut f32,
    score_count: *mut usize,
    embedding: *mut f32,
    embedding_count: *mut usize,
) -> TagwaveStatus {
    let arrays = result_arrays(scores, score_count, embedding, embedding_count);
    guarded(|| {
        // SAFETY: the caller's promise.
        let stream = unsafe { of(stream)? };
        let (start, limit) = (Instant::now(), Duration::from_millis(timeout_ms.into()));
        let update = stream.worker.next_timeout(limit)?;
        let Some(update) = update else {
            // A wait that is over early will never succeed.
            let has_ended = start.elapsed() < limit || stream.worker.has_ended();
            return Ok(if has_ended { TagwaveStatus::Ended } else { TagwaveStatus::Pending });
        };
        let StreamUpdate { start_s, end_s, heard_s, is_silent, skipped, .. } = update;
        if !times.is_null() {
            // SAFETY: it is not null, and valid for three values by the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping([start_s, end_s, heard_s].as_ptr(), times, 3) };
        }
        if !marks.is_null() {
            // SAFETY: it is not null, and valid for two values by the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping([u64::from(is_silent), skipped].as_ptr(), marks, 2) };
        }
        let [scores, embedding] = arrays;
        // SAFETY: the caller's promise.
        unsafe { write_all(&[(scores, &update.scores), (embedding, &update.embedding)]) }
    })
}
