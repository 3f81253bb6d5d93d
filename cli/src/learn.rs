//! `tagwave learn`: a model of one's own tags from labelled tracks. docs/models.md describes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::entry::FileEntry;
use super::eval::{EvalReport, ReportArg, write_report};
use super::inputs::FileArgs;
use super::labels::{LabelArgs, LabelTable, some};
use super::library::check_extension;
use super::progress::ProgressArgs;
use super::results::{TrackScores, feature_rows, is_audio, read_rows, tracks};
use super::walk::LeftOut;
use super::{CliError, INTERRUPTED, ModelArgs, SOME_FAILED, counted};
use tagwave::error::Error;
use tagwave::evaluation::{EvaluationOptions, Folds, LabelledScores, evaluate};
use tagwave::learning::{LabelledFeatures, LearnOptions, LearningError, LinearHead, cross_validate, fit};
use tagwave::models::{self, Compat, Model};
use tagwave::sinks::{ReadRow, ReadValues};
use tagwave::tags::Vocabulary;
use tagwave::tensor::DType;
use tagwave::weights::{self, Weights};

/// Extension of model files.
const EXTENSION: &str = "safetensors";
/// Tracks with a tag, and without it, that are needed to learn it.
const LEAST: usize = 2;
/// Tracks with a tag below which its figures are uncertain.
const FEW: usize = 10;
/// Score from which a tag counts as predicted in the report.
const THRESHOLD: f64 = 0.5;
const BOOTSTRAP: u32 = 1000;
const BINS: usize = 10;

/// Arguments of `tagwave learn`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct LearnArgs {
    /// Labelled tracks: audio files and folders, or one file of features written by `tagwave embed -o`
    #[arg(required = true, value_name = "TRACKS")]
    tracks: Vec<PathBuf>,

    #[command(flatten)]
    labels: LabelArgs,

    /// Model file to write (.safetensors)
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Keep the tags of the model beside the learned ones
    #[arg(long)]
    also: bool,

    /// Weight of the squared coefficients; larger for few tracks
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0)]
    penalty: f64,

    /// Give the tracks with a tag and those without it the same total weight: rare tags get higher scores
    #[arg(long)]
    balanced: bool,

    /// Number of folds of cross-validation
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=100))]
    folds: u16,

    /// Seed of the folds and of the bootstrap
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Form of the report
    #[arg(long, value_enum, default_value_t)]
    format: ReportArg,

    /// File of the report [default: standard output]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    progress: ProgressArgs,
}

const AFTER_HELP: &str = "\
Each tag is a logistic regression on the features of --model, one clip from the middle of each track; the file works \
everywhere with --model FILE. The report has the figures of `tagwave eval` for tracks that were left out of the fit. \
Features are computed once with `tagwave embed FOLDER -o features.jsonl`.";

/// Features of tracks.
struct FeatureTable {
    paths: Vec<String>,
    /// `[N, D]`.
    features: Vec<f64>,
    failed: usize,
}

/// Learns tags and writes a model file and a report.
pub(super) fn learn(args: &LearnArgs) -> Result<u8, CliError> {
    // Short inputs first: a mistake is found before audio is read.
    check_output(&args.output)?;
    let labels = args.labels.read()?;
    let (base, base_weights) = base(&args.model)?;
    let (table, mut code) = read_features(args, &labels, &base)?;
    if code == INTERRUPTED {
        return Ok(code);
    }
    if table.failed > 0 {
        code = SOME_FAILED;
    }
    let (data, groups) = labelled(args, &labels, &table, base.architecture().embedding_len())?;
    let options = LearnOptions { penalty: args.penalty, balanced: args.balanced };
    let mut head = fit(&data, &options)?;
    report(args, &data, &groups, &options, (&base, table.failed))?;
    if args.also {
        head.extend(&base_head(&base, &base_weights)?)?;
    }
    write_head(&args.output, &base, &base_weights, &head)?;
    if !args.progress.quiet {
        say!(
            "tagwave: {}: {} on {}, learned from {}",
            args.output.display(),
            counted(head.tags.len(), "tag"),
            base.name(),
            counted(data.tracks(), "track")
        );
    }
    Ok(code)
}

fn check_output(path: &Path) -> Result<(), CliError> {
    if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(EXTENSION)) {
        let message = format!("-o {}: expected a name that ends with .{EXTENSION}", path.display());
        return Err(CliError::usage(message));
    }
    check_extension(path, &[EXTENSION])
}

