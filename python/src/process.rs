//! Objects that belong to the process that made them.

use std::process;

use pyo3::PyResult;
use tagwave::ErrorKind;

use crate::errors;

/// Value with threads or a device, which a process made by fork does not have: there it is neither used nor dropped, because
/// both would wait for these threads.
pub(crate) struct ProcessBound<T> {
    /// Taken when dropped.
    value: Option<T>,
    process: u32,
}

impl<T> ProcessBound<T> {
    pub(crate) fn new(value: T) -> ProcessBound<T> {
        ProcessBound { value: Some(value), process: process::id() }
    }

    /// The value.
    ///
    /// # Errors
    /// In another process.
    pub(crate) fn get(&self) -> PyResult<&T> {
        self.value.as_ref().filter(|_| self.process == process::id()).ok_or_else(|| {
            errors::other(
                "this object was made before a fork, and its threads and device are not in this process: make it \
                 after the fork, or start processes with the method \"spawn\"",
                ErrorKind::Unsupported,
            )
        })
    }
}

impl<T> Drop for ProcessBound<T> {
    fn drop(&mut self) {
        if self.process != process::id() {
            std::mem::forget(self.value.take());
        }
    }
}
