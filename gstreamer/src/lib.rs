//! GStreamer element `tagwave`: tags of the music that passes through it.
//!
//! ```text
//! ... ! audio ! tagwave ! audio ! ...        messages to the bus, tag lists downstream
//! ```
//!
//! **Audio** passes through a base transform in passthrough mode: the same buffers leave that arrived. Their samples are
//! copied into the ring buffer of a stream of the library (`Tagger::stream`), whose own thread does the work (`running`).
//!
//! **The streaming thread** never waits for tagging. Frames that do not fit the ring buffer are counted as overruns. With
//! each buffer, it takes the updates that are ready, posts them as element messages, and pushes tag lists as events, so
//! that no other thread posts or pushes. There are three exceptions, the first two of which FLUSH_START and a change to
//! READY end at once (`interrupt`): the end of a stream, below; the property `every-hop`, which lets the streaming thread
//! wait for room; and the first buffer of a format, for which a resampler is made.
//!
//! **The end of a stream** (EOS, SEGMENT_DONE) is a serialized event, as the drain of an encoder: its handler ends the stream,
//! waits for the last updates, at most for the property `eos-timeout`, posts them, sends the tag list, and then passes
//! the event on.
//!
//! **A flush** resets the stream. A change of caps, and STREAM_START, end it; the next buffer opens a new one, while the last
//! updates of the old one are still reported. GAP is silence. After a jump of more than a second the stream is reset. Reverse
//! playback is not tagged.
//!
//! **Errors** of the settings are error messages at the change to PAUSED, which is when the model is read. Later errors are
//! warning messages, and the audio goes on. A panic is an error message: the bindings of GStreamer catch it in every
//! function of the element, and the thread of the stream ends with its own.

use gst::glib;
use gst::prelude::*;

mod element;
mod interrupt;
mod rules;
mod running;
mod samples;
mod settings;
mod timeline;

pub use element::TagWave;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "tagwave", gst::Rank::NONE, TagWave::static_type())
}

gst::plugin_define!(
    tagwave,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    env!("CARGO_PKG_VERSION"),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY")
);