/// Model whose features are used.
fn base(args: &ModelArgs) -> Result<(Model, Weights), CliError> {
    let refused = |message: &str| Err(CliError::usage(message));
    if models::path_of(&args.model).is_some() {
        return refused("--model: expected a name from `tagwave models`, whose features are used");
    }
    if Compat::from(args.compat) != Compat::Corrected || args.label_list.is_some() {
        return refused("--compat original and --label-list cannot be used here");
    }
    let model = args.find()?;
    let weights = model.weights(&args.weights.locator()).map_err(Error::from)?;
    Ok((model, weights))
}

/// Reads features, or computes those of the audio that has labels.
fn read_features(
    args: &LearnArgs,
    labels: &LabelTable,
    base: &Model,
) -> Result<(FeatureTable, u8), CliError> {
    let (rows, code) = match &args.tracks[..] {
        [path] if !is_audio(path) => (read_rows(path)?, 0),
        paths if paths.iter().all(|path| is_audio(path)) => {
            let entries = FileArgs::of_paths(paths).entries(&Arc::new(LeftOut::default()));
            let mut found = Vec::new();
            for FileEntry { path, error } in entries {
                match error {
                    Some(error) => say!("tagwave: {}: {error}", path.display()),
                    None => found.push(path),
                }
            }
            let names: Vec<String> = found.iter().map(|path| path.to_string_lossy().into_owned()).collect();
            let matches = labels.matches(&names, args.labels.has_keys());
            let pairs = matches.map_err(|message| args.labels.error(message))?.pairs;
            let labelled: Vec<PathBuf> = pairs.iter().map(|&(_, track)| found[track].clone()).collect();
            feature_rows(&labelled, &args.model, &args.progress)?
        }
        _ => return Err(CliError::usage("expected one file of features, or only audio")),
    };
    let table = feature_table(rows, base)
        .map_err(|message| CliError::usage(format!("{}: {message}", args.tracks[0].display())))?;
    Ok((table, code))
}

fn feature_table(rows: Vec<ReadRow>, base: &Model) -> Result<FeatureTable, String> {
    let dimensions = base.architecture().embedding_len();
    if rows.iter().any(|row| matches!(row.values, ReadValues::Tags(_))) {
        return Err("holds scores, expected features: write them with `tagwave embed -o`".into());
    }
    for row in &rows {
        let other = row.made.as_ref().filter(|(model, _)| model != base.name());
        let length = match &row.values {
            ReadValues::Features(features) => features.len(),
            _ => dimensions,
        };
        if let Some((model, _)) = other {
            return Err(format!("has features of {model}, expected {}: choose it with --model", base.name()));
        }
        if length != dimensions {
            let name = base.name();
            return Err(format!("has {length} features per row, expected {dimensions} of {name}"));
        }
    }
    let names: Vec<String> = (0..dimensions).map(|feature| feature.to_string()).collect();
    let mut table = FeatureTable { paths: Vec::new(), features: Vec::new(), failed: 0 };
    for TrackScores { path, scores, .. } in tracks(rows, Some(&names))? {
        let Some(features) = scores else {
            table.failed += 1;
            continue;
        };
        table.paths.push(path);
        table.features.extend(names.iter().filter_map(|name| features.get(name)));
    }
    Ok(table)
}

