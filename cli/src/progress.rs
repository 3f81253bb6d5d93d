//! Progress: a bar or JSON lines, and a summary at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::counted;
use super::walk::LeftOut;
use tagwave::sinks::Row;
use tagwave::tagger::StageTimes;

/// Maximum number of distinct messages that are counted.
const MAX_MESSAGES: usize = 64;
/// Columns of the whole bar, with room for large numbers.
const WIDE: usize = 104;
/// Interval of JSON progress lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Progress arguments.
#[derive(Debug, Args)]
pub(super) struct ProgressArgs {
    /// Progress on standard error [default: a bar on a terminal]
    #[arg(long, value_enum)]
    progress: Option<ProgressArg>,

    /// No progress, warnings or summary
    #[arg(long, short)]
    pub(super) quiet: bool,

    /// At the end, print the time of each stage and of each kernel of the device
    #[arg(long)]
    pub(super) stats: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum ProgressArg {
    /// A bar, if standard error is a terminal
    Bar,
    /// A JSON object per second, and one at the end
    Json,
    /// No progress
    None,
}

/// Reporter of the progress of a run.
pub(super) struct ProgressReporter {
    bar: ProgressBar,
    /// True if the terminal has room for the whole bar.
    is_wide: bool,
    json: bool,
    summary: bool,
    stats: bool,
    start: Instant,
    last_report: Instant,
    /// Total number of files, once counted.
    total: Arc<AtomicUsize>,
    tally: Tally,
}

/// Counts of results.
#[derive(Clone, Debug, Default)]
struct Tally {
    good: usize,
    failed: BTreeMap<&'static str, usize>,
    audio_s: f64,
    writing: Duration,
    /// Number of failures by message.
    reasons: MessageCounts,
    /// Number of warnings by kind, the text before the colon.
    warnings: MessageCounts,
}

/// Number of messages by their text, with digits replaced: numbers differ from file to file.
#[derive(Clone, Debug, Default)]
struct MessageCounts(BTreeMap<String, usize>);

impl MessageCounts {
    fn add(&mut self, message: &str) {
        let mut text = String::new();
        for c in message.chars() {
            match (c.is_ascii_digit(), text.ends_with('#')) {
                (true, true) => {}
                (true, false) => text.push('#'),
                _ => text.push(c),
            }
        }
        if self.0.len() < MAX_MESSAGES || self.0.contains_key(&text) {
            *self.0.entry(text).or_default() += 1;
        }
    }
}

impl Tally {
    /// Summary of the warnings.
    fn warning_summary(&self) -> Option<String> {
        let mut kinds: Vec<_> = self.warnings.0.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let kinds: Vec<_> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        (!kinds.is_empty()).then(|| format!("warnings: {}", kinds.join(", ")))
    }

    /// Summary if most files failed: the most frequent reason, and what to do.
    fn failure_summary(&self) -> Option<String> {
        let (failed, all) = (self.failures(), self.good + self.failures());
        let (reason, count) = self.reasons.0.iter().max_by_key(|(_, count)| **count)?;
        let advice = match reason {
            reason if reason.contains("no ffmpeg on PATH") => "install ffmpeg, which decodes such formats",
            reason if reason.contains("DRM") => {
                "protected files can only be played by the player of the shop that sold them"
            }
            reason if reason.contains("cannot open") => "check that the files exist and are readable",
            reason if reason.contains("0 bytes") => "the files are empty: were they copied completely?",
            reason if reason.contains("known audio format") => "check that the paths are audio files",
            _ => "each row has its error",
        };
        (2 * failed > all && all > 1).then(|| {
            format!(
                "warning: {failed} of {all} files failed, {count} of them with: {reason}\ntagwave: {advice}"
            )
        })
    }

