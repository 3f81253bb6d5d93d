//! Tagging of live audio: samples in as they are heard, tags of the last clip out at every hop.
//!
//! [`Tagger::stream`](super::Tagger::stream) returns two halves. [`StreamInput`] belongs to the audio thread: its calls
//! are wait-free and allocate nothing. [`Stream`] does the work, on the caller's thread ([`Stream::pump`]) or on a thread
//! of its own ([`Stream::spawn`]).
//!
//! ```text
//! StreamInput -> ring buffer -> mix, resample -> spectrogram frames -> network -> StreamUpdate
//! ```
//!
//! Every sample is resampled once, and every spectrogram frame is computed once (`frames`), except those that reach over
//! the ends of a window. The network runs anew for each window, because it standardises the window as a whole.

mod config;
mod frames;
mod input;
mod live;
mod state;
mod worker;

pub use config::StreamConfig;
pub use input::StreamInput;
pub use state::{Stream, StreamUpdate};
pub use worker::StreamWorker;

pub(super) use frames::SharedFrames;
