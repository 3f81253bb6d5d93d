//! New contents of a song, checked before they are written.

use std::io::Cursor;

use clap::ValueEnum;

use super::container::{Id3Target, SongTags, properties};
use super::field::Field;
use super::plan::FieldChange;

/// Version of ID3v2 tags to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub(super) enum Id3Arg {
    /// As the tag has it; 2.4 for new tags, and if 2.3 would lose a frame
    #[default]
    Keep,
    /// ID3v2.3; an error for tags that would lose a frame
    #[value(name = "2.3")]
    V3,
    /// ID3v2.4
    #[value(name = "2.4")]
    V4,
}

/// Contents of a song with changed fields, and the name of its kind of tag. Everything else in the tags and the properties
/// of the audio are checked to be the same.
pub(super) fn rewritten(
    old: &[u8],
    changes: &[FieldChange],
    version: Id3Arg,
) -> Result<(&'static str, Vec<u8>), String> {
    let found = SongTags::read(&mut Cursor::new(old), false)?;
    let kept = found.id3_version();
    let target = match version {
        Id3Arg::Keep => kept,
        Id3Arg::V3 => kept.map(|_| Id3Target::V3),
        Id3Arg::V4 => kept.map(|_| Id3Target::V4),
    };
    let first = rewritten_as(old, changes, target, target != kept);
    match first {
        // ID3v2.3 lacks some frames that programs put into it nevertheless.
        Err(Rewriting::Loses(_)) if version == Id3Arg::Keep && kept == Some(Id3Target::V3) => {
            rewritten_as(old, changes, Some(Id3Target::V4), true)
        }
        first => first,
    }
    .map_err(|error| match error {
        Rewriting::Loses(item) => format!("rewriting the tag would lose or change {item}: left as it is"),
        Rewriting::Failed(message) => message,
    })
}

/// Error of rewriting a tag.
enum Rewriting {
    /// An item of the tag is not the same afterwards.
    Loses(String),
    Failed(String),
}

impl From<String> for Rewriting {
    fn from(message: String) -> Rewriting {
        Rewriting::Failed(message)
    }
}

fn rewritten_as(
    old: &[u8],
    changes: &[FieldChange],
    target: Option<Id3Target>,
    is_converted: bool,
) -> Result<(&'static str, Vec<u8>), Rewriting> {
    let mut song = SongTags::read(&mut Cursor::new(old), is_converted)?;
    let fields: Vec<&Field> = changes.iter().map(|change| &change.field).collect();
    let before = song.rest(&fields);
    target.into_iter().for_each(|target| song.set_id3_version(target));
    for change in changes {
        song.set(&change.field, &change.after)?;
    }
    let new = song.write(old.to_vec())?;
    let found = SongTags::read(&mut Cursor::new(&new), is_converted)?;
    let after = found.rest(&fields);
    if let Some(item) = before.iter().find(|item| !after.contains(item)) {
        return Err(Rewriting::Loses(item.chars().take(60).collect()));
    }
    if after.len() != before.len() {
        return Err(Rewriting::Failed("rewriting the tag would add items: left as it is".into()));
    }
    for change in changes {
        if found.values(&change.field) != change.after {
            return Err(Rewriting::Failed(format!(
                "field {}: written as {:?}, read back as {:?}: left as it is",
                change.field,
                change.after,
                found.values(&change.field)
            )));
        }
    }
    if properties(old)? != properties(&new)? {
        return Err(Rewriting::Failed("rewriting the tag would change the audio: left as it is".into()));
    }
    Ok((found.title(), new))
}
