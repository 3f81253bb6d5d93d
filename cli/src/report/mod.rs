//! `tagwave report`: a page of a music library, in one file of HTML that requests nothing from anywhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Serialize;

use super::library::{IndexArgs, check_extension, name_of, path_of_track, relative_to};
use super::results::{path_of_text, read_rows, tracks};
use super::{CliError, SOME_FAILED, counted};
use tagwave::pca::{Moments, PcaError};
use tagwave::search::TrackIndex;
use tagwave::sinks::write_file;

mod timeline;

use timeline::{Timeline, read_timelines};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Share of the tracks that may lie on the edge of the map, at each side: one odd track does not squeeze all others.
const EDGE: f64 = 0.002;

/// Arguments of `tagwave report`.
#[derive(Debug, Args)]
#[command(
    after_help = "The page shows counts per tag, a map of the library by the first two principal components, a table \
                        to sort and search, and plays songs by their path relative to the page. docs/library.md"
)]
pub(super) struct PageArgs {
    /// Results of `tagwave tag --top 50 -o` [default: the index]
    #[arg(value_name = "RESULTS")]
    results: Option<PathBuf>,

    /// File of the page
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Results of `tagwave tag --clips all --per-clip -o FILE.jsonl` for a few songs, shown as tags over time
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,

    #[command(flatten)]
    index: IndexArgs,
}

/// Tracks of a page.
struct PageTracks {
    model: Option<String>,
    labels: Vec<String>,
    paths: Vec<PathBuf>,
    names: Vec<String>,
    lengths_s: Vec<Option<f64>>,
    /// Scores `[tracks, K]`.
    scores: Vec<f32>,
    /// Features for the map `[tracks, D]`.
    features: Vec<f32>,
    failed: usize,
}

/// Data of a page, as its script reads it.
#[derive(Serialize)]
struct PageData {
    model: Option<String>,
    labels: Vec<String>,
    names: Vec<String>,
    paths: Vec<String>,
    /// Paths relative to the page.
    links: Vec<String>,
    /// Seconds, -1 if unknown.
    lengths: Vec<i64>,
    /// Scores `[tracks, K]` times 255, bytes in base64.
    scores: String,
    /// Places on the map `[tracks, 2]`, 16-bit numbers in base64, little-endian.
    places: String,
    failed: usize,
    timelines: Vec<Timeline>,
}

/// Writes the page.
pub(super) fn report(args: &PageArgs) -> Result<u8, CliError> {
    check_extension(&args.output, &["html", "htm"])?;
    let found = match &args.results {
        Some(path) => of_results(path)?,
        None => of_index(&args.index)?,
    };
    if found.paths.is_empty() {
        return Err(CliError::usage("no tracks to report"));
    }
    let timelines = args.timeline.as_deref().map(read_timelines).transpose()?.unwrap_or_default();
    let count = found.paths.len();
    let text = page(data(found, timelines, &args.output)?)?;
    write_file(&args.output, text.as_bytes())
        .map_err(|error| CliError { message: format!("cannot write {error}"), code: SOME_FAILED })?;
    say!("tagwave: {}: {}", args.output.display(), counted(count, "track"));
    Ok(0)
}

fn of_index(args: &IndexArgs) -> Result<PageTracks, CliError> {
    let folder = args.folder()?;
    let index = TrackIndex::load(&folder)?;
    let features = index.load_embeddings(&folder)?;
    let tracks = index.tracks();
    Ok(PageTracks {
        model: Some(index.info().model.clone()),
        labels: index.info().labels.clone(),
        paths: tracks.iter().map(path_of_track).collect(),
        names: tracks.iter().map(name_of).collect(),
        lengths_s: tracks.iter().map(|track| track.track_s).collect(),
        scores: (0..tracks.len()).flat_map(|row| index.scores(row)).copied().collect(),
        features,
        failed: 0,
    })
}

