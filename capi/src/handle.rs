//! The handle: options, then a model on a device.

use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tagwave::CancelToken;
use tagwave::tagger::Tagger;

use crate::options::Options;
use crate::status::{Failed, TagwaveStatus, c_string, guarded, text, value};

/// A model on a device. Make one with tagwave_new, set options, then open it.
pub struct Tagwave {
    options: Mutex<Options>,
    opened: OnceLock<Opened>,
    log: Mutex<Option<Log>>,
    /// Tokens of the calls that are running.
    running: Mutex<Vec<CancelToken>>,
}

/// An open model, with its labels and device as C strings.
pub(crate) struct Opened {
    pub(crate) tagger: Arc<Tagger>,
    labels: Vec<CString>,
    device: CString,
}

/// Function of the caller that is told warnings. [one thread at a time]
pub type TagwaveLog = Option<unsafe extern "C" fn(user: *mut c_void, message: *const c_char)>;

/// A function with its argument.
#[derive(Clone, Copy)]
struct Log {
    function: unsafe extern "C" fn(*mut c_void, *const c_char),
    user: *mut c_void,
}

// SAFETY: the pointer is passed back to the caller's function and not used otherwise; the header asks for a function
// that may run on any thread that calls tagwave, and the mutex around it keeps calls apart.
unsafe impl Send for Log {}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tagwave {
    pub(crate) fn opened(&self) -> Result<&Opened, Failed> {
        self.opened.get().ok_or_else(|| Failed::argument("the model is not open: call tagwave_open first"))
    }

    pub(crate) fn options(&self) -> MutexGuard<'_, Options> {
        lock(&self.options)
    }

    /// Runs `work` with a token that tagwave_cancel cancels, then reports warnings.
    pub(crate) fn run<T>(&self, work: impl FnOnce(&Opened, &CancelToken) -> T) -> Result<T, Failed> {
        let opened = self.opened()?;
        let token = CancelToken::new();
        lock(&self.running).push(token.clone());
        let result = work(opened, &token);
        // A finished call's token is cancelled to tell it from the others.
        token.cancel();
        lock(&self.running).retain(|running| !running.is_cancelled());
        self.report(&opened.tagger);
        Ok(result)
    }

    fn report(&self, tagger: &Tagger) {
        tagger.take_warnings().iter().for_each(|warning| self.log(&warning.to_string()));
    }

    /// Tells the caller a warning.
    pub(crate) fn log(&self, message: &str) {
        if let Some(Log { function, user }) = &*lock(&self.log) {
            let message = c_string(message);
            // SAFETY: the caller gave the function for these arguments.
            unsafe { function(*user, message.as_ptr()) };
        }
    }
}

/// The object behind a handle.
///
/// # Safety
/// `handle` is null or comes from [`tagwave_new`] and was not freed.
pub(crate) unsafe fn object<'a>(handle: *const Tagwave) -> Result<&'a Tagwave, Failed> {
    // SAFETY: the caller's promise.
    unsafe { handle.as_ref() }.ok_or_else(|| Failed::argument("the handle is null"))
}

/// Makes a handle with default options: the built-in model on the best device. Null if there is no memory. [thread-safe]
#[unsafe(no_mangle)]
pub extern "C" fn tagwave_new() -> *mut Tagwave {
    value(std::ptr::null_mut(), || {
        Box::into_raw(Box::new(Tagwave {
            options: Mutex::default(),
            opened: OnceLock::new(),
            log: Mutex::default(),
            running: Mutex::default(),
        }))
    })
}

/// Frees a handle; null is allowed. Streams of it go on. No other call may use it meanwhile. [one thread at a time]
///
/// # Safety
/// `handle` is null or comes from [`tagwave_new`] and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_free(handle: *mut Tagwave) {
    if !handle.is_null() {
        // SAFETY: the caller's promise.
        value((), || drop(unsafe { Box::from_raw(handle) }));
    }
}

/// Sets an option. [thread-safe]
///
/// Before tagwave_open: "model" (a name, or the path of a model file), "labels" (the labels themselves, one per line),
/// "weights" (a file or folder), "device" ("auto", "cpu", "gpu", a number or a part of a name), "compat" ("corrected",
/// "original"), "precision" ("f32", "f16"), "padding" of short audio ("zeros", "repeat"), "cpu_threads" and
/// "decode_threads" (1 to 1024; one per core by default), "max_batch" (1 to 4096 clips), "pipeline_cache" and
/// "known_devices" (folders). The first of each group of words is the default.
///
/// For streams opened later, in seconds: "hop" between updates (0.05 to 3600; 1), "window" that an update describes (at
/// most, and by default, one clip), "buffer" for audio that waits (4), time constant of "smoothing" (0, none).
/// "every_hop": with "false", the default, hops are skipped if they would be late; with "true" each gives an update, for
/// input that can wait.
///
/// # Safety
/// `handle` comes from [`tagwave_new`]; `key` and `value` end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_set(
    handle: *mut Tagwave,
    key: *const c_char,
    value: *const c_char,
) -> TagwaveStatus {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (object, key, value) = unsafe { (object(handle)?, text("key", key)?, text("value", value)?) };
        object.options().set(key, value, object.opened.get().is_some())?;
        Ok(TagwaveStatus::Ok)
    })
}

