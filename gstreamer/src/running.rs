//! State of an element between READY and PAUSED: streams, and their reports.

use std::collections::VecDeque;

use gst::{ClockTime, FormattedSegment, Structure, TagList};
use gst_audio::AudioInfo;
use tagwave::tagger::{StreamInput, StreamUpdate, StreamWorker, Tagger};

use crate::rules::TagRules;
use crate::samples::Samples;
use crate::settings::Settings;
use crate::timeline::{Timeline, WindowEdge};

/// Number of ended streams that may compute at a time.
const MAX_ENDED: usize = 8;
/// Result to make known, by the streaming thread.
pub(crate) enum Report {
    /// An element message.
    Update(Structure),
    /// A warning message.
    Warning(String),
    /// An event for the elements that follow.
    Tags(TagList),
}

/// Stream of one format, until its last update.
pub(crate) struct OpenStream {
    /// `None` after the end of the stream.
    input: Option<StreamInput>,
    pub(crate) worker: StreamWorker,
    timeline: Timeline,
    channels: usize,
    /// Frames lost by the streams before this one.
    lost_before: u64,
    /// Number of the stream of the pipeline that it belongs to.
    group: u64,
    /// True if its updates are of no interest any more.
    is_stale: bool,
}

/// Sum of the scores of a stream, weighted by the audio behind them.
#[derive(Debug, Default)]
struct ScoreSums {
    scores: Vec<f64>,
    heard_s: f64,
}

/// Everything that the streaming thread works on.
pub(crate) struct Running {
    /// Settings of the streams; those of the reports may change meanwhile.
    settings: Settings,
    tagger: Tagger,
    rules: TagRules,
    format: Option<AudioInfo>,
    segment: Option<FormattedSegment<ClockTime>>,
    current: Option<OpenStream>,
    /// Streams whose last updates are still to come.
    ended: VecDeque<OpenStream>,
    group: u64,
    sums: ScoreSums,
    last_tags: Option<TagList>,
    last_warning: String,
    /// Frames lost so far.
    pub(crate) overruns: u64,
}

impl Running {
    pub(crate) fn new(settings: Settings) -> Result<Running, String> {
        let tagger = settings.open()?;
        let rules = TagRules::new(tagger.labels())?;
        Ok(Running {
            settings,
            tagger,
            rules,
            format: None,
            segment: None,
            current: None,
            ended: VecDeque::new(),
            group: 0,
            sums: ScoreSums::default(),
            last_tags: None,
            last_warning: String::new(),
            overruns: 0,
        })
    }