fn of_results(path: &Path) -> Result<PageTracks, CliError> {
    let named = |message: String| CliError::usage(format!("{}: {message}", path.display()));
    let all = tracks(read_rows(path)?, None).map_err(named)?;
    let tags: BTreeSet<&String> =
        all.iter().flat_map(|track| &track.scores).flat_map(|scores| scores.keys()).collect();
    let labels: Vec<String> = tags.into_iter().cloned().collect();
    let mut found = PageTracks {
        model: all.iter().find_map(|track| track.made.clone()).map(|(model, _)| model),
        labels,
        paths: Vec::new(),
        names: Vec::new(),
        lengths_s: Vec::new(),
        scores: Vec::new(),
        features: Vec::new(),
        failed: 0,
    };
    for track in &all {
        let Some(scores) = &track.scores else {
            found.failed += 1;
            continue;
        };
        let path = path_of_text(&track.path).map_err(|error| named(error.to_string()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        found.names.push(name.replace(char::is_control, "\u{fffd}"));
        found.paths.push(path);
        found.lengths_s.push(track.track_s);
        found
            .scores
            .extend(found.labels.iter().map(|label| scores.get(label).map_or(0.0, |&score| score as f32)));
    }
    found.features = found.scores.clone();
    Ok(found)
}

fn data(found: PageTracks, timelines: Vec<Timeline>, output: &Path) -> Result<PageData, CliError> {
    let places =
        places(&found.features, found.paths.len()).map_err(|error| CliError::usage(error.to_string()))?;
    let places: Vec<u8> = places.into_iter().flat_map(u16::to_le_bytes).collect();
    let scores: Vec<u8> =
        found.scores.iter().map(|score| (score.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
    let text = |path: &Path| path.to_string_lossy().replace('\\', "/");
    Ok(PageData {
        model: found.model,
        labels: found.labels,
        names: found.names,
        links: found.paths.iter().map(|path| text(&relative_to(path, output))).collect(),
        paths: found.paths.iter().map(|path| text(path)).collect(),
        lengths: found.lengths_s.iter().map(|length| length.map_or(-1, |s| s.round() as i64)).collect(),
        scores: STANDARD.encode(scores),
        places: STANDARD.encode(places),
        failed: found.failed,
        timelines,
    })
}

/// Places of tracks on the map, 0 to 65535: their first two principal components.
fn places(features: &[f32], tracks: usize) -> Result<Vec<u16>, PcaError> {
    let length = features.len().checked_div(tracks).unwrap_or(0);
    let mut moments = Moments::new(length)?;
    features.chunks_exact(length).try_for_each(|row| moments.push(row))?;
    let components = moments.components(2.min(length).min(tracks))?;
    let coordinates: Vec<Vec<f64>> =
        features.chunks_exact(length).map(|row| components.project(row)).collect();
    let axes: Vec<Vec<u16>> = (0..2)
        .map(|axis| scaled(coordinates.iter().map(|at| at.get(axis).copied().unwrap_or(0.0)).collect()))
        .collect();
    Ok(axes[0].iter().zip(&axes[1]).flat_map(|(&x, &y)| [x, y]).collect())
}

/// Scales coordinates to 0 to 65535; the outermost are put on the edge.
fn scaled(values: Vec<f64>) -> Vec<u16> {
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let skipped = (sorted.len() as f64 * EDGE) as usize;
    let low = sorted.get(skipped).copied().unwrap_or(0.0);
    let high = sorted.iter().rev().nth(skipped).copied().unwrap_or(0.0);
    let range = (high - low).max(1e-12);
    values.into_iter().map(|value| ((value - low) / range * 65_535.0).clamp(0.0, 65_535.0) as u16).collect()
}

fn page(data: PageData) -> Result<String, CliError> {
    let json = serde_json::to_string(&data).map_err(|error| CliError::usage(error.to_string()))?;
    // `</script>` in a name would end the data.
    let json = json.replace('<', "\\u003c");
    let text = PAGE.replace("@STYLE@", STYLE).replace("@SCRIPT@", SCRIPT);
    Ok(text.replacen("@DATA@", &json, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_shows_the_directions_of_most_variance() {
        // A line in three dimensions: one axis has it all.
        let features: Vec<f32> = (0..50).flat_map(|i| [i as f32, 2.0 * i as f32, 7.0]).collect();
        let found = places(&features, 50).unwrap();
        assert_eq!((found[0], found[98]), (0, 65_535));
        assert!((i32::from(found[50]) - 32_767).abs() < 2000);
        // One track, or none that differ.
        assert_eq!(places(&[1.0, 2.0], 1).unwrap().len(), 2);
        assert_eq!(places(&[1.0, 2.0, 1.0, 2.0], 2).unwrap().len(), 4);
    }

    #[test]
    fn names_cannot_end_the_data() {
        let found = PageTracks {
            model: None,
            labels: vec!["rock".into()],
            paths: vec!["/m/</script><b>.mp3".into()],
            names: vec!["</script><b>".into()],
            lengths_s: vec![None],
            scores: vec![0.5],
            features: vec![0.5],
            failed: 0,
        };
        let text = page(data(found, Vec::new(), Path::new("/m/r.html")).unwrap()).unwrap();
        assert!(!text.contains("</script><b>") && text.contains("\\u003c/script>"));
        assert_eq!(text.matches("</script>").count(), 2);
    }
}
