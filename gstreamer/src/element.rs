//! The element: properties, and the functions that GStreamer calls.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst::{ClockTime, glib};
use gst_audio::AudioInfo;
use gst_base::prelude::*;
use gst_base::subclass::BaseTransformMode;
use gst_base::subclass::prelude::*;

use crate::interrupt::{Interrupt, Reason};
use crate::running::{OpenStream, Report, Running};
use crate::samples::{self, Samples};
use crate::settings::Settings;

static CATEGORY: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("tagwave", gst::DebugColorFlags::empty(), Some("Tags of music"))
});

/// Time between two looks at the ring buffer, where the streaming thread waits for room.
const PAUSE: Duration = Duration::from_millis(5);
/// Longest time in which a wait at the end of the stream does not see that it should end.
const END_PAUSE: Duration = Duration::from_millis(20);

/// Longest gap that is pushed as silence.
const MAX_SILENCE: ClockTime = ClockTime::from_seconds(4);
/// Samples of silence that are pushed at a time.
static SILENCE: [f32; 4096] = [0.0; 4096];

/// Instance of the element. Numbers have no limits for GObject, which would ignore bad values: they are errors at the change
/// to PAUSED.
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = TagWave)]
pub struct Element {
    #[property(name = "model", nick = "Model", get, set, type = Option<String>, member = model,
        blurb = "Name of a model, or a model file; none for the built-in model")]
    #[property(name = "weights", nick = "Weights", get, set, type = Option<String>, member = weights,
        blurb = "File or folder of the weights of a model that is not built in")]
    #[property(name = "device", nick = "Device", get, set, type = Option<String>, member = device,
        blurb = "cpu, auto, gpu, reference, the number of an adapter or part of its name; none for cpu")]
    #[property(name = "hop", nick = "Hop", get, set, type = f64, member = hop_s,
        minimum = f64::MIN, maximum = f64::MAX, default = 1.0, blurb = "Seconds between updates, 0.05 to 3600")]
    #[property(name = "window", nick = "Window", get, set, type = f64, member = window_s,
        minimum = f64::MIN, maximum = f64::MAX, default = 0.0,
        blurb = "Seconds of audio that an update describes, at most one clip of the model; 0 for one clip")]
    #[property(name = "smoothing", nick = "Smoothing", get, set, type = f64, member = smoothing_s,
        minimum = f64::MIN, maximum = f64::MAX, default = 0.0,
        blurb = "Time constant of exponential smoothing of the scores in seconds; 0 for none")]
    #[property(name = "every-hop", nick = "Every hop", get, set, type = bool, member = every_hop, default = false,
        blurb = "Report every hop: the streaming thread waits for tagging, for pipelines without a clock")]
    #[property(name = "threshold", nick = "Threshold", get, set, type = f32, member = threshold,
        minimum = f32::MIN, maximum = f32::MAX, default = 0.0, blurb = "Least score of the tags in messages, 0 to 1")]
    #[property(name = "top", nick = "Top", get, set, type = u32, member = top, default = 5,
        blurb = "Most tags in a message")]
    #[property(name = "tags-each-hop", nick = "Tags each hop", get, set, type = bool, member = tags_each_hop,
        default = false, blurb = "Send a tag list (genre, mood) also when it changes, not only at the end of the stream")]
    #[property(name = "eos-timeout", nick = "EOS timeout", get, set, type = f64, member = eos_timeout_s,
        minimum = f64::MIN, maximum = f64::MAX, default = 5.0,
        blurb = "Longest time in seconds that the end of the stream waits for the last update, 0 to 3600")]
    settings: Mutex<Settings>,
    #[property(name = "overruns", nick = "Overruns", get, type = u64,
        blurb = "Number of frames that were not tagged because tagging was too slow")]
    overruns: AtomicU64,
    /// `None` in NULL and READY.
    running: Mutex<Option<Running>>,
    interrupt: Interrupt,
}

