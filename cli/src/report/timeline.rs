//! Tags of a song over time, of results with a result per clip.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::CliError;

/// Number of tags of a song that are shown.
const TAGS: usize = 8;

/// Tags of a song over time.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Timeline {
    name: String,
    /// Start of each clip in seconds.
    starts: Vec<f64>,
    /// End of the last clip in seconds.
    end: f64,
    tags: Vec<TimelineTag>,
}

/// Scores of a tag in each clip.
#[derive(Debug, PartialEq, Serialize)]
struct TimelineTag {
    name: String,
    scores: Vec<f64>,
}

/// Row with clips.
#[derive(Deserialize)]
struct ClipRow {
    path: Option<String>,
    track_s: Option<f64>,
    #[serde(default)]
    clips: Vec<ClipTags>,
}

#[derive(Deserialize)]
struct ClipTags {
    start_s: f64,
    #[serde(default)]
    tags: Vec<ClipTag>,
}

#[derive(Deserialize)]
struct ClipTag {
    tag: String,
    score: f64,
}

/// Reads the songs of a file in JSON Lines.
pub(super) fn read_timelines(path: &Path) -> Result<Vec<Timeline>, CliError> {
    let named = |message: String| CliError::usage(format!("{}: {message}", path.display()));
    let file = File::open(path).map_err(|error| named(error.to_string()))?;
    let mut found = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| named(error.to_string()))?;
        let row: ClipRow = serde_json::from_str(&line)
            .map_err(|error| named(format!("line {}: expected a row in JSON: {error}", index + 1)))?;
        if !row.clips.is_empty() {
            found.push(timeline(row));
        }
    }
    if found.is_empty() {
        let advice =
            "no row has clips: make it by `tagwave tag --clips all --per-clip --top 50 -o FILE.jsonl SONG`";
        return Err(named(advice.into()));
    }
    Ok(found)
}

/// The tags with the highest score in any clip.
fn timeline(row: ClipRow) -> Timeline {
    let mut names: Vec<(&str, f64)> = Vec::new();
    for ClipTag { tag, score } in row.clips.iter().flat_map(|clip| &clip.tags) {
        match names.iter_mut().find(|(name, _)| name == tag) {
            Some((_, highest)) => *highest = highest.max(*score),
            None => names.push((tag, *score)),
        }
    }
    names.sort_by(|a, b| b.1.total_cmp(&a.1));
    names.truncate(TAGS);
    let score = |clip: &ClipTags, name: &str| {
        clip.tags.iter().find(|tag| tag.tag == name).map_or(0.0, |tag| tag.score)
    };
    let tag = |(name, _): &(&str, f64)| TimelineTag {
        name: name.to_string(),
        scores: row.clips.iter().map(|clip| score(clip, name)).collect(),
    };
    let path = row.path.as_deref().unwrap_or_default();
    let starts: Vec<f64> = row.clips.iter().map(|clip| clip.start_s).collect();
    Timeline {
        name: Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        end: end_of(&starts, row.track_s),
        starts,
        tags: names.iter().map(tag).collect(),
    }
}

/// End of the last clip: that of the track, or as long after its start as the clips are apart.
fn end_of(starts: &[f64], track_s: Option<f64>) -> f64 {
    let last = starts.last().copied().unwrap_or(0.0);
    let apart = match starts {
        [.., before, last] => last - before,
        _ => 0.0,
    };
    track_s.filter(|&length| length > last).unwrap_or(last + apart.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_become_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        let clip = r#"{"start_s": 29.12, "tags": [{"tag": "jazz", "score": 0.9}]}"#;
        let first = r#"{"start_s": 0, "tags": [{"tag": "rock", "score": 0.5}]}"#;
        std::fs::write(
            &path,
            format!("{{\"path\": \"a/b.mp3\", \"clips\": [{first}, {clip}]}}\n{{\"path\": \"c\"}}\n"),
        )
        .unwrap();
        let found = read_timelines(&path).unwrap_or_else(|error| panic!("{}", error.message));
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].name, &found[0].starts[..]), ("b", &[0.0, 29.12][..]));
        assert_eq!(found[0].end, 58.24);
        assert_eq!(found[0].tags[0], TimelineTag { name: "jazz".into(), scores: vec![0.0, 0.9] });
        std::fs::write(&path, format!("{{\"path\": \"a.mp3\", \"track_s\": 40.5, \"clips\": [{clip}]}}\n"))
            .unwrap();
        assert_eq!(read_timelines(&path).ok().unwrap()[0].end, 40.5);
        std::fs::write(&path, "{\"path\": \"c\"}\n").unwrap();
        assert!(read_timelines(&path).err().unwrap().message.contains("--per-clip"));
    }
}
