//! tagwave: music auto-tagging on any GPU.

pub mod audio;
pub mod error;
pub mod gpu;
pub mod kernels;
pub mod plan;
pub mod problems;
pub mod reference;
pub mod tensor;
pub mod weights;
