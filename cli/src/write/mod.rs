//! `tagwave write`: tags as fields of songs, where players read them. docs/library.md describes it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::clips::ClipArgs;
use super::error::guarded;
use super::inputs::FileArgs;
use super::job::{Job, Requested};
use super::progress::ProgressArgs;
use super::results::{TrackScores, is_audio, path_of_text, read_rows, tracks};
use super::{
    CliError, INTERRUPTED, ModelArgs, SOME_FAILED, counted, state_dir, stop_on_interrupt, write_failed,
};
use tagwave::CancelToken;
use tagwave::sinks::{CompletedSet, Row, Sink, Values};
use tagwave::tags::TagSelection;

mod container;
mod field;
mod journal;
mod mapping;
mod pieces;
mod plan;
mod replace;
mod report;
mod rewrite;
mod sidecar;
mod undo;

use container::SongTags;
use journal::{JournalLine, RunLock, WriteJournal};
use mapping::{FieldRules, Preset, RuleOverrides, WriteMode};
use plan::{FieldChange, Provenance, TaggedTrack, changes};
use replace::{Original, check, create, replace};
use report::{ReportFormat, SongOutcome, SongReport, UnchangedReason};
use rewrite::{Id3Arg, rewritten};
use sidecar::Sidecar;

/// Puts the earlier contents of each file of a journal together, as `--undo` does, without writing.
#[cfg(fuzzing)]
pub(super) fn earlier_contents(journal: &Path, new: &[u8]) {
    let _ = journal::read(journal, |line| {
        if let Some(earlier) = line.ok().and_then(|line| line.before) {
            let contents = pieces::assemble(&earlier.pieces, new, earlier.size);
            assert!(contents.is_none_or(|contents| contents.len() as u64 == earlier.size));
        }
    });
}

/// Arguments of `tagwave write`.
#[derive(Debug, Args)]
#[command(
    after_help = AFTER_HELP,
    mut_arg("paths", |paths| paths.required_unless_present_any(["files_from", "undo", "show_mapping"]))
)]
pub(super) struct WriteArgs {
    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    rules: RuleArgs,

    #[command(flatten)]
    change: ChangeArgs,

    /// Form of the list of changes
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    clips: ClipArgs,

    #[command(flatten)]
    progress: ProgressArgs,
}

const AFTER_HELP: &str = "\
PATH is audio, folders of audio, or a results file of `tagwave tag -o`, whose paths are those given to that command. \
Nothing is written without --apply. Symbolic links are followed: the song they lead to is written. The audio of a song is \
never changed, and `--undo` restores every file byte for byte. docs/library.md explains presets and mappings.";

/// Arguments that select fields and values.
#[derive(Debug, Args)]
struct RuleArgs {
    /// Fields and values as players expect them
    #[arg(long, value_enum, default_value_t)]
    preset: Preset,

    /// File with fields and values, instead of a preset; --show-mapping prints one to begin with
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    mapping: Option<PathBuf>,

    /// Print the mapping of the preset and exit
    #[arg(long, value_name = "PRESET", num_args = 0..=1, default_missing_value = "plain")]
    show_mapping: Option<Preset>,

    /// Least score of all tags, instead of those of the mapping
    #[arg(long, value_name = "SCORE", value_parser = score)]
    threshold: Option<f64>,

    /// Maximum number of values of each field, instead of those of the mapping
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    most: Option<u8>,

    /// Treatment of fields that have values, instead of those of the mapping
    #[arg(long, value_enum)]
    mode: Option<WriteMode>,

    /// Also write a field TAGWAVE, by which a later run knows which values are its own
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    provenance: Provenance,
}

/// Arguments of changing files.
#[derive(Debug, Args)]
struct ChangeArgs {
    /// Write the changes; without it they are only shown
    #[arg(long)]
    apply: bool,

    /// File that keeps what --undo needs [default: a new file in the per-user state folder]
    #[arg(long, value_name = "FILE", requires = "apply")]
    journal: Option<PathBuf>,

    /// Restore all files of a journal as they were before
    #[arg(long, value_name = "JOURNAL", conflicts_with_all = ["paths", "files_from", "apply"])]
    undo: Option<PathBuf>,

    /// Keep modification times
    #[arg(long)]
    keep_time: bool,

    /// Also write files with several hard links: the name gets a file of its own, the other names keep the old one
    #[arg(long)]
    break_hard_links: bool,

