//! Shared part of `tag` and `embed`: runs a model on many files and writes a row for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::clips::ClipArgs;
use super::entry::FileEntry;
use super::inputs::{FileArgs, PendingInput, PendingInputs};
use super::progress::{ProgressArgs, ProgressReporter};
use super::walk::LeftOut;
use super::{
    CliError, INTERRUPTED, ModelArgs, SOME_FAILED, counted, error, stop_on_interrupt, with_caches,
    write_failed,
};
use tagwave::CancelToken;
use tagwave::error::Error;
use tagwave::evaluation::BoundRules;
use tagwave::sinks::{ClipPrediction, CompletedSet, Prediction, Row, SCHEMA, Sink, Values};
use tagwave::tagger::{ClipResult, Device, Tagger, TaggerBuilder, Track};
use tagwave::tags::TagSelection;
use tagwave::tensor::DType;

/// Requested result of each file.
#[derive(Clone, Debug)]
pub(super) enum Requested {
    Tags(TagSelection),
    /// The tags that pass their thresholds.
    Rules {
        rules: BoundRules,
        is_calibrated: bool,
    },
    Embedding,
    Tap(String),
}

impl Requested {
    fn of_track(&self, tagger: &Tagger, track: &Track) -> Values {
        match self {
            Requested::Tags(selection) => Values::Tags(tagger.tags(track, *selection)),
            Requested::Rules { rules, is_calibrated } => {
                Values::Tags(rules.select(&track.scores, *is_calibrated))
            }
            Requested::Embedding => Values::Embedding(track.embedding.clone()),
            Requested::Tap(name) => Values::Tap { name: name.clone(), features: track.tap.clone() },
        }
    }

    fn of_clip(&self, tagger: &Tagger, clip: &ClipResult) -> ClipPrediction {
        let values = match self {
            Requested::Tags(selection) => Values::Tags(tagger.clip_tags(clip, *selection)),
            Requested::Rules { rules, is_calibrated } => {
                Values::Tags(rules.select(&clip.scores, *is_calibrated))
            }
            Requested::Embedding => Values::Embedding(clip.embedding.clone()),
            Requested::Tap(name) => Values::Tap { name: name.clone(), features: clip.tap.clone() },
        };
        ClipPrediction { start_s: clip.start_s, values }
    }
}

/// Builder of a tagger with the options of model, device and kernels, for batches of at most `max_batch` clips (0: a size
/// that suits the device); and the storage type of its activations.
pub(super) fn tagger_builder(
    model: &ModelArgs,
    max_batch: usize,
    quiet: bool,
) -> Result<(TaggerBuilder, DType), CliError> {
    let devices = &model.device.devices;
    if devices.contains(&Device::None) {
        let message =
            "device `none` runs no model and is only for `tagwave bench pipeline`: choose another --device";
        return Err(CliError::usage(message));
    }
    let resolved = model.kernels.choose(devices, model, max_batch, quiet)?;
    let builder = model
        .apply(Tagger::builder())?
        .compat(model.compat.into())
        .precision(resolved.precision)
        .devices(resolved.devices.iter().cloned())
        .kernels(resolved.kernels());
    Ok((with_caches(builder), resolved.precision))
}

/// A tagger and its settings, ready to process files.
pub(super) struct Job<'a> {
    files: &'a FileArgs,
    shown: &'a ProgressArgs,
    per_clip: bool,
    /// True if warnings are printed for each file where the output has no place for them.
    each_warning: bool,
    /// All settings that rows depend on, for the journal.
    settings: String,
    tagger: Tagger,
    cancel: CancelToken,
}

