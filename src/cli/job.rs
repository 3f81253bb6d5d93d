//! What `tag` and `embed` share: a model, many files, a row for each.

use std::sync::Arc;

use super::clips::ClipArgs;
use super::inputs::{FileArgs, Input, Underway};
use super::progress::{Progress, ProgressArgs};
use super::walk::LeftOut;
use super::{
    Failed, INTERRUPTED, ModelArgs, SOME_FAILED, USAGE, cache_dir, pipeline_cache_dir, stop_on_interrupt,
    write_failed,
};
use crate::error::Error;
use crate::models;
use crate::sinks::{Done, Failure, Found, FoundInClip, Row, SCHEMA, Sink, Values};
use crate::tagger::{CancelToken, ClipResult, Device, Tagger, TaggerBuilder, Track};
use crate::tags::TagSelection;

/// What is wanted of each file.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Tags(TagSelection),
    Embedding,
    Tap(String),
}

impl Wanted {
    fn of_track(&self, tagger: &Tagger, track: &Track) -> Values {
        match self {
            Wanted::Tags(selection) => Values::Tags(tagger.tags(track, *selection)),
            Wanted::Embedding => Values::Embedding(track.embedding.clone()),
            Wanted::Tap(name) => Values::Tap { name: name.clone(), features: track.tap.clone() },
        }
    }

    fn of_clip(&self, tagger: &Tagger, clip: &ClipResult) -> FoundInClip {
        let values = match self {
            Wanted::Tags(selection) => Values::Tags(tagger.clip_tags(clip, *selection)),
            Wanted::Embedding => Values::Embedding(clip.embedding.clone()),
            Wanted::Tap(name) => Values::Tap { name: name.clone(), features: clip.tap.clone() },
        };
        FoundInClip { start_s: clip.start_s, values }
    }
}

/// A model made ready for files.
pub(super) struct Job<'a> {
    files: &'a FileArgs,
    shown: &'a ProgressArgs,
    per_clip: bool,
    /// All that a row depends on beside its file.
    settings: String,
    tagger: Tagger,
    cancel: CancelToken,
}

