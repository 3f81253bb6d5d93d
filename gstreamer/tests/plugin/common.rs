//! Elements and pipelines of the tests.

use std::sync::OnceLock;
use std::time::Duration;

use gst::prelude::*;
use gst::{ClockTime, glib};

/// Longest time for anything; a test that takes it hangs.
pub const LIMIT: ClockTime = ClockTime::from_seconds(120);

/// True if GStreamer has the elements that the tests need; under `REQUIRE_GSTREAMER=1` it must. From then on warnings
/// and criticals of GLib end the test program.
pub fn has_gstreamer() -> bool {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        gst::init().map_err(|error| error.to_string())?;
        glib::log_set_always_fatal(glib::LogLevels::LEVEL_CRITICAL | glib::LogLevels::LEVEL_WARNING);
        gsttagwave::plugin_register_static().map_err(|error| error.to_string())?;
        let needed = [
            "filesrc",
            "decodebin",
            "oggdemux",
            "vorbisdec",
            "audioconvert",
            "audioresample",
            "audiotestsrc",
            "concat",
            "capsfilter",
            "queue",
            "fakesink",
            "tagwave",
        ];
        match needed.iter().find(|name| gst::ElementFactory::find(name).is_none()) {
            Some(name) => Err(format!("GStreamer has no element {name} (gstreamer1.0-plugins-base)")),
            None => Ok(()),
        }
    });
    if let Err(missing) = found {
        assert!(std::env::var_os("REQUIRE_GSTREAMER").is_none(), "REQUIRE_GSTREAMER is set: {missing}");
        println!("not run: {missing}");
    }
    found.is_ok()
}

pub fn demo() -> String {
    format!("{}/../assets/demo.ogg", env!("CARGO_MANIFEST_DIR"))
}

/// An element with its bus.
pub struct Tagged {
    pub harness: gst_check::Harness,
    pub element: gst::Element,
    bus: gst::Bus,
    rate_hz: u64,
    channels: usize,
}

impl Tagged {
    /// An element with properties, which plays audio of 32-bit floats.
    pub fn new(properties: &[(&str, &dyn ToValue)], rate_hz: u64, channels: usize) -> Tagged {
        let element = gst::ElementFactory::make("tagwave").build().unwrap();
        properties.iter().for_each(|(name, value)| element.set_property_from_value(name, &value.to_value()));
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        harness.play();
        let mut tagged = Tagged { harness, element, bus, rate_hz, channels };
        tagged.set_format("F32LE", "interleaved", rate_hz, channels);
        tagged
    }

    pub fn set_format(&mut self, format: &str, layout: &str, rate_hz: u64, channels: usize) {
        let mask = if channels > 2 { ", channel-mask=(bitmask)0" } else { "" };
        let caps = format!(
            "audio/x-raw, format={format}, layout={layout}, rate={rate_hz}, channels={channels}{mask}"
        );
        (self.rate_hz, self.channels) = (rate_hz, channels);
        self.harness.set_src_caps_str(&caps);
    }

    pub fn rate_hz(&self) -> u64 {
        self.rate_hz
    }

    /// Pushes interleaved samples, as buffers of at most 20 ms, from `start` on.
    pub fn push(&mut self, samples: &[f32], start: ClockTime) {
        let length = (self.rate_hz / 50) as usize * self.channels;
        for (index, block) in samples.chunks(length).enumerate() {
            let time = start + ClockTime::from_mseconds(20) * index as u64;
            let outcome = self.push_bytes(bytemuck::cast_slice(block).to_vec(), Some(time));
            assert_eq!(outcome, Ok(gst::FlowSuccess::Ok));
        }
    }

    pub fn push_bytes(
        &mut self,
        bytes: Vec<u8>,
        pts: Option<ClockTime>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut buffer = gst::Buffer::from_slice(bytes);
        buffer.make_mut().set_pts(pts);
        let pushed = self.harness.push(buffer);
        while self.harness.try_pull().is_some() {}
        pushed
    }

