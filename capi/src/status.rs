//! Statuses, the message of the last error, and the boundary for panics.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tagwave::{Error, ErrorKind};

/// Result of a call. Numbers never change their meaning; new ones may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum TagwaveStatus {
    /// Success.
    Ok = 0,
    /// The audio or another input is invalid; others can still be tagged.
    Input = 1,
    /// The format of the input, or the combination of options, is not supported.
    Unsupported = 2,
    /// Memory, threads, files or weights are missing.
    Resource = 3,
    /// The device failed, or there is none.
    Device = 4,
    /// A defect of tagwave.
    Internal = 5,
    /// The call was cancelled.
    Cancelled = 6,
    /// An argument is null, not UTF-8, or out of range.
    Argument = 7,
    /// An array of the caller is too short; its length says how many values there are.
    Buffer = 8,
    /// There is no result yet.
    Pending = 9,
    /// There will be no more results.
    Ended = 10,
}

impl From<ErrorKind> for TagwaveStatus {
    fn from(kind: ErrorKind) -> TagwaveStatus {
        match kind {
            ErrorKind::Input => TagwaveStatus::Input,
            ErrorKind::Unsupported => TagwaveStatus::Unsupported,
            ErrorKind::Resource => TagwaveStatus::Resource,
            ErrorKind::Device => TagwaveStatus::Device,
            ErrorKind::Cancelled => TagwaveStatus::Cancelled,
            _ => TagwaveStatus::Internal,
        }
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// A failed call: status and message.
pub(crate) struct Failed {
    pub(crate) status: TagwaveStatus,
    pub(crate) message: String,
}

impl Failed {
    pub(crate) fn argument(message: impl Into<String>) -> Failed {
        Failed { status: TagwaveStatus::Argument, message: message.into() }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { status: error.kind().into(), message: error.to_string() }
    }
}

/// Text as C has it; zero bytes inside are dropped.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// Runs the body of a function, keeps the message of an error, and turns a panic into a status.
pub(crate) fn guarded(body: impl FnOnce() -> Result<TagwaveStatus, Failed>) -> TagwaveStatus {
    let failed = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => return status,
        Ok(Err(failed)) => failed,
        Err(_) => {
            let message = "a panic inside tagwave: this is a bug, please report it".into();
            Failed { status: TagwaveStatus::Internal, message }
        }
    };
    let message = c_string(&failed.message);
    // A thread that is ending has no message.
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = message);
    failed.status
}

/// As [`guarded`], for functions that return a value: `otherwise` after a panic.
pub(crate) fn value<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// Reads text of the caller.
///
/// # Safety
/// `text` is null or points to bytes that end with zero and live for `'a`.
pub(crate) unsafe fn text<'a>(name: &str, text: *const c_char) -> Result<&'a str, Failed> {
    if text.is_null() {
        return Err(Failed::argument(format!("{name} is null")));
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { CStr::from_ptr(text) };
    bytes.to_str().map_err(|_| Failed::argument(format!("{name} is not UTF-8")))
}

/// The message of the last error of this thread, empty without one; valid until the next failing call of the thread.
/// [thread-safe]
#[unsafe(no_mangle)]
pub extern "C" fn tagwave_last_error() -> *const c_char {
    value(c"".as_ptr(), || LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr()))
}

/// Version of this interface: programs built for the same number work with the library. [thread-safe]
#[unsafe(no_mangle)]
pub extern "C" fn tagwave_abi_version() -> u32 {
    1
}

/// Version of tagwave, such as "0.1.0". [thread-safe]
#[unsafe(no_mangle)]
pub extern "C" fn tagwave_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}
