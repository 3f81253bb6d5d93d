//! Music auto-tagging on GPUs (through wgpu) and CPUs. The whole signal path after decoding (spectrogram, convolutions,
//! recurrence, dense layers) is hand-written WGSL; every kernel has a reference implementation, and the same plans run on
//! a fast CPU executor.
//!
//! ```
//! use tagwave::tagger::Tagger;
//! use tagwave::tags::TagSelection;
//!
//! # fn main() -> Result<(), tagwave::Error> {
//! // The built-in model, on the best device.
//! let tagger = Tagger::builder().build()?;
//! let track = tagger.tag_file("assets/demo.ogg")?;
//! for tag in tagger.tags(&track, TagSelection::Top(5)) {
//!     println!("{} {:.3}", tag.label, tag.score);
//! }
//! # assert_eq!(track.scores.len(), 50);
//! # Ok(())
//! # }
//! ```
//!
//! A model of the original needs its weights: `Tagger::builder().model("crnn").weights("data")`. An application with
//! audio of its own calls [`Tagger::tag_samples`](tagger::Tagger::tag_samples), or
//! [`Tagger::submit`](tagger::Tagger::submit), which does not wait for the device.
//!
//! # Data flow of one file
//!
//! | where | in | out |
//! |---|---|---|
//! | [`audio`] | path, reader or samples | mono clips at the model's rate, each with its start |
//! | [`tagger`] | clips of many files | one batch `[N, S]` |
//! | [`gpu`], [`cpu`] or [`reference`](mod@reference) | batch | one upload, all steps of a [`plan`], one readback |
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
//! | positions in audio | samples (`_samples`) or seconds (`_s`) |
//! | spectrogram | dB: 10 log10 of a mel power, squared for CNN and CRNN |
//! | scores | 0..1, after the sigmoid; they rank labels and are not calibrated probabilities |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `decode` | yes | reading of audio files; without it a tagger takes samples |
//! | `cpu` | yes | [`cpu`], the fast CPU executor |
//! | `gpu` | yes | [`gpu`] on Vulkan, Metal and DirectX 12 |
//! | `webgpu` | | [`gpu`] in a browser |
//! | `keras` | yes | weight files of Keras (HDF5) |
//! | `small` | yes | weights of the default model inside the library |
//! | `unstable` | | the modules of the engine, which may change in any version |
//! | `evaluation` | | [`evaluation`] of scores against labels; switches `unstable` on |
//! | `learning` | | [`learning`] of tags from labelled features; switches `unstable` on |
//! | `search` | | [`search`] in a music library: similar tracks, conditions, playlists; switches `unstable` on |
//! | `fetch`, `pca`, `parquet`, `sinks` | | parts of the program (download of weights, output formats, ...); they switch `unstable` on |
//!
//! An engine that has samples and a device takes `gpu` and `small`. The reference implementation is always there.
//!
//! To run on a device of your own application, use [`gpu::Context::from_device`]. The library does not read the environment,
//! print or exit, and has no globals.
#![warn(missing_docs)]
#![cfg_attr(
    not(all(feature = "cpu", feature = "decode", feature = "gpu", feature = "keras", feature = "unstable")),
    allow(dead_code, unused_imports, reason = "parts that only some features use")
)]

mod atomic_file;
pub mod audio;
mod cancel;
mod error_kind;
#[cfg(feature = "evaluation")]
pub mod evaluation;
#[cfg(feature = "wgpu")]
pub mod gpu;
mod instant;
#[cfg(feature = "learning")]
pub mod learning;
pub mod models;
#[cfg(feature = "pca")]
pub mod pca;
#[cfg(feature = "search")]
pub mod search;
#[cfg(feature = "sinks")]
pub mod sinks;
pub mod tagger;
pub mod tags;
pub mod tensor;
pub mod weights;

// The engine, public for the program, tests and benchmarks.
#[cfg(all(feature = "cpu", feature = "unstable"))]
pub mod cpu;
#[cfg(feature = "unstable")]
pub mod error;
#[cfg(feature = "unstable")]
pub mod executor;
#[cfg(feature = "unstable")]
pub mod frontend;
#[cfg(feature = "unstable")]
pub mod kernels;
#[cfg(all(feature = "unstable", feature = "wgpu"))]
pub mod lab;
#[cfg(feature = "unstable")]
pub mod plan;
#[cfg(feature = "unstable")]
pub mod reference;
#[cfg(feature = "unstable")]
pub mod test_cases;

#[cfg(all(feature = "cpu", not(feature = "unstable")))]
mod cpu;
#[cfg(not(feature = "unstable"))]
mod error;
#[cfg(not(feature = "unstable"))]
mod executor;
#[cfg(not(feature = "unstable"))]
mod frontend;
#[cfg(not(feature = "unstable"))]
mod kernels;
#[cfg(not(feature = "unstable"))]
mod plan;
#[cfg(not(feature = "unstable"))]
mod reference;
#[cfg(not(feature = "unstable"))]
mod test_cases;

pub use cancel::CancelToken;
pub use error::Error;
pub use error_kind::ErrorKind;
#[cfg(feature = "wgpu")]
/// The version of wgpu whose devices [`gpu::Context::from_device`] accepts.
pub use wgpu;