glib::wrapper! {
    /// The element `tagwave`.
    pub struct TagWave(ObjectSubclass<Element>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

impl Element {
    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `work` on the state, and makes its reports known after the lock is free.
    fn with_running<T>(&self, work: impl FnOnce(&mut Running) -> (T, Vec<Report>)) -> Option<T> {
        let outcome = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let running = running.as_mut()?;
            let outcome = work(running);
            let before = self.overruns.swap(running.overruns, Ordering::Relaxed);
            if before == 0 && running.overruns > 0 {
                gst::warning!(CATEGORY, imp = self, "tagging is too slow: some audio is left out");
            }
            outcome
        };
        outcome.1.into_iter().for_each(|report| self.make_known(report));
        Some(outcome.0)
    }

    fn make_known(&self, report: Report) {
        let element = self.obj();
        match report {
            Report::Update(structure) => {
                let message = gst::message::Element::builder(structure).src(&*element).build();
                // Without a bus nobody listens.
                let _ = element.post_message(message);
            }
            Report::Warning(text) => gst::element_imp_warning!(self, gst::LibraryError::Failed, ("{text}")),
            Report::Tags(tags) => {
                element.src_pad().push_event(gst::event::Tag::new(tags));
            }
        }
    }

    /// Pushes a buffer into the stream.
    fn tag(&self, buffer: &gst::Buffer) -> Result<(), gst::FlowError> {
        let fail = |text: &str| {
            gst::element_imp_error!(self, gst::StreamError::Format, ("{text}"));
            gst::FlowError::Error
        };
        let arrived = self.arrive(buffer.pts()).map_err(|text| fail(&text))?;
        let Some(format) = arrived else { return Ok(()) };
        let map = buffer.map_readable().map_err(|_| fail("the buffer cannot be read"))?;
        let samples = Samples::new(buffer, &map, &format);
        let samples = samples.ok_or_else(|| fail("the buffer is not of the format of its caps"))?;
        self.push(&samples, format.channels() as usize)
    }

    /// Pushes the silence of a gap into the stream. The buffer after a long gap is far from the one before it, which begins
    /// anew.
    fn tag_gap(&self, gap: &gst::event::Gap) {
        let (pts, duration) = gap.get();
        let format = match self.arrive(Some(pts)) {
            Ok(Some(format)) => format,
            Ok(None) => return,
            Err(text) => return self.make_known(Report::Warning(text)),
        };
        let duration = duration.filter(|&duration| duration <= MAX_SILENCE).unwrap_or_default();
        let channels = format.channels() as usize;
        let mut left =
            (duration.nseconds() * u64::from(format.rate()) / ClockTime::SECOND.nseconds()) as usize;
        while left > 0 {
            let count = left.min(SILENCE.len() / channels);
            let silence = Samples::Floats(Cow::Borrowed(&SILENCE[..count * channels]));
            if self.push(&silence, channels).is_err() {
                return;
            }
            left -= count;
        }
    }

    fn arrive(&self, pts: Option<ClockTime>) -> Result<Option<AudioInfo>, String> {
        self.with_running(|running| (running.arrive(pts), Vec::new())).unwrap_or(Ok(None))
    }

    /// Pushes samples, and makes known what is ready. With `every-hop` it waits for room.
    fn push(&self, samples: &Samples, channels: usize) -> Result<(), gst::FlowError> {
        let (settings, frames) = (self.settings(), samples.frames(channels));
        let mut first = 0;
        loop {
            let pushed = self.with_running(|running| (running.push(samples, first), running.poll(&settings)));
            first = pushed.unwrap_or(frames);
            if first >= frames {
                return Ok(());
            }
            if self.interrupt.wait(PAUSE) {
                return Err(gst::FlowError::Flushing);
            }
        }
    }

    /// Ends the stream and waits for its last updates, at most for `eos-timeout`; then sends the tags.
    fn finish(&self) {
        let settings = self.settings();
        let deadline = Instant::now() + settings.eos_timeout();
        let ended = self.with_running(|running| (running.take_ended(), Vec::new()));
        let mut ended = ended.unwrap_or_default();
        let mut is_late = false;
        while let Some(stream) = ended.front_mut()
            && !is_late
            && !self.interrupt.is_set()
        {
            if self.take_next(stream, deadline, &settings) {
                ended.pop_front();
            } else {
                is_late = Instant::now() >= deadline;
            }
        }
        self.with_running(|running| {
            let late = is_late.then(|| {
                running.warn(format!("the last update did not come within {} s", settings.eos_timeout_s))
            });
            running.put_back(ended);
            let mut reports: Vec<Report> = late.flatten().into_iter().chain(running.warnings()).collect();
            reports.extend(running.total_tags());
            ((), reports)
        });
    }

    /// Waits for the next update of a stream, not after `deadline`; true after the last one.
    fn take_next(&self, stream: &mut OpenStream, deadline: Instant, settings: &Settings) -> bool {
        let limit = deadline.saturating_duration_since(Instant::now()).min(END_PAUSE);
        if let Some(update) = stream.worker.next_timeout(limit).transpose() {
            self.with_running(|running| ((), running.report(stream, update, settings)));
        }
        stream.worker.has_ended()
    }
}

#[glib::object_subclass]
impl ObjectSubclass for Element {
    const NAME: &'static str = "GstTagWave";
    type Type = TagWave;
    type ParentType = gst_base::BaseTransform;
}

#[glib::derived_properties]
impl ObjectImpl for Element {}

impl GstObjectImpl for Element {}

impl ElementImpl for Element {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Music tagger",
                "Filter/Analyzer/Audio",
                "Posts tags of the music that passes through (genres, moods, instruments)",
                "The tagwave developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let template = |name, direction| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &samples::caps())
            };
            let both = [template("sink", gst::PadDirection::Sink), template("src", gst::PadDirection::Src)];
            both.into_iter().flatten().collect()
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::PausedToReady {
            // Before the pads are deactivated, which waits for the streaming thread.
            self.interrupt.set(Reason::Stopping, true);
        }
        self.parent_change_state(transition)
    }
}

