//! tagwave: music auto-tagging on any GPU.

pub mod audio;
pub mod cpu;
pub mod error;
pub mod frontend;
pub mod gpu;
pub mod kernels;
pub mod models;
pub mod plan;
pub mod problems;
pub mod reference;
pub mod tags;
pub mod tensor;
pub mod weights;
