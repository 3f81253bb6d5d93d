//! tagwave: music auto-tagging on any GPU.

pub mod audio;
pub mod error;
pub mod tensor;
pub mod weights;
