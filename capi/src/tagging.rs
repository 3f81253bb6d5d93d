//! Tagging of files and samples.

use std::ffi::{c_char, c_int, c_void};
use std::io;

use tagwave::Error;
use tagwave::audio::Source;
use tagwave::tagger::Track;

use crate::arrays::{OutArray, result_arrays, write_all};
use crate::handle::{Tagwave, object};
use crate::status::{Failed, TagwaveStatus, c_string, guarded, text};

/// Function of the caller that gets the result of each file, in order. `status` and `message` say what failed; else
/// `scores` and `embedding` are arrays that are valid during the call. A value other than zero ends tagwave_tag_files.
pub type TagwaveRow = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        index: usize,
        status: TagwaveStatus,
        message: *const c_char,
        scores: *const f32,
        score_count: usize,
        embedding: *const f32,
        embedding_count: usize,
    ) -> c_int,
>;

/// Tags one source, and tells the caller its warnings.
fn tag(object: &Tagwave, source: Source) -> Result<Track, Failed> {
    let mut track = None;
    object.run(|opened, cancel| {
        opened.tagger.tag_each_until(cancel, [source], |_, result| track = Some(result));
    })?;
    let cancelled = || Failed { status: TagwaveStatus::Cancelled, message: "cancelled".into() };
    let track = track.ok_or_else(cancelled)??;
    track.warnings.iter().for_each(|warning| object.log(&warning.to_string()));
    Ok(track)
}

/// Source of a path; one that is null or not UTF-8 fails when it is read, so that others are tagged.
///
/// # Safety
/// As [`text`].
unsafe fn source_of(path: *const c_char) -> Source {
    // SAFETY: the caller's promise.
    match unsafe { text("the path", path) } {
        Ok(path) => Source::path(path),
        Err(failed) => Source::missing(io::Error::new(io::ErrorKind::InvalidInput, failed.message)),
    }
}

/// Tags a file: scores in the order of the labels, 0 to 1, and the embedding. [thread-safe]
///
/// # Safety
/// `handle` comes from [`tagwave_new`](crate::tagwave_new), `path` ends with a zero byte, and the arrays are as the header
/// says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_tag_file(
    handle: *const Tagwave,
    path: *const c_char,
    scores: *mut f32,
    score_count: *mut usize,
    embedding: *mut f32,
    embedding_count: *mut usize,
) -> TagwaveStatus {
    let arrays = result_arrays(scores, score_count, embedding, embedding_count);
    guarded(|| {
        // SAFETY: the caller's promise.
        let (object, path) = unsafe { (object(handle)?, text("path", path)?) };
        let track = tag(object, Source::path(path))?;
        // SAFETY: the caller's promise.
        unsafe { write_track(arrays, &track) }
    })
}

/// Tags interleaved samples, nominally in -1 to 1; otherwise as tagwave_tag_file. [thread-safe]
///
/// # Safety
/// `handle` comes from [`tagwave_new`](crate::tagwave_new), `samples` is valid for `frames * channels` values, and the
/// arrays are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_tag_samples(
    handle: *const Tagwave,
    samples: *const f32,
    frames: usize,
    channels: u32,
    sample_rate: u32,
    scores: *mut f32,
    score_count: *mut usize,
    embedding: *mut f32,
    embedding_count: *mut usize,
) -> TagwaveStatus {
    let arrays = result_arrays(scores, score_count, embedding, embedding_count);
    guarded(|| {
        // SAFETY: the caller's promise.
        let object = unsafe { object(handle)? };
        let count = frames.checked_mul(channels as usize).filter(|_| !samples.is_null());
        let count = count.ok_or_else(|| Failed::argument("samples is null, or there are too many"))?;
        // SAFETY: the caller's promise.
        let samples = unsafe { std::slice::from_raw_parts(samples, count) };
        let source = Source::interleaved(samples, channels as usize, sample_rate);
        let track = tag(object, source)?;
        // SAFETY: the caller's promise.
        unsafe { write_track(arrays, &track) }
    })
}

/// # Safety
/// As [`write_all`].
unsafe fn write_track([scores, embedding]: [OutArray; 2], track: &Track) -> Result<TagwaveStatus, Failed> {
    // SAFETY: the caller's promise.
    unsafe { write_all(&[(scores, &track.scores), (embedding, &track.embedding)]) }
}

/// Tags many files in batches and calls `row` for each, in order, on the calling thread. A file that fails does not end
/// the call. Returns TAGWAVE_STATUS_CANCELLED if `row` or tagwave_cancel ended it. [thread-safe]
///
/// # Safety
/// `handle` comes from [`tagwave_new`](crate::tagwave_new), `paths` is valid for `count` strings that end with a zero
/// byte, and `row` may be called with `user`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_tag_files(
    handle: *const Tagwave,
    paths: *const *const c_char,
    count: usize,
    row: TagwaveRow,
    user: *mut c_void,
) -> TagwaveStatus {
    guarded(|| {
        // SAFETY: the caller's promise.
        let object = unsafe { object(handle)? };
        let row = row.ok_or_else(|| Failed::argument("row is null"))?;
        if paths.is_null() {
            return Err(Failed::argument("paths is null"));
        }
        // SAFETY: the caller's promise.
        let paths = unsafe { std::slice::from_raw_parts(paths, count) };
        // SAFETY: the caller's promise.
        let sources: Vec<Source> = paths.iter().map(|&path| unsafe { source_of(path) }).collect();
        let mut is_stopped = false;
        object
            .run(|opened, cancel| {
                let each = |index: usize, result: Result<Track, Error>| {
                    if is_stopped {
                        return;
                    }
                    let failed = result
                        .as_ref()
                        .err()
                        .map(|error| (error.kind().into(), c_string(&error.to_string())));
                    let (status, message) = failed.unwrap_or((TagwaveStatus::Ok, c_string("")));
                    let [scores, embedding]: [&[f32]; 2] = match &result {
                        Ok(track) => [&track.scores, &track.embedding],
                        Err(_) => [&[], &[]],
                    };
                    // SAFETY: the caller gave the function for these arguments.
                    let ends = unsafe {
                        row(
                            user,
                            index,
                            status,
                            message.as_ptr(),
                            scores.as_ptr(),
                            scores.len(),
                            embedding.as_ptr(),
                            embedding.len(),
                        )
                    };
                    if ends != 0 {
                        is_stopped = true;
                        cancel.cancel();
                    }
                };
                opened.tagger.tag_each_until(cancel, sources, each);
                cancel.is_cancelled()
            })
            .and_then(|is_cancelled| {
                if is_cancelled {
                    Err(Failed { status: TagwaveStatus::Cancelled, message: "cancelled".into() })
                } else {
                    Ok(TagwaveStatus::Ok)
                }
            })
    })
}
