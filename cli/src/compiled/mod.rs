//! Statistics of compiled kernels: registers, memory and instructions, as the compiler of a graphics driver prints them.
//!
//! Drivers print to standard error, each in its own form, while they compile. So a second process of the program compiles
//! the kernels one after another ([`Compiler`]) and writes a line before each, and the first reads what stands between
//! these lines ([`run`]). Mesa's drivers for AMD (RADV) and NVIDIA (NVK) are understood.

mod code;
mod compiler;
mod nak;
mod process;
mod radv;
mod statistics;
mod table;

pub(crate) use compiler::{Compiler, device};
pub(crate) use process::run;
pub(crate) use table::print;