/// Sets a model file from memory, in place of the option "model"; the bytes are copied. [thread-safe]
///
/// # Safety
/// `handle` comes from [`tagwave_new`]; `bytes` is valid for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_set_model(
    handle: *mut Tagwave,
    bytes: *const u8,
    length: usize,
) -> TagwaveStatus {
    guarded(|| {
        // SAFETY: the caller's promise.
        let object = unsafe { object(handle)? };
        if bytes.is_null() {
            return Err(Failed::argument("bytes is null"));
        }
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, length) };
        let mut options = object.options();
        if object.opened.get().is_some() {
            return Err(Failed::argument("the model is open: set it before tagwave_open"));
        }
        options.builder = options.builder.clone().model_bytes(bytes);
        Ok(TagwaveStatus::Ok)
    })
}

/// Sets the function that is told warnings about the device and the audio (short, silent, ...), or none. It runs during calls, on their threads, one at a time; it must not
/// call tagwave with the same handle. [thread-safe]
///
/// # Safety
/// `handle` comes from [`tagwave_new`]; `log` may be called with `user` from any thread that calls tagwave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_set_log(
    handle: *mut Tagwave,
    log: TagwaveLog,
    user: *mut c_void,
) -> TagwaveStatus {
    guarded(|| {
        // SAFETY: the caller's promise.
        let object = unsafe { object(handle)? };
        *lock(&object.log) = log.map(|function| Log { function, user });
        Ok(TagwaveStatus::Ok)
    })
}

/// Loads the model and opens the device; once per handle, but again after an error. Takes milliseconds on a CPU, and up to seconds on a GPU.
/// [thread-safe]
///
/// # Safety
/// `handle` comes from [`tagwave_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_open(handle: *mut Tagwave) -> TagwaveStatus {
    guarded(|| {
        // SAFETY: the caller's promise.
        let object = unsafe { object(handle)? };
        // Locked until the model is open, so that two calls do not both load it.
        let options = object.options();
        if object.opened.get().is_some() {
            return Err(Failed::argument("the model is already open"));
        }
        let tagger = options.builder.clone().build()?;
        object.report(&tagger);
        let labels = tagger.labels().iter().map(|label| c_string(label)).collect();
        let device = c_string(&tagger.device_name());
        let _ = object.opened.set(Opened { tagger: Arc::new(tagger), labels, device });
        Ok(TagwaveStatus::Ok)
    })
}

/// Cancels the calls that are running on the handle; they return TAGWAVE_STATUS_CANCELLED. [thread-safe]
///
/// # Safety
/// `handle` is null or comes from [`tagwave_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_cancel(handle: *const Tagwave) {
    value((), || {
        // SAFETY: the caller's promise.
        if let Ok(object) = unsafe { object(handle) } {
            lock(&object.running).iter().for_each(CancelToken::cancel);
        }
    });
}

/// A property of an open model, or `otherwise`.
///
/// # Safety
/// As [`object`].
unsafe fn property<T>(handle: *const Tagwave, otherwise: T, get: impl FnOnce(&Opened) -> T) -> T {
    // SAFETY: the caller's promise.
    let found = unsafe { object(handle) }.and_then(|object| object.opened().map(get));
    found.unwrap_or(otherwise)
}

/// Sample rate of the model in Hz; 0 if it is not open. Audio of other rates is resampled. [thread-safe]
///
/// # Safety
/// `handle` is null or comes from [`tagwave_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_sample_rate(handle: *const Tagwave) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { property(handle, 0, |opened| opened.tagger.sample_rate_hz()) }
}

/// Length of a clip in samples of the model; 0 if it is not open. [thread-safe]
///
/// # Safety
/// `handle` is null or comes from [`tagwave_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_clip_samples(handle: *const Tagwave) -> usize {
    // SAFETY: the caller's promise.
    unsafe { property(handle, 0, |opened| opened.tagger.clip_samples()) }
}

/// Number of labels, which is the number of scores; 0 if the model is not open. [thread-safe]
///
/// # Safety
/// `handle` is null or comes from [`tagwave_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_label_count(handle: *const Tagwave) -> usize {
    // SAFETY: the caller's promise.
    unsafe { property(handle, 0, |opened| opened.labels.len()) }
}

/// The label of a score, or null; lives as long as the handle. [thread-safe]
///
/// # Safety
/// `handle` is null or comes from [`tagwave_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_label(handle: *const Tagwave, index: usize) -> *const c_char {
    let get = |opened: &Opened| opened.labels.get(index).map_or(std::ptr::null(), |label| label.as_ptr());
    // SAFETY: the caller's promise.
    unsafe { property(handle, std::ptr::null(), get) }
}

/// Number of values of an embedding; 0 if the model is not open. [thread-safe]
///
/// # Safety
/// `handle` is null or comes from [`tagwave_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_embedding_len(handle: *const Tagwave) -> usize {
    // SAFETY: the caller's promise.
    unsafe { property(handle, 0, |opened| opened.tagger.embedding_len()) }
}

/// Name of the device, or null; lives as long as the handle. [thread-safe]
///
/// # Safety
/// `handle` is null or comes from [`tagwave_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tagwave_device(handle: *const Tagwave) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { property(handle, std::ptr::null(), |opened| opened.device.as_ptr()) }
}
