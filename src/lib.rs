//! tagwave: music auto-tagging on any GPU. The whole signal path after decoding (spectrogram, convolutions,
//! recurrence, dense layers) is hand-written WGSL, driven through wgpu; every kernel has a reference implementation, and the same plans run fast on a CPU.
//!
//! ```no_run
//! use tagwave::tagger::Tagger;
//! use tagwave::tags::TagSelection;
//!
//! fn main() -> Result<(), tagwave::Error> {
//!     let tagger = Tagger::builder().model("crnn").weights("weights-of-the-original").build()?;
//!     let track = tagger.tag_file("song.mp3")?;
//!     for tag in tagger.tags(&track, TagSelection::Top(5)) {
//!         println!("{} {:.3}", tag.label, tag.score);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # The walk of one file
//!
//! | where | value in | value out |
//! |---|---|---|
//! | [`audio`] | path, reader or samples | mono clips at the model's rate, each with its start |
//! | [`tagger`] | clips of many files | one batch `[N, S]` |
//! | [`gpu`], [`cpu`] or [`reference`](mod@reference) | batch | one upload, every step of a [`plan`], one readback |
//! | [`frontend`] steps | `[N, S]` | `[N, 1, F, T]` log-mel in dB, standardised |
//! | [`models`] steps | `[N, 1, F, T]` | `[N, K]` scores and `[N, D]` embeddings |
//! | [`tags`] | scores per clip | scores per track, labels |
//!
//! # Units
//!
//! | quantity | unit |
//! |---|---|
//! | samples | -1..1 nominally, mono f32 |
//! | rates, frequencies | Hz (`_hz`) |
//! | places in audio | samples (`_samples`) or seconds (`_s`) |
//! | spectrogram | dB: 10 log10 of a mel power, squared for CNN and CRNN |
//! | scores | 0..1, after the sigmoid; they rank labels and are not calibrated probabilities |
//!
//! Embedding: give [`gpu::Gpu::from_device`] your own device and queue. Nothing here reads the environment,
//! prints or exits; there are no globals.
#![warn(missing_docs)]

pub mod audio;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod cpu;
pub mod error;
pub mod frontend;
pub mod gpu;
pub mod kernels;
pub mod lab;
pub mod models;
#[cfg(feature = "cli")]
pub mod pca;
pub mod plan;
pub mod reference;
#[cfg(feature = "cli")]
pub mod sinks;
pub mod tagger;
pub mod tags;
pub mod tensor;
pub mod test_cases;
pub mod weights;

pub use error::{Error, ErrorKind};
/// The wgpu that [`gpu::Gpu::from_device`] takes devices of.
pub use wgpu;
