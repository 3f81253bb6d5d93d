//! `tagwave duplicates`: the tracks that the index holds more than once.

use clap::Args;
use serde_json::json;

use super::listing::{ListArgs, ListFormat};
use super::{m3u, name_of, name_of_duplicate, rounded, shown_path, text_of_duplicate};
use crate::{CliError, counted};
use tagwave::search::{self, Duplicate, TrackIndex, Vectors};

/// Arguments of `tagwave duplicates`.
#[derive(Debug, Args)]
#[command(
    after_help = "A group has the same file by several names, and what is probably the same recording: a similarity of at \
                  least 0.98 and the same length within 2 s. Nothing is removed."
)]
pub(crate) struct DuplicatesArgs {
    #[command(flatten)]
    list: ListArgs,
}

/// A track of a group, compared with the group's first track.
struct Member {
    row: usize,
    /// `None` for the first track.
    relation: Option<(Duplicate, f32)>,
}

/// Lists duplicates.
pub(crate) fn duplicates(args: &DuplicatesArgs) -> Result<u8, CliError> {
    let index = args.list.load()?;
    let groups: Vec<Vec<Member>> =
        search::duplicates(&index).into_iter().map(|rows| members(&index, &rows)).collect();
    let text = match args.list.form() {
        ListFormat::Table => groups.iter().map(|group| lines(&index, group)).collect(),
        ListFormat::Jsonl => {
            let numbered = groups.iter().zip(1..);
            numbered.map(|(group, number)| objects(&index, group, number)).collect()
        }
        ListFormat::M3u8 => {
            let tracks = groups.iter().flatten().map(|member| &index.tracks()[member.row]);
            m3u::playlist(tracks, args.list.output.as_deref()).map_err(CliError::usage)?
        }
    };
    args.list.put(&text)?;
    let tracks: usize = groups.iter().map(Vec::len).sum();
    say!("tagwave: {} of duplicates, {}", counted(groups.len(), "group"), counted(tracks, "track"));
    Ok(0)
}

fn members(index: &TrackIndex, rows: &[usize]) -> Vec<Member> {
    let first = rows[0];
    let relation = |row: usize| {
        let has_same_contents = index.tracks()[first].content == index.tracks()[row].content;
        let duplicate = if has_same_contents { Duplicate::File } else { Duplicate::Recording };
        (duplicate, cosine(index.vectors(), first, row))
    };
    rows.iter().map(|&row| Member { row, relation: (row != first).then(|| relation(row)) }).collect()
}

fn cosine(vectors: &Vectors, a: usize, b: usize) -> f32 {
    vectors.row(a).iter().zip(vectors.row(b)).map(|(a, b)| a * b).sum()
}

/// A line with the name, then one per file.
fn lines(index: &TrackIndex, group: &[Member]) -> String {
    let mut text = format!("{}\n", name_of(&index.tracks()[group[0].row]));
    for member in group {
        let note = member.relation.map(|(duplicate, _)| format!("  ({})", text_of_duplicate(duplicate)));
        text += &format!("        {}{}\n", shown_path(&index.tracks()[member.row]), note.unwrap_or_default());
    }
    text
}

fn objects(index: &TrackIndex, group: &[Member], number: usize) -> String {
    let object = |member: &Member| {
        let track = &index.tracks()[member.row];
        let (duplicate, cosine) = member.relation.unzip();
        let object = json!({
            "group": number, "path": track.path, "size": track.size, "artist": track.artist, "title": track.title,
            "track_s": track.track_s, "duplicate": duplicate.map(name_of_duplicate), "similarity": cosine.map(rounded),
        });
        format!("{object}\n")
    };
    group.iter().map(object).collect()
}