/// Features and labels of the tracks that have both, and the group of each. Tags with too few tracks are left out.
fn labelled(
    args: &LearnArgs,
    labels: &LabelTable,
    table: &FeatureTable,
    dimensions: usize,
) -> Result<(LabelledFeatures, Vec<usize>), CliError> {
    let matches =
        labels.matches(&table.paths, args.labels.has_keys()).map_err(|message| args.labels.error(message))?;
    let subjects = |of: &[usize]| of.iter().map(|&label| labels.subjects[label].clone()).collect();
    let paths = matches.predictions.iter().map(|&track| table.paths[track].clone()).collect();
    let mut notes: Vec<(String, Vec<String>)> = vec![
        ("labelled tracks without features".into(), subjects(&matches.labels)),
        ("labels with several possible tracks".into(), subjects(&matches.ambiguous)),
        ("tracks without labels".into(), paths),
    ];
    let (mut tags, mut columns) = (Vec::new(), Vec::new());
    let (mut other, mut few, mut uncertain) = (Vec::new(), Vec::new(), Vec::new());
    for tag in labels.tags() {
        // A table of tracks has more columns than tags.
        let Some(Ok(truth)) = labels.truth(tag) else {
            other.push(tag.to_string());
            continue;
        };
        let column: Vec<bool> = matches.pairs.iter().map(|&(label, _)| truth[label]).collect();
        let positives = column.iter().filter(|&&is_true| is_true).count();
        if positives < LEAST || column.len() - positives < LEAST {
            few.push(tag.to_string());
            continue;
        }
        if positives < FEW {
            uncertain.push(tag.to_string());
        }
        tags.push(tag.to_string());
        columns.push(column);
    }
    let counts = format!("at least {LEAST} tracks with it and {LEAST} without it");
    if tags.is_empty() {
        return Err(args
            .labels
            .error(format!("no tag can be learned: expected columns of 0 and 1, {counts}")));
    }
    notes.push(("columns left out, which have other values than 0 and 1".into(), other));
    notes.push((format!("tags left out, which lack {counts}"), few));
    notes.push((format!("tags with fewer than {FEW} tracks, whose figures are uncertain"), uncertain));
    for (title, names) in notes.iter().filter(|(_, names)| !names.is_empty() && !args.progress.quiet) {
        say!("tagwave: {} {title}: {}", names.len(), some(names));
    }
    let rows = |pair: &(usize, usize)| table.features[pair.1 * dimensions..][..dimensions].to_vec();
    let features = matches.pairs.iter().flat_map(rows).collect();
    let truth =
        (0..matches.pairs.len()).flat_map(|row| columns.iter().map(move |column| column[row])).collect();
    let groups = labels.groups_of(matches.pairs.iter().map(|pair| pair.0));
    Ok((LabelledFeatures::new(tags, dimensions, features, truth)?, groups))
}

/// Reports the figures of cross-validation.
fn report(
    args: &LearnArgs,
    data: &LabelledFeatures,
    groups: &[usize],
    options: &LearnOptions,
    (base, failed): (&Model, usize),
) -> Result<(), CliError> {
    let Some(folds) = Folds::new(groups, args.folds.into(), args.seed) else {
        say!("tagwave: no report: expected at least {} groups of tracks, one per fold", args.folds);
        return Ok(());
    };
    if args.labels.group.is_none() && !args.progress.quiet {
        say!("tagwave: no --group: if tracks of one artist are in several folds, the figures are too high");
    }
    let scores = cross_validate(data, &folds, options)?;
    let scores = LabelledScores::new(data.tags().to_vec(), scores, data.truth().to_vec())?;
    let evaluation_options = EvaluationOptions {
        thresholds: vec![Some(THRESHOLD); data.tags().len()],
        top: vec![1],
        bins: BINS,
        replicates: BOOTSTRAP as usize,
        seed: args.seed,
    };
    let paths: Vec<String> = args.tracks.iter().map(|path| path.display().to_string()).collect();
    let report = EvalReport {
        sources: vec![format!("{}: cross-validation in {} folds", paths.join(", "), folds.count())],
        labels: args.labels.labels.display().to_string(),
        compared: None,
        group: args.labels.group.clone(),
        made: Some((base.name().to_string(), Compat::Corrected.as_str().to_string())),
        failed,
        replicates: BOOTSTRAP,
        seed: args.seed,
        unmatched: Default::default(),
        evaluation: evaluate(&scores, groups, &evaluation_options)?,
        comparison: None,
        fitted: None,
    };
    write_report(&report, &scores, args.format, args.report.as_deref())
}

/// The last layer of the model as a head.
fn base_head(base: &Model, weights: &Weights) -> Result<LinearHead, CliError> {
    let Some([weight, bias]) = models::output_layer(base, weights) else {
        let name = base.name();
        return Err(CliError::usage(format!(
            "--also: the tags of {name} do not come from its features alone"
        )));
    };
    let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect();
    let tags = base.vocabulary().map_err(Error::from)?.labels().to_vec();
    Ok(LinearHead { tags, weight: wide(weight.data()), bias: wide(bias.data()) })
}

fn write_head(path: &Path, base: &Model, weights: &Weights, head: &LinearHead) -> Result<(), CliError> {
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
    let labels = Vocabulary::new(head.tags.clone())
        .map_err(|error| CliError::usage(format!("the tags of the labels: {error}")))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let file = models::head_file(&name, base, weights, &labels, narrow(&head.weight), narrow(&head.bias));
    weights::export(&file.map_err(Error::from)?, path, DType::F32)
        .map_err(|error| CliError { message: error.to_string(), code: SOME_FAILED })?;
    Ok(())
}

impl From<LearningError> for CliError {
    fn from(error: LearningError) -> CliError {
        CliError::usage(error.to_string())
    }
}