    /// Warnings of the tagger since the last call.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = Report> {
        self.tagger.take_warnings().into_iter().map(|warning| Report::Warning(warning.to_string()))
    }

    /// Format of the buffers that follow. A new one ends the current stream.
    pub(crate) fn set_format(&mut self, format: AudioInfo) {
        if self.format.as_ref() != Some(&format) {
            self.end_current();
            self.format = Some(format);
        }
    }

    pub(crate) fn set_segment(&mut self, segment: &gst::Segment) {
        self.segment = segment.downcast_ref::<ClockTime>().cloned();
    }

    /// Ends the current stream, whose last updates are still taken.
    pub(crate) fn end_current(&mut self) {
        if let Some(mut stream) = self.current.take() {
            stream.input = None;
            self.ended.push_back(stream);
        }
        if self.ended.len() > MAX_ENDED {
            // Waits for the window that it computes; many changes of format at once have no better answer.
            self.ended.pop_front();
        }
    }

    /// Begins a new stream of the pipeline; returns the tags of the one before.
    pub(crate) fn begin_group(&mut self) -> Option<Report> {
        let tags = self.total_tags();
        self.end_current();
        self.group += 1;
        self.sums = ScoreSums::default();
        self.last_tags = None;
        tags
    }

    /// Drops what was heard but not reported, after a flush.
    pub(crate) fn flush(&mut self) {
        self.ended.iter_mut().for_each(|stream| stream.is_stale = true);
        if let Some(OpenStream { input: Some(input), timeline, .. }) = &mut self.current {
            input.reset();
            timeline.reset();
        }
        self.segment = None;
        self.last_tags = None;
    }

    /// Position in the media of a timestamp.
    fn stream_time(&self, pts: Option<ClockTime>) -> Option<ClockTime> {
        let Some(segment) = &self.segment else { return pts };
        segment.to_stream_time(pts?).or(pts)
    }

    /// True if the buffers come in reverse order, so that they are no music.
    fn is_reverse(&self) -> bool {
        self.segment.as_ref().is_some_and(|segment| segment.rate() < 0.0)
    }

    /// Takes the timestamp of a buffer or a gap, and opens a stream for it if there is none. Returns the format of the
    /// stream; `None` if the buffer is not tagged.
    pub(crate) fn arrive(&mut self, pts: Option<ClockTime>) -> Result<Option<AudioInfo>, String> {
        let Some(format) = self.format.clone().filter(|_| !self.is_reverse()) else { return Ok(None) };
        let time = self.stream_time(pts);
        if self.current.is_none() {
            self.current = Some(self.open(&format).map_err(|error| error.to_string())?);
        }
        if let Some(OpenStream { input: Some(input), timeline, .. }) = &mut self.current
            && timeline.arrive(time)
        {
            input.reset();
        }
        Ok(Some(format))
    }

    fn open(&self, format: &AudioInfo) -> Result<OpenStream, tagwave::Error> {
        let (rate_hz, channels) = (format.rate(), format.channels() as usize);
        let (input, stream) = self.tagger.stream(self.settings.config(rate_hz, channels))?;
        Ok(OpenStream {
            input: Some(input),
            worker: stream.spawn()?,
            timeline: Timeline::new(rate_hz),
            channels,
            lost_before: self.overruns,
            group: self.group,
            is_stale: false,
        })
    }

    /// Pushes the frames of a buffer from `first` on, and returns the number of the first one that it did not take. Frames
    /// that do not fit are lost, unless every hop is wanted.
    pub(crate) fn push(&mut self, samples: &Samples, first: usize) -> usize {
        let Some(stream) = &mut self.current else { return usize::MAX };
        let Some(input) = &mut stream.input else { return usize::MAX };
        let frames = samples.frames(stream.channels).saturating_sub(first);
        let can_wait = self.settings.every_hop && !input.is_abandoned();
        let offered = if can_wait { frames.min(input.free_frames()) } else { frames };
        let taken = samples.push(input, stream.channels, first, offered);
        stream.timeline.advance(offered as u64, taken as u64);
        self.overruns = stream.lost_before + input.overrun_frames();
        first + offered
    }

    /// Takes the updates that are ready.
    pub(crate) fn poll(&mut self, settings: &Settings) -> Vec<Report> {
        let mut reports = Vec::new();
        let (mut ended, mut current) = (std::mem::take(&mut self.ended), self.current.take());
        for stream in ended.iter_mut().chain(&mut current) {
            while let Some(update) = stream.worker.try_next().transpose() {
                reports.extend(self.report(stream, update, settings));
            }
        }
        ended.retain(|stream| !stream.worker.has_ended());
        (self.ended, self.current) = (ended, current);
        if self.current.as_ref().is_some_and(OpenStream::has_failed) {
            reports.extend(self.warn("the thread of the stream has ended: there are no further tags".into()));
        }
        reports.extend(self.warnings());
        reports
    }

    /// Ends the current stream, and gives away all streams whose last updates are still to come.
    pub(crate) fn take_ended(&mut self) -> VecDeque<OpenStream> {
        self.end_current();
        std::mem::take(&mut self.ended)
    }

    /// Takes back streams whose last updates did not come.
    pub(crate) fn put_back(&mut self, ended: VecDeque<OpenStream>) {
        self.ended = ended;
    }

    /// Reports of an update.
    pub(crate) fn report(
        &mut self,
        stream: &mut OpenStream,
        update: Result<StreamUpdate, tagwave::Error>,
        settings: &Settings,
    ) -> Vec<Report> {
        if stream.is_stale {
            return Vec::new();
        }
        let update = match update {
            Ok(update) => update,
            Err(error) => return self.warn(error.to_string()).into_iter().collect(),
        };
        self.last_warning.clear();
        let mut reports = vec![Report::Update(self.message(stream, &update, settings))];
        stream.timeline.forget_before(update.start_s);
        if stream.group == self.group && !update.is_silent {
            self.sums.add(&update);
            if settings.tags_each_hop {
                reports.extend(self.changed_tags(&update.scores));
            }
        }
        reports
    }

    /// Tags of all that was heard of the stream of the pipeline.
    pub(crate) fn total_tags(&mut self) -> Option<Report> {
        let scores = self.sums.mean();
        self.changed_tags(&scores)
    }

    fn changed_tags(&mut self, scores: &[f32]) -> Option<Report> {
        let tags = self.rules.tag_list(scores).filter(|tags| self.last_tags.as_ref() != Some(tags))?;
        self.last_tags = Some(tags.clone());
        Some(Report::Tags(tags))
    }

    /// A warning, unless it repeats the last one.
    pub(crate) fn warn(&mut self, text: String) -> Option<Report> {
        if self.last_warning == text {
            return None;
        }
        self.last_warning = text.clone();
        Some(Report::Warning(text))
    }

    fn message(&self, stream: &OpenStream, update: &StreamUpdate, settings: &Settings) -> Structure {
        let tags = settings.select(self.tagger.vocabulary(), &update.scores);
        Structure::builder("tagwave")
            .field("start", stream.timeline.time(update.start_s, WindowEdge::Start))
            .field("end", stream.timeline.time(update.end_s, WindowEdge::End))
            .field("heard", ClockTime::from_nseconds((update.heard_s * 1e9).round() as u64))
            .field("silent", update.is_silent)
            .field("tags", gst::Array::new(tags.iter().map(|tag| tag.label.as_str())))
            .field("scores", gst::Array::new(tags.iter().map(|tag| tag.score)))
            .field("skipped", update.skipped)
            .field("overruns", stream.lost_before + update.overrun_frames)
            .field("device", &*update.device)
            .build()
    }
}

impl OpenStream {
    /// True if the thread has ended before the stream, which only a panic does.
    fn has_failed(&self) -> bool {
        self.input.as_ref().is_some_and(StreamInput::is_abandoned)
    }
}

impl ScoreSums {
    fn add(&mut self, update: &StreamUpdate) {
        self.scores.resize(update.scores.len(), 0.0);
        let heard_s = update.heard_s;
        self.scores
            .iter_mut()
            .zip(&update.scores)
            .for_each(|(sum, &score)| *sum += heard_s * f64::from(score));
        self.heard_s += heard_s;
    }

    /// Empty if nothing was heard.
    fn mean(&self) -> Vec<f32> {
        self.scores.iter().map(|sum| (sum / self.heard_s) as f32).collect()
    }
}