    pub fn push_event(&mut self, event: impl Into<gst::Event>) -> bool {
        self.harness.push_event(event.into())
    }

    /// Messages so far.
    pub fn messages(&self) -> Vec<gst::Message> {
        std::iter::from_fn(|| self.bus.pop()).collect()
    }

    /// Updates so far; warnings and errors are failures.
    pub fn updates(&self) -> Vec<Update> {
        let messages = self.messages();
        let problem = messages
            .iter()
            .find(|message| matches!(message.type_(), gst::MessageType::Error | gst::MessageType::Warning));
        assert!(problem.is_none(), "{problem:?}");
        messages.iter().filter_map(|message| Update::of(message)).collect()
    }

    /// Ends the stream, and returns the updates so far.
    pub fn end(&mut self) -> Vec<Update> {
        assert!(self.push_event(gst::event::Eos::new()));
        self.updates()
    }

    /// Tag lists that left the element.
    pub fn tag_lists(&mut self) -> Vec<gst::TagList> {
        let events = std::iter::from_fn(|| self.harness.try_pull_event());
        let tags = events.filter_map(|event| match event.view() {
            gst::EventView::Tag(tag) => Some(tag.tag_owned()),
            _ => None,
        });
        tags.collect()
    }
}

/// Fields of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub start: ClockTime,
    pub end: ClockTime,
    pub heard: ClockTime,
    pub is_silent: bool,
    pub tags: Vec<(String, f32)>,
    pub skipped: u64,
    pub overruns: u64,
}

impl Update {
    pub fn of(message: &gst::MessageRef) -> Option<Update> {
        let structure = message.structure().filter(|structure| structure.name() == "tagwave")?;
        let time = |name| structure.get::<ClockTime>(name).unwrap();
        let labels: gst::Array = structure.get("tags").unwrap();
        let scores: gst::Array = structure.get("scores").unwrap();
        let labels = labels.iter().map(|label| label.get::<String>().unwrap());
        assert!(!structure.get::<String>("device").unwrap().is_empty());
        Some(Update {
            start: time("start"),
            end: time("end"),
            heard: time("heard"),
            is_silent: structure.get("silent").unwrap(),
            tags: labels.zip(scores.iter().map(|score| score.get::<f32>().unwrap())).collect(),
            skipped: structure.get("skipped").unwrap(),
            overruns: structure.get("overruns").unwrap(),
        })
    }
}

/// Interleaved samples that sound like something: a chord with a beat.
pub fn music(seconds: f64, rate_hz: u64, channels: usize) -> Vec<f32> {
    let frames = (seconds * rate_hz as f64).round() as usize;
    let sample = |frame: usize, channel: usize| {
        let time_s = frame as f64 / rate_hz as f64;
        let chord: f64 = [220.0, 277.2, 329.6 + channel as f64]
            .iter()
            .map(|f| (time_s * f * std::f64::consts::TAU).sin())
            .sum();
        (chord * 0.2 * (1.0 - (time_s * 2.0).fract())) as f32
    };
    (0..frames * channels).map(|index| sample(index / channels, index % channels)).collect()
}

pub fn pipeline(description: &str) -> gst::Pipeline {
    gst::parse::launch(description).unwrap().downcast().unwrap()
}

/// Plays to the end, and returns all messages; an error is a failure.
pub fn play(pipeline: &gst::Pipeline) -> Vec<gst::Message> {
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut messages = Vec::new();
    loop {
        let message = pipeline.bus().unwrap().timed_pop(LIMIT).expect("no end in time");
        let (is_error, is_end) =
            (message.type_() == gst::MessageType::Error, message.type_() == gst::MessageType::Eos);
        assert!(!is_error, "{message:?}");
        messages.push(message);
        if is_end {
            break;
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    messages
}

/// Runs `work`, which must not take `limit`.
pub fn within(limit: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    if is_done.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        panic!("not done within {limit:?}");
    }
    thread.join().unwrap();
}
