//! Fields of songs that may be written, and their names in each kind of tag.

use std::fmt;

/// Name of the field in which the program describes what it wrote.
pub(super) const OWN: &str = "TAGWAVE";

/// Fields of a song that describe it otherwise: never written, so that a wrong mapping cannot replace a title.
const PROTECTED: &[&str] = &[
    "ALBUM",
    "ALBUM ARTIST",
    "ALBUMARTIST",
    "ARTIST",
    "ARTISTS",
    "BARCODE",
    "COMPILATION",
    "COMPOSER",
    "CONDUCTOR",
    "COPYRIGHT",
    "COVERART",
    "CUESHEET",
    "DATE",
    "DISC",
    "DISCNUMBER",
    "DISCTOTAL",
    "ENCODER",
    "ID3",
    "ISRC",
    "LABEL",
    "LYRICIST",
    "LYRICS",
    "METADATA_BLOCK_PICTURE",
    "OGGS",
    "ORIGINALDATE",
    "PERFORMER",
    "PUBLISHER",
    "RATING",
    "REPLAYGAIN",
    "TAG",
    "TAGWAVE",
    "TITLE",
    "TOTALDISCS",
    "TOTALTRACKS",
    "TRACK",
    "TRACKNUMBER",
    "TRACKTOTAL",
    "YEAR",
];

/// Field of a song.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    Genre,
    Mood,
    Grouping,
    Comment,
    /// A field of another name, in upper case.
    Custom(String),
}

impl Field {
    /// Parses the name of a field.
    ///
    /// # Errors
    /// A name that a kind of tag cannot hold, or a field that is never written.
    pub(super) fn parse(name: &str) -> Result<Field, String> {
        match name.to_ascii_lowercase().as_str() {
            "genre" => return Ok(Field::Genre),
            "mood" => return Ok(Field::Mood),
            "grouping" => return Ok(Field::Grouping),
            "comment" => return Ok(Field::Comment),
            _ => {}
        }
        let upper = name.to_ascii_uppercase();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-');
        // Names of an APE tag have 2 to 255 characters.
        if !(2..=64).contains(&name.len()) || !name.chars().all(is_name) || name.trim() != name {
            return Err(format!(
                "field {name:?}: expected 2 to 64 letters, digits, spaces, '_' and '-' of ASCII"
            ));
        }
        let is_protected = PROTECTED.iter().any(|other| upper == *other)
            || ["REPLAYGAIN", "MUSICBRAINZ", "ACOUSTID"].iter().any(|start| upper.starts_with(start));
        if is_protected {
            return Err(format!(
                "field {name:?}: expected genre, mood, grouping, comment or a name of your own"
            ));
        }
        Ok(Field::Custom(upper))
    }

    /// Name in Vorbis comments, APE tags, extended frames of ID3v2 and free atoms of MP4.
    pub(super) fn name(&self) -> &str {
        match self {
            Field::Genre => "GENRE",
            Field::Mood => "MOOD",
            Field::Grouping => "GROUPING",
            Field::Comment => "COMMENT",
            Field::Custom(name) => name,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Custom(name) => formatter.write_str(name),
            known => formatter.write_str(&known.name().to_ascii_lowercase()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_and_names_that_tags_cannot_hold_are_refused() {
        assert_eq!(Field::parse("Genre").unwrap(), Field::Genre);
        assert_eq!(Field::parse("style").unwrap(), Field::Custom("STYLE".into()));
        for wrong in
            ["title", "Album Artist", "tagwave", "replaygain_track_gain", "a", "a=b", " x y", "\u{e9}tat"]
        {
            assert!(Field::parse(wrong).is_err(), "{wrong}");
        }
    }
}