    /// Version of ID3v2 tags
    #[arg(long, value_enum, default_value_t)]
    id3v2: Id3Arg,

    /// Write files beside the songs instead of the songs
    #[arg(long, value_enum)]
    sidecar: Option<Sidecar>,
}

/// Number of tags without a field that are named.
const SHOWN_TAGS: usize = 3;

fn score(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

/// Writes tags into songs, or shows what would be written.
pub(super) fn write(args: &WriteArgs) -> Result<u8, CliError> {
    if let Some(preset) = args.rules.show_mapping {
        let text = preset.text();
        return io::stdout()
            .lock()
            .write_all(text.as_bytes())
            .map(|()| 0)
            .map_err(|error| write_failed(&error));
    }
    let state = state_dir();
    if let Some(journal) = &args.change.undo {
        return undo::undo(journal, state.as_deref());
    }
    let rules = read_rules(&args.rules)?;
    let mut writer = SongWriter::new(args, rules)?;
    let results = args.files.paths().iter().filter(|path| !is_audio(path)).count();
    let outcome = if results == 0 {
        let job = Job::new(&args.files, &args.progress, &args.model, &args.clips, |builder| builder)?;
        if args.change.apply {
            writer.open(args.change.journal.as_deref(), state.as_deref())?;
        }
        job.run(&mut writer, CompletedSet::default(), &Requested::Tags(TagSelection::Top(usize::MAX)))
    } else if results == args.files.paths().len() {
        let mut all = Vec::new();
        for path in args.files.paths() {
            let found = tracks(read_rows(path)?, None);
            all.extend(found.map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?);
        }
        if args.change.apply {
            writer.open(args.change.journal.as_deref(), state.as_deref())?;
        }
        writer.tracks(all)
    } else {
        return Err(CliError::usage("expected only audio or only results files, found both"));
    };
    // Also after an error: songs that were changed can be restored.
    writer.end();
    let code = outcome?;
    Ok(if code == 0 && writer.counts.failed > 0 { SOME_FAILED } else { code })
}

fn read_rules(args: &RuleArgs) -> Result<FieldRules, CliError> {
    let overrides =
        RuleOverrides { threshold: args.threshold, most: args.most.map(usize::from), mode: args.mode };
    let Some(path) = &args.mapping else {
        return FieldRules::parse(&args.preset.text(), overrides).map_err(CliError::usage);
    };
    let named = |error: String| CliError::usage(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    FieldRules::parse(&text, overrides).map_err(named)
}

/// Journal and lock of a run that changes files.
struct OpenRun {
    journal: WriteJournal,
    _lock: RunLock,
}

impl OpenRun {
    /// Adds a line to the journal, and names it before the first file changes.
    fn add(&mut self, line: &JournalLine) -> Result<(), String> {
        if self.journal.lines() == 0 {
            // Also with --quiet: without the name nothing can be undone.
            say!("tagwave: journal: {}", self.journal.path.display());
        }
        self.journal.add(line).map_err(|error| format!("cannot write the journal: {error}"))
    }
}

/// Sink that writes the tags of each file into it.
struct SongWriter<'a> {
    args: &'a WriteArgs,
    rules: FieldRules,
    run: Option<OpenRun>,
    /// Files of this run, without links.
    seen: HashSet<PathBuf>,
    counts: WriteCounts,
    /// First tags without a field; `None` once a song has a tag with one.
    unknown_tags: Option<Vec<String>>,
    /// True while standard output is read.
    is_read: bool,
}

#[derive(Default)]
struct WriteCounts {
    changed: usize,
    without_tag: usize,
    with_values: usize,
    failed: usize,
}

impl<'a> SongWriter<'a> {
    fn new(args: &'a WriteArgs, rules: FieldRules) -> Result<SongWriter<'a>, CliError> {
        if args.change.sidecar.is_some() && args.rules.provenance != Provenance::None {
            return Err(CliError::usage("--sidecar files always name the model: omit --provenance"));
        }
        Ok(SongWriter {
            args,
            rules,
            run: None,
            seen: HashSet::new(),
            counts: WriteCounts::default(),
            unknown_tags: Some(Vec::new()),
            is_read: true,
        })
    }

    /// Takes the lock and creates the journal.
    fn open(&mut self, journal: Option<&Path>, state: Option<&Path>) -> Result<(), CliError> {
        let Some(state) = state else {
            return Err(CliError::usage("no per-user state folder: set HOME"));
        };
        let failed = |error: io::Error| CliError::usage(format!("cannot keep a journal: {error}"));
        let lock = RunLock::acquire(state).map_err(|error| CliError::usage(error.to_string()))?;
        let journal = WriteJournal::create(journal, &state.join("journals")).map_err(failed)?;
        self.run = Some(OpenRun { journal, _lock: lock });
        Ok(())
    }

    /// Processes the tracks of results, until the program is told to stop.
    fn tracks(&mut self, tracks: Vec<TrackScores>) -> Result<u8, CliError> {
        let cancel = CancelToken::new();
        stop_on_interrupt(cancel.clone());
        for (index, track) in tracks.into_iter().enumerate() {
            if cancel.is_cancelled() {
                say!("tagwave: interrupted after {}; {}", counted(index, "file"), self.kept());
                return Ok(INTERRUPTED);
            }
            let path = path_of_text(&track.path).map_err(|error| CliError::usage(error.to_string()))?;
            let result = match track.scores {
                Some(scores) => {
                    let scores = scores.into_iter().collect();
                    self.song(&path, &TaggedTrack { scores, made: track.made })
                }
                None => self.failed(&path, "was not tagged".into()),
            };
            result.map_err(|error| write_failed(&error))?;
        }
        Ok(0)
    }

    /// Words for the state of songs after an interruption.
    fn kept(&self) -> &'static str {
        if self.run.is_some() { "songs that were changed stay so" } else { "nothing was written" }
    }

    /// Processes one song.
    fn song(&mut self, path: &Path, track: &TaggedTrack) -> io::Result<()> {
        if track.scores.iter().any(|(tag, _)| self.rules.knows(tag)) {
            self.unknown_tags = None;
        } else if let Some(unknown) = &mut self.unknown_tags {
            let new = track.scores.iter().map(|(tag, _)| tag).filter(|tag| !unknown.contains(tag));
            let new: Vec<String> =
                new.take((SHOWN_TAGS + 1).saturating_sub(unknown.len())).cloned().collect();
            unknown.extend(new);
        }
        let outcome = match self.args.change.sidecar {
            None => self.tag_song(path, track),
            Some(sidecar) => self.put_sidecar(sidecar, path, track),
        };
        self.print(path, outcome.unwrap_or_else(SongOutcome::Failed))
    }

    fn failed(&mut self, path: &Path, message: String) -> io::Result<()> {
        self.print(path, SongOutcome::Failed(message))
    }

    fn print(&mut self, path: &Path, outcome: SongOutcome) -> io::Result<()> {
        match &outcome {
            SongOutcome::Changed { .. } => self.counts.changed += 1,
            SongOutcome::Unchanged(UnchangedReason::NoTag) => self.counts.without_tag += 1,
            SongOutcome::Unchanged(UnchangedReason::HasValues) => self.counts.with_values += 1,
            SongOutcome::Failed(_) => self.counts.failed += 1,
        }
        let report = SongReport { path, outcome: &outcome, is_applied: self.run.is_some() };
        if !self.is_read {
            return Ok(());
        }
        match report.print(self.args.format, &mut io::stdout().lock()) {
            // The reader has seen enough, which is no reason to change only some of the files.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.run.is_some() => {
                self.is_read = false;
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Path without links; an error if this run had it already.
    fn enter(&mut self, path: &Path) -> Result<PathBuf, String> {
        if path.as_os_str() == "-" {
            return Err("standard input has no tags to write".into());
        }
        let real = fs::canonicalize(path).map_err(|error| format!("cannot open: {error}"))?;
        if !self.seen.insert(real.clone()) {
            return Err("leads to a file that was processed already by another name".into());
        }
        Ok(real)
    }

    /// Computes the changes of a song and writes them, if the run does.
    fn tag_song(&mut self, path: &Path, track: &TaggedTrack) -> Result<SongOutcome, String> {
        let real = self.enter(path)?;
        let metadata = fs::metadata(&real).map_err(|error| format!("cannot open: {error}"))?;
        check(&metadata, self.args.change.break_hard_links)?;
        let file = File::open(&real).map_err(|error| format!("cannot open: {error}"))?;
        let song = guarded(|| SongTags::read(&mut BufReader::new(file), false))?;
        let found = changes(&song, &self.rules, track, self.args.rules.provenance);
        if found.is_empty() {
            return Ok(self.unchanged(track));
        }
        let Some(run) = &mut self.run else {
            return Ok(SongOutcome::Changed { title: song.title(), changes: found });
        };
        let original = Original::read(&real, self.args.change.break_hard_links)?;
        let (title, new) = guarded(|| rewritten(&original.bytes, &found, self.args.change.id3v2))?;
        let line = JournalLine::new(&real, Some(&original), &new);
        run.add(&line)?;
        let time = self.args.change.keep_time.then(|| original.modified_ns());
        replace(&real, &original, &new, time)?;
        Ok(SongOutcome::Changed { title, changes: found })
    }

    /// Writes a file beside a song.
    fn put_sidecar(
        &mut self,
        sidecar: Sidecar,
        path: &Path,
        track: &TaggedTrack,
    ) -> Result<SongOutcome, String> {
        if !path.is_file() {
            return Err("cannot open: not a file".into());
        }
        let target = std::path::absolute(sidecar.path_of(path)).map_err(|error| error.to_string())?;
        if !self.seen.insert(target.clone()) {
            return Err(format!("{}: belongs to another song of this run", target.display()));
        }
        if !sidecar.is_ours(&target)? {
            return Err(format!("{}: exists and was not written by tagwave", target.display()));
        }
        let Some(contents) = sidecar.contents(&self.rules, track) else { return Ok(self.unchanged(track)) };
        let original = if target.exists() { Some(Original::read(&target, false)?) } else { None };
        if original.as_ref().is_some_and(|original| original.bytes == contents.as_bytes()) {
            return Ok(SongOutcome::Unchanged(UnchangedReason::HasValues));
        }
        if let Some(run) = &mut self.run {
            run.add(&JournalLine::new(&target, original.as_ref(), contents.as_bytes()))?;
            create(&target, contents.as_bytes())?;
        }
        let values = |rule: &mapping::FieldRule| {
            let after = rule.select(&track.scores);
            (!after.is_empty()).then(|| FieldChange { field: rule.field.clone(), before: Vec::new(), after })
        };
        let changes = self.rules.0.iter().filter_map(values).collect();
        Ok(SongOutcome::Changed { title: "sidecar", changes })
    }

    /// A song that stays as it is, with the reason.
    fn unchanged(&self, track: &TaggedTrack) -> SongOutcome {
        let has_tag = self.rules.selects_any(&track.scores);
        SongOutcome::Unchanged(if has_tag { UnchangedReason::HasValues } else { UnchangedReason::NoTag })
    }

    /// Prints the summary, and removes a journal without files.
    fn end(&self) {
        let WriteCounts { changed, without_tag, with_values, failed } = self.counts;
        if !self.args.progress.quiet {
            let verb = if self.run.is_some() { "changed" } else { "would change" };
            let advice =
                if self.run.is_none() && changed > 0 { "; nothing was written: add --apply" } else { "" };
            say!(
                "tagwave: {} {verb}, {with_values} with values already, {without_tag} without a score that is high \
                 enough, {failed} failed{advice}",
                counted(changed, "file")
            );
            if let Some(unknown) = self.unknown_tags.as_ref().filter(|unknown| !unknown.is_empty()) {
                let shown = unknown[..unknown.len().min(SHOWN_TAGS)].join(", ");
                let more = if unknown.len() > SHOWN_TAGS { ", ..." } else { "" };
                say!(
                    "tagwave: no field takes any of the tags ({shown}{more}): add them with --mapping; --show-mapping \
                     prints one to begin with"
                );
            }
        }
        let Some(OpenRun { journal, .. }) = &self.run else { return };
        journal.remove_if_empty();
        if journal.lines() > 0 && !self.args.progress.quiet {
            say!("tagwave: to restore them: tagwave write --undo {}", journal.path.display());
        }
    }
}

impl Sink for SongWriter<'_> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        match &row.outcome {
            Ok(found) => {
                let scores = match &found.values {
                    Values::Tags(tags) => {
                        tags.iter().map(|tag| (tag.label.clone(), tag.score.into())).collect()
                    }
                    Values::Embedding(_) | Values::Tap { .. } => Vec::new(),
                };
                let made = Some((found.model.clone(), found.compat.to_string()));
                self.song(&row.path, &TaggedTrack { scores, made })
            }
            Err(failure) => self.failed(&row.path, failure.message.clone()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn interrupt(&mut self) -> io::Result<&'static str> {
        Ok(self.kept())
    }
}