impl BaseTransformImpl for Element {
    const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = true;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = true;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        self.interrupt.set(Reason::Flushing, false);
        self.interrupt.set(Reason::Stopping, false);
        let running = Running::new(self.settings())
            .map_err(|text| gst::error_msg!(gst::LibraryError::Settings, ("{text}")))?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        self.with_running(|running| ((), running.warnings().collect()));
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Waits for the window that is being computed.
        drop(running);
        Ok(())
    }

    fn set_caps(&self, caps: &gst::Caps, _: &gst::Caps) -> Result<(), gst::LoggableError> {
        let format = AudioInfo::from_caps(caps)
            .map_err(|_| gst::loggable_error!(CATEGORY, "no format of audio: {caps}"))?;
        self.with_running(|running| (running.set_format(format), Vec::new()));
        Ok(())
    }

    fn transform_ip_passthrough(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.tag(buffer).map(|()| gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStart(_) => self.interrupt.set(Reason::Flushing, true),
            gst::EventView::FlushStop(_) => {
                self.interrupt.set(Reason::Flushing, false);
                self.with_running(|running| (running.flush(), Vec::new()));
            }
            gst::EventView::StreamStart(_) => {
                self.with_running(|running| ((), running.begin_group().into_iter().collect()));
            }
            gst::EventView::Segment(segment) => {
                self.with_running(|running| (running.set_segment(segment.segment()), Vec::new()));
            }
            gst::EventView::Gap(gap) => self.tag_gap(gap),
            gst::EventView::Eos(_) | gst::EventView::SegmentDone(_) => self.finish(),
            _ => {}
        }
        self.parent_sink_event(event)
    }
}