impl<'a> Job<'a> {
    /// Loads the model; `settings` are those of one command.
    pub(super) fn new(
        files: &'a FileArgs,
        shown: &'a ProgressArgs,
        model: &ModelArgs,
        clips: &ClipArgs,
        settings: impl FnOnce(TaggerBuilder) -> TaggerBuilder,
    ) -> Result<Job<'a>, Failed> {
        files.check()?;
        let devices = &model.device.devices;
        if devices.contains(&Device::None) {
            let message = "`none` runs no model: it is for `tagwave bench pipeline`".into();
            return Err(Failed { message, code: USAGE });
        }
        let cancel = CancelToken::new();
        stop_on_interrupt(cancel.clone());
        let chosen = model.kernels.choose(devices, model, usize::from(files.batch), shown.quiet)?;
        let precision = chosen.precision;
        let builder = Tagger::builder()
            .model(&model.model)
            .reading(model.reading.into())
            .precision(precision)
            .coupled_batch(model.upstream_batch.into())
            .locator(model.weights.locator())
            .devices(chosen.devices.iter().cloned())
            .kernels(chosen.kernels())
            .kernel_times(shown.stats)
            .cancel_token(cancel.clone());
        let builder = pipeline_cache_dir().into_iter().fold(builder, TaggerBuilder::pipeline_cache);
        let builder = cache_dir().into_iter().fold(builder, TaggerBuilder::refused_devices);
        let builder = files.apply(builder, clips.are_many());
        let clip = models::find(&model.model).map_err(Error::from)?.architecture.clip();
        let tagger = settings(clips.apply(builder, clip)?).build()?;
        let settings = format!(
            "schema={SCHEMA} model={} weights={} reading={} precision={precision} coupled={} {} {}{}",
            tagger.model().name,
            tagger.weights_digest().unwrap_or("none"),
            tagger.reading().as_str(),
            model.upstream_batch,
            files.settings(),
            clips.settings(),
            model.kernels.settings(),
        );
        let job = Job { files, shown, per_clip: clips.per_clip, settings, tagger, cancel };
        job.say_notes();
        Ok(job)
    }

    /// The tagger.
    pub(super) fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    fn say_notes(&self) {
        let notes = self.tagger.take_warnings();
        if !self.shown.quiet {
            notes.iter().for_each(|note| eprintln!("tagwave: {note}"));
        }
    }

    /// Writes a row for each file and finishes the sink; after an interruption what is in flight is written.
    pub(super) fn run(&self, sink: &mut dyn Sink, done: Done, wanted: &Wanted) -> Result<u8, Failed> {
        let settings = format!("{} wanted={wanted:?} per_clip={}", self.settings, self.per_clip);
        let underway = Underway::default();
        let left_out = Arc::new(LeftOut::default());
        let sources = underway.sources(self.files.entries(&left_out), settings, done);
        let mut progress = Progress::new(self.shown, self.files.are_many(), || self.files.count());
        let mut outcome = Ok(0);
        let mut written = 0;
        self.tagger.tag_each(sources, |index, result| {
            let Some(input) = underway.take(index).filter(|_| outcome.is_ok()) else { return };
            let row = self.row(input, result, wanted);
            if row.outcome.is_err() {
                outcome = Ok(SOME_FAILED);
            }
            // The bar and the rows may share a terminal.
            let result = progress.suspend(|| {
                self.say_notes();
                if !sink.has_messages() {
                    self.say_messages(&row);
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
            progress.add(&row, underway.skipped());
        });
        self.say_notes();
        let skipped = underway.skipped();
        progress.finish(skipped, &self.tagger.stage_times(), &left_out);
        let code = outcome.map_err(|error| write_failed(&error))?;
        if self.cancel.is_cancelled() {
            let kept = match sink.interrupt().map_err(|error| write_failed(&error))? {
                true => "finished rows are kept",
                false => "the file was not written: -o FOLDER keeps what is finished, in parts",
            };
            let before = if skipped > 0 { format!(", {skipped} done before") } else { String::new() };
            eprintln!("tagwave: interrupted after {written} files{before}; {kept}");
            return Ok(INTERRUPTED);
        }
        sink.finish().map_err(|error| write_failed(&error))?;
        if written + skipped == 0 && !self.files.may_be_none() {
            return Err(Failed { message: "no audio files found".into(), code: SOME_FAILED });
        }
        Ok(code)
    }

    fn row(&self, input: Input, result: Result<Track, Error>, wanted: &Wanted) -> Row {
        let tagger = &self.tagger;
        let outcome = match result {
            Ok(track) => Ok(Found {
                model: tagger.model().name.to_string(),
                reading: tagger.reading().as_str(),
                device: track.clips.first().map_or(String::new(), |clip| clip.device.to_string()),
                decoder: track.decoder.to_string(),
                clip_start_s: track.clips.first().map_or(0.0, |clip| clip.start_s),
                track_s: track.track_s,
                clip_count: track.clips.len(),
                values: wanted.of_track(tagger, &track),
                clips: match self.per_clip {
                    true => track.clips.iter().map(|clip| wanted.of_clip(tagger, clip)).collect(),
                    false => Vec::new(),
                },
                warnings: track.warnings,
            }),
            Err(error) => Err(Failure { kind: error.kind(), message: error.to_string() }),
        };
        Row { path: input.path, key: input.key, outcome }
    }

    /// What an array has no place for.
    fn say_messages(&self, row: &Row) {
        // A file name may hold anything, escape sequences for the terminal among it.
        let path = row.path.to_string_lossy().replace(char::is_control, "\u{fffd}");
        match &row.outcome {
            Ok(found) if !self.shown.quiet => {
                found.warnings.iter().for_each(|warning| eprintln!("tagwave: {path}: warning: {warning}"));
            }
            Ok(_) => {}
            Err(failure) => eprintln!("tagwave: {path}: {}", failure.message),
        }
    }
}