    fn failures(&self) -> usize {
        self.failed.values().sum()
    }
}

impl ProgressReporter {
    /// Starts reporting; `many` if there may be more than one file.
    pub(super) fn new(
        args: &ProgressArgs,
        many: bool,
        total: impl FnOnce() -> Arc<AtomicUsize>,
    ) -> ProgressReporter {
        let kind = args.progress.unwrap_or(ProgressArg::Bar);
        let shown = !args.quiet && kind == ProgressArg::Bar && many;
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let json = kind == ProgressArg::Json;
        let visible = shown && !target.is_hidden() || json;
        let bar = ProgressBar::with_draw_target(None, target);
        // No colours, so NO_COLOR needs no support. A line longer than the terminal would wrap at every change.
        let columns = Term::stderr().size_checked().map_or(usize::MAX, |(_, columns)| columns.into());
        let is_wide = columns >= WIDE;
        let template = if is_wide {
            "{bar:24} {pos}/{len} tracks  {msg}  {eta} left"
        } else {
            "{pos}/{len}  {msg}  {eta} left"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let now = Instant::now();
        ProgressReporter {
            bar: bar.with_style(style),
            is_wide,
            json,
            summary: !args.quiet && many && !json,
            stats: args.stats,
            start: now,
            last_report: now,
            total: if visible { total() } else { Arc::new(AtomicUsize::new(usize::MAX)) },
            tally: Tally::default(),
        }
    }

    /// Runs `print` with the bar hidden.
    pub(super) fn suspend<T>(&mut self, print: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = self.bar.suspend(print);
        self.tally.writing += start.elapsed();
        result
    }

    /// Counts one more file; `skipped` files were done before the run.
    pub(super) fn add(&mut self, row: &Row, skipped: usize) {
        match &row.outcome {
            Ok(found) => {
                self.tally.good += 1;
                self.tally.audio_s += found.track_s.unwrap_or(0.0);
                let kinds =
                    found.warnings.iter().map(|text| text.split_once(": ").map_or(&**text, |(kind, _)| kind));
                kinds.for_each(|kind| self.tally.warnings.add(kind));
            }
            Err(failure) => {
                *self.tally.failed.entry(failure.kind.as_str()).or_default() += 1;
                self.tally.reasons.add(&failure.message);
            }
        }
        let total = self.total.load(Ordering::Relaxed);
        if total != usize::MAX {
            self.bar.set_length(total.saturating_sub(skipped) as u64);
        }
        self.bar.inc(1);
        let hours = self.audio_hours_per_s();
        let failures = self.tally.failures();
        let speed = self.tracks_per_s();
        self.bar.set_message(if self.is_wide {
            format!("{speed:.1} tracks/s  {hours:.2} audio hours/s  {failures} failed")
        } else {
            format!("{speed:.1}/s  {failures} failed")
        });
        if self.json && self.last_report.elapsed() >= REPORT_INTERVAL {
            self.last_report = Instant::now();
            say!("{}", self.object("progress", skipped));
        }
    }

    fn done(&self) -> usize {
        self.tally.good + self.tally.failures()
    }

    fn tracks_per_s(&self) -> f64 {
        self.done() as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    fn audio_hours_per_s(&self) -> f64 {
        self.tally.audio_s / 3600.0 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    fn object(&self, event: &str, skipped: usize) -> serde_json::Value {
        let round = |value: f64| (value * 1e3).round() / 1e3;
        let total = self.total.load(Ordering::Relaxed);
        let total = (total != usize::MAX).then_some(total);
        let left = total.map(|total| total.saturating_sub(self.done() + skipped));
        json!({
            "event": event,
            "done": self.done(),
            "failed": self.tally.failures(),
            "failed_by_kind": self.tally.failed,
            "skipped": skipped,
            "total": total,
            "elapsed_s": round(self.start.elapsed().as_secs_f64()),
            "tracks_per_s": round(self.tracks_per_s()),
            "audio_hours_per_s": round(self.audio_hours_per_s()),
            "eta_s": left.map(|left| round(left as f64 / self.tracks_per_s().max(1e-9))),
        })
    }

    /// Ends the progress and prints the summary.
    pub(super) fn finish(&self, skipped: usize, times: &StageTimes, left_out: &LeftOut) {
        self.bar.finish_and_clear();
        if self.json {
            let mut object = self.object("summary", skipped);
            object["left_out"] =
                left_out.counts().into_iter().map(|(kind, count)| (kind.to_string(), json!(count))).collect();
            if self.stats {
                object["stages_s"] =
                    self.stages(times).into_iter().map(|(name, s)| (name, json!(s))).collect();
                let seconds =
                    |(name, time): (&&str, &Duration)| (name.to_string(), json!(time.as_secs_f64()));
                object["kernels_s"] = times.kernels.iter().map(seconds).collect();
                object["bottleneck"] = self.bottleneck(times).into();
            }
            say!("{object}");
            return;
        }
        if self.summary && self.done() + skipped > 0 {
            let kinds: Vec<_> =
                self.tally.failed.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
            let before = if skipped > 0 { format!(", {skipped} done before") } else { String::new() };
            say!(
                "tagwave: {} in {:.1} s, {:.2} tracks/s, {:.2} audio hours/s; {} failed{kinds}{before}",
                counted(self.done(), "track"),
                self.start.elapsed().as_secs_f64(),
                self.tracks_per_s(),
                self.audio_hours_per_s(),
                self.tally.failures(),
            );
        }
        if self.summary {
            let lines = [left_out.sentence(), self.tally.warning_summary(), self.tally.failure_summary()];
            lines.iter().flatten().for_each(|line| say!("tagwave: {line}"));
        }
        if self.stats {
            let per_track = 1e3 / self.done().max(1) as f64;
            say!("tagwave: stage                  seconds  ms/track   (sum over the threads of a stage)");
            let line = |name: &str, seconds: f64| {
                say!("tagwave: {name:22} {seconds:9.3} {:9.3}", seconds * per_track);
            };
            self.stages(times).iter().for_each(|(name, seconds)| line(name, *seconds));
            if !times.kernels.is_empty() {
                say!("tagwave: kernel                 seconds  ms/track   (measured by the device)");
            }
            let mut kernels: Vec<_> = times.kernels.iter().collect();
            kernels.sort_by_key(|(_, time)| std::cmp::Reverse(**time));
            kernels.iter().for_each(|(name, time)| line(name, time.as_secs_f64()));
            say!(
                "tagwave: {} batches of {} clips; bottleneck: {}",
                times.batches,
                times.clips,
                self.bottleneck(times)
            );
        }
    }

    fn stages(&self, times: &StageTimes) -> Vec<(String, f64)> {
        let stages = [
            ("decode", times.decode),
            ("resample", times.resample),
            ("decode waits", times.decode_waits),
            ("upload", times.upload),
            ("model", times.model.saturating_sub(times.readback)),
            ("readback", times.readback),
            ("model waits", times.model_waits),
            ("write", self.tally.writing),
        ];
        stages.into_iter().map(|(name, time)| (name.to_string(), time.as_secs_f64())).collect()
    }

    /// The slowest stage.
    fn bottleneck(&self, times: &StageTimes) -> &'static str {
        match () {
            () if 2 * self.tally.writing > self.start.elapsed() => "write",
            () if times.decode_waits > times.model_waits => "model",
            () => "decode",
        }
    }
}
