//! Positions in the media of the frames that were pushed into a stream, which counts frames only.

use std::collections::VecDeque;

use gst::ClockTime;

/// Largest difference of a timestamp from the end of the buffer before it that is no jump: that of GStreamer's audio sinks.
const TOLERANCE: ClockTime = ClockTime::from_mseconds(40);
/// Largest jump after which the audio still belongs together.
const MAX_JUMP: ClockTime = ClockTime::from_seconds(1);

/// Most anchors that are kept, where a window fails for so long that none is dropped.
const MAX_ANCHORS: usize = 4096;

/// Position of a frame, and of those after it up to the next anchor.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Anchor {
    frame: u64,
    time: ClockTime,
}

/// End of a window: its start or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowEdge {
    Start,
    End,
}

/// Positions of the frames since the last reset of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    rate_hz: u32,
    /// In the order of their frames, which differ.
    anchors: VecDeque<Anchor>,
    /// Number of frames pushed.
    pushed: u64,
    /// Position after the last buffer.
    next: ClockTime,
}

impl Timeline {
    pub(crate) fn new(rate_hz: u32) -> Timeline {
        Timeline { rate_hz, anchors: VecDeque::new(), pushed: 0, next: ClockTime::ZERO }
    }

    /// Begins again, as the stream does after a reset.
    pub(crate) fn reset(&mut self) {
        *self = Timeline::new(self.rate_hz);
    }

    /// Takes the position of the next buffer, if it has one. True if it is so far from the buffer before it that the stream
    /// should be reset; the timeline is.
    pub(crate) fn arrive(&mut self, time: Option<ClockTime>) -> bool {
        let is_first = self.anchors.is_empty();
        let time = time.unwrap_or(self.next);
        let jump = time.absdiff(self.next);
        let is_apart = !is_first && jump > MAX_JUMP;
        if is_apart {
            self.reset();
        }
        if is_first || jump > TOLERANCE {
            self.anchor(time);
        }
        is_apart
    }

    /// Counts a buffer of `frames`, of which the stream took `taken`.
    pub(crate) fn advance(&mut self, frames: u64, taken: u64) {
        self.pushed += taken;
        self.next = self.next.saturating_add(self.duration(frames));
        if taken < frames {
            self.anchor(self.next);
        }
    }

    /// Position of an edge of a window, `seconds` after the last reset.
    pub(crate) fn time(&self, seconds: f64, edge: WindowEdge) -> ClockTime {
        let frame = (seconds * f64::from(self.rate_hz)).round() as u64;
        // At a gap, a window ends before it and begins after it.
        let is_before = |anchor: &Anchor| match edge {
            WindowEdge::Start => anchor.frame <= frame,
            WindowEdge::End => anchor.frame < frame,
        };
        let before = self.anchors.partition_point(is_before).saturating_sub(1);
        let Some(anchor) = self.anchors.get(before) else { return ClockTime::ZERO };
        anchor.time.saturating_add(self.duration(frame.saturating_sub(anchor.frame)))
    }

    /// Drops what no window needs that begins `seconds` after the last reset, or later.
    pub(crate) fn forget_before(&mut self, seconds: f64) {
        let frame = (seconds * f64::from(self.rate_hz)) as u64;
        let unused = self.anchors.partition_point(|anchor| anchor.frame <= frame).saturating_sub(1);
        self.anchors.drain(..unused);
    }

    fn anchor(&mut self, time: ClockTime) {
        while self.anchors.back().is_some_and(|last| last.frame >= self.pushed) {
            self.anchors.pop_back();
        }
        if self.anchors.len() >= MAX_ANCHORS {
            self.anchors.pop_front();
        }
        self.anchors.push_back(Anchor { frame: self.pushed, time });
        self.next = time;
    }

    fn duration(&self, frames: u64) -> ClockTime {
        let nanoseconds = u128::from(frames) * 1_000_000_000 / u128::from(self.rate_hz.max(1));
        ClockTime::from_nseconds(u64::try_from(nanoseconds).unwrap_or(u64::MAX - 1).min(u64::MAX - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> ClockTime {
        ClockTime::from_mseconds(milliseconds)
    }

    /// Pushes a buffer of so many milliseconds.
    fn push(timeline: &mut Timeline, time_ms: u64, length_ms: u64, taken_ms: u64) -> bool {
        let is_apart = timeline.arrive(Some(ms(time_ms)));
        timeline.advance(length_ms, taken_ms);
        is_apart
    }

    #[test]
    fn positions_begin_at_the_first_buffer() {
        let mut timeline = Timeline::new(1000);
        assert!(!push(&mut timeline, 5000, 500, 500) && !push(&mut timeline, 5510, 500, 500));
        assert_eq!(timeline.time(0.0, WindowEdge::Start), ms(5000));
        assert_eq!(timeline.time(1.0, WindowEdge::End), ms(6000));
        assert_eq!(timeline.anchors.len(), 1);
        let mut timeline = Timeline::new(1000);
        assert!(!timeline.arrive(None));
        assert_eq!(timeline.time(0.25, WindowEdge::End), ms(250));
    }

    #[test]
    fn lost_frames_and_small_gaps_move_what_follows() {
        let mut timeline = Timeline::new(1000);
        push(&mut timeline, 0, 500, 300);
        push(&mut timeline, 500, 500, 0);
        assert!(!push(&mut timeline, 1000, 500, 500));
        assert!(!push(&mut timeline, 1800, 500, 500));
        let ends = [0.3, 0.4, 0.8, 1.3].map(|end_s| timeline.time(end_s, WindowEdge::End));
        assert_eq!(ends, [ms(300), ms(1100), ms(1500), ms(2300)]);
        assert_eq!(timeline.time(0.3, WindowEdge::Start), ms(1000));
        timeline.forget_before(0.9);
        assert_eq!((timeline.anchors.len(), timeline.time(1.3, WindowEdge::End)), (1, ms(2300)));
    }

    #[test]
    fn the_number_of_anchors_is_bounded() {
        let mut timeline = Timeline::new(1000);
        for index in 0..10_000 {
            assert!(!push(&mut timeline, index * 20, 20, 10));
        }
        assert_eq!(timeline.anchors.len(), MAX_ANCHORS);
        assert_eq!(timeline.time(100.0, WindowEdge::End), ms(199_990));
    }

    #[test]
    fn far_jumps_begin_again() {
        let mut timeline = Timeline::new(1000);
        push(&mut timeline, 60_000, 500, 500);
        assert!(push(&mut timeline, 1000, 500, 500));
        assert_eq!(timeline.time(0.5, WindowEdge::End), ms(1500));
        assert!(push(&mut timeline, 9000, 500, 500));
        assert_eq!(timeline.time(0.0, WindowEdge::Start), ms(9000));
    }
}
