//! C interface: arguments to calls of the library, results to arrays of the caller. No logic of its own.
//!
//! `include/tagwave.h` is written from this crate by cbindgen; `tests/interface.rs` compares it, holds the list of
//! exported symbols, and compiles and runs the examples. Functions are grouped by file: `status` (errors), `options`,
//! `handle` (model), `tagging`, `stream`. No panic crosses the boundary: it becomes [`TagwaveStatus::Internal`], except
//! in programs built with `panic=abort`, which it ends.
#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod arrays;
mod handle;
mod options;
mod status;
mod stream;
mod tagging;

pub use handle::*;
pub use status::*;
pub use stream::*;
pub use tagging::*;