impl<'a> Job<'a> {
    /// Loads the model; `settings` applies the settings of one command.
    pub(super) fn new(
        files: &'a FileArgs,
        shown: &'a ProgressArgs,
        model: &ModelArgs,
        clips: &ClipArgs,
        settings: impl FnOnce(TaggerBuilder) -> TaggerBuilder,
    ) -> Result<Job<'a>, CliError> {
        files.check()?;
        let cancel = CancelToken::new();
        stop_on_interrupt(cancel.clone());
        let (builder, precision) = tagger_builder(model, usize::from(files.batch), shown.quiet)?;
        let builder = files.apply(builder.kernel_times(shown.stats), clips.are_many());
        let clip = model.find()?.architecture().clip();
        let tagger = settings(clips.apply(builder, clip)?).build()?;
        // Without the option the labels follow from the model.
        let labels =
            model.label_list.as_ref().map_or_else(String::new, |_| format!(" labels={:?}", tagger.labels()));
        let settings = format!(
            "schema={SCHEMA} model={} weights={} compat={} precision={precision} {} {}{}{labels}",
            tagger.model().name(),
            tagger.weights_digest().unwrap_or("none"),
            tagger.compat().as_str(),
            files.settings(),
            clips.settings(),
            model.kernels.settings(),
        );
        let job =
            Job { files, shown, per_clip: clips.per_clip, each_warning: true, settings, tagger, cancel };
        job.print_warnings();
        Ok(job)
    }

    /// Prints warnings about files as a summary only.
    pub(super) fn summarize_warnings(mut self) -> Job<'a> {
        self.each_warning = false;
        self
    }

    /// The tagger.
    pub(super) fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    /// True after the program was told to stop.
    #[cfg(feature = "serve")]
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn print_warnings(&self) {
        let warnings = self.tagger.take_warnings();
        if !self.shown.quiet {
            warnings.iter().for_each(|warning| say!("tagwave: {warning}"));
        }
    }

    /// Writes a row for each file and finishes the sink; after an interruption, rows in flight are still written.
    pub(super) fn run(
        &self,
        sink: &mut dyn Sink,
        done: CompletedSet,
        requested: &Requested,
    ) -> Result<u8, CliError> {
        let settings = format!("{} wanted={requested:?} per_clip={}", self.settings, self.per_clip);
        let pending = PendingInputs::default();
        let left_out = Arc::new(LeftOut::default());
        let sources = pending.sources(self.files.entries(&left_out), settings, done);
        let mut progress = ProgressReporter::new(self.shown, self.files.are_many(), || self.files.count());
        let mut outcome = Ok(0);
        let mut written = 0;
        self.tagger.tag_each_until(&self.cancel, sources, |index, result| {
            let Some(input) = pending.take(index).filter(|_| outcome.is_ok()) else { return };
            let row = self.row(input, result, requested);
            if row.outcome.is_err() {
                outcome = Ok(SOME_FAILED);
            }
            // The progress bar and the rows may share a terminal.
            let result = progress.suspend(|| {
                self.print_warnings();
                if !sink.has_messages() {
                    self.print_messages(&row);
                }
                sink.row(&row)
            });
            match result {
                Ok(()) => written += 1,
                Err(error) => {
                    outcome = Err(error);
                    self.cancel.cancel();
                }
            }
            progress.add(&row, pending.skipped());
        });
        self.print_warnings();
        let skipped = pending.skipped();
        progress.finish(skipped, &self.tagger.stage_times(), &left_out);
        let code = outcome.map_err(|error| write_failed(&error))?;
        if self.cancel.is_cancelled() {
            let kept = sink.interrupt().map_err(|error| write_failed(&error))?;
            let before = if skipped > 0 { format!(", {skipped} done before") } else { String::new() };
            say!("tagwave: interrupted after {}{before}; {kept}", counted(written, "file"));
            return Ok(INTERRUPTED);
        }
        sink.finish().map_err(|error| write_failed(&error))?;
        if written + skipped == 0 && !self.files.may_be_none() {
            return Err(CliError { message: "no audio files found".into(), code: SOME_FAILED });
        }
        Ok(code)
    }

    /// Tags files and calls `each` with every result that is no failure, until it returns false. Failures are printed.
    pub(super) fn each_track(
        &self,
        paths: Vec<PathBuf>,
        each: &mut dyn FnMut(&Path, &Track) -> bool,
    ) -> Result<u8, CliError> {
        let pending = PendingInputs::default();
        let total = Arc::new(AtomicUsize::new(paths.len()));
        let entries = paths.into_iter().map(|path| FileEntry { path, error: None });
        let sources = pending.sources(entries, self.settings.clone(), CompletedSet::default());
        let mut progress = ProgressReporter::new(self.shown, true, || total);
        let mut code = 0;
        self.tagger.tag_each_until(&self.cancel, sources, |index, result| {
            let Some(input) = pending.take(index) else { return };
            let goes_on = result.as_ref().map_or(true, |track| each(&input.path, track));
            if !goes_on {
                self.cancel.cancel();
            }
            let row = self.row(input, result, &Requested::Tags(TagSelection::Top(0)));
            if row.outcome.is_err() {
                code = SOME_FAILED;
            }
            progress.suspend(|| {
                self.print_warnings();
                self.print_messages(&row);
            });
            progress.add(&row, 0);
        });
        progress.finish(0, &self.tagger.stage_times(), &LeftOut::default());
        Ok(if self.cancel.is_cancelled() { INTERRUPTED } else { code })
    }

    fn row(&self, input: PendingInput, result: Result<Track, Error>, requested: &Requested) -> Row {
        let tagger = &self.tagger;
        let outcome = match result {
            Ok(track) => {
                let values = requested.of_track(tagger, &track);
                let clips = track.clips.iter().filter(|_| self.per_clip);
                let clips = clips.map(|clip| requested.of_clip(tagger, clip)).collect();
                Ok(prediction(tagger, &track, values, clips))
            }
            Err(error) => Err(error::failure(&error)),
        };
        Row { path: input.path, key: input.key, outcome }
    }

    /// Prints error and warnings of a row, for formats without a place for them.
    fn print_messages(&self, row: &Row) {
        // File names may contain escape sequences for the terminal.
        let path = row.path.to_string_lossy().replace(char::is_control, "\u{fffd}");
        match &row.outcome {
            Ok(found) if !self.shown.quiet && self.each_warning => {
                found.warnings.iter().for_each(|warning| say!("tagwave: {path}: warning: {warning}"));
            }
            Ok(_) => {}
            Err(failure) => say!("tagwave: {path}: {}", failure.message),
        }
    }
}

/// Prediction of a tagger for a track.
pub fn prediction(tagger: &Tagger, track: &Track, values: Values, clips: Vec<ClipPrediction>) -> Prediction {
    Prediction {
        model: tagger.model().name().to_string(),
        compat: tagger.compat().as_str(),
        device: track.clips.first().map_or(String::new(), |clip| clip.device.to_string()),
        decoder: track.decoder.to_string(),
        clip_start_s: track.clips.first().map_or(0.0, |clip| clip.start_s),
        track_s: track.track_s,
        clip_count: track.clips.len(),
        values,
        clips,
        warnings: track.warnings.iter().map(ToString::to_string).collect(),
    }
}
