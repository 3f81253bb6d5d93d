//! Tags of a song, by kind of file: ID3v2, Vorbis comments, atoms of MP4, APE tags. `lofty` reads and writes them.

use std::io::{BufRead, Cursor, Read, Seek, SeekFrom};
use std::time::Duration;

use lofty::TextEncoding;
use lofty::aac::AacFile;
use lofty::ape::{ApeFile, ApeItem, ApeTag};
use lofty::config::{ParseOptions, WriteOptions};
use lofty::file::{AudioFile, FileType};
use lofty::flac::FlacFile;
use lofty::id3::v2::{ExtendedTextFrame, Frame, FrameId, Id3v2Tag, Id3v2Version, TextInformationFrame};
use lofty::iff::aiff::AiffFile;
use lofty::iff::wav::WavFile;
use lofty::mp4::{Atom, AtomData, AtomIdent, Ilst, Mp4File};
use lofty::mpeg::MpegFile;
use lofty::musepack::MpcFile;
use lofty::ogg::tag::VorbisComments;
use lofty::ogg::{OpusFile, SpeexFile, VorbisFile};
use lofty::probe::Probe;
use lofty::tag::{Accessor, ItemValue, Tag, TagExt};
use lofty::wavpack::WavPackFile;

use super::field::{Field, OWN};

/// Maker of atoms without a four-letter name, as iTunes writes them.
const ITUNES: &str = "com.apple.iTunes";
/// Separator of values in ID3v2.4 and APE.
const NUL: char = '\0';

/// Tags of one song, in the kind of tag that its file has.
pub(super) struct SongTags {
    tags: TagKind,
}

enum TagKind {
    Id3 {
        tag: Id3v2Tag,
        version: Id3v2Version,
    },
    /// Pictures are outside of the comments.
    Flac(Box<FlacFile>),
    Vorbis(VorbisComments),
    Mp4(Ilst),
    Ape(ApeTag),
}

/// Length, sample rate and channels of a song, which tags must not change.
#[derive(Debug, PartialEq)]
pub(super) struct AudioProperties {
    duration: Option<Duration>,
    sample_rate_hz: Option<u32>,
    channels: Option<u8>,
}

/// Version of an ID3v2 tag to write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Id3Target {
    V3,
    V4,
}

fn kind_of(reader: &mut (impl Seek + BufRead)) -> Result<FileType, String> {
    let probe = Probe::new(&mut *reader).guess_file_type().map_err(|error| error.to_string())?;
    let kind = probe.file_type().ok_or("tags of this kind of file are not supported")?;
    reader.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    Ok(kind)
}

impl SongTags {
    /// Reads the tags of a file. `upgraded` converts frames of ID3v2.3 to those of ID3v2.4; without it they stay as they
    /// are.
    ///
    /// # Errors
    /// A kind of file without tags, or tags that cannot be read.
    pub(super) fn read(reader: &mut (impl Seek + BufRead), upgraded: bool) -> Result<SongTags, String> {
        let kind = kind_of(reader)?;
        let mut options = ParseOptions::new();
        options.read_properties(false);
        let is_id3 = matches!(kind, FileType::Mpeg | FileType::Aac | FileType::Wav | FileType::Aiff);
        options.implicit_conversions(!is_id3 || upgraded);
        Ok(SongTags { tags: read_kind(kind, reader, options).map_err(|error| error.to_string())? })
    }

    /// Name of the kind of tag.
    pub(super) fn title(&self) -> &'static str {
        match &self.tags {
            TagKind::Id3 { version: Id3v2Version::V2, .. } => "ID3v2.2",
            TagKind::Id3 { version: Id3v2Version::V3, .. } => "ID3v2.3",
            TagKind::Id3 { version: Id3v2Version::V4, .. } => "ID3v2.4",
            TagKind::Flac(_) | TagKind::Vorbis(_) => "Vorbis comments",
            TagKind::Mp4(_) => "MP4",
            TagKind::Ape(_) => "APE",
        }
    }

    /// Version of the ID3v2 tag to write if the version is kept; `None` for other tags.
    pub(super) fn id3_version(&self) -> Option<Id3Target> {
        match &self.tags {
            TagKind::Id3 { version: Id3v2Version::V3, .. } => Some(Id3Target::V3),
            TagKind::Id3 { .. } => Some(Id3Target::V4),
            _ => None,
        }
    }

    /// Sets the version of the ID3v2 tag to write; without effect on other tags.
    pub(super) fn set_id3_version(&mut self, target: Id3Target) {
        if let TagKind::Id3 { version, .. } = &mut self.tags {
            *version = match target {
                Id3Target::V3 => Id3v2Version::V3,
                Id3Target::V4 => Id3v2Version::V4,
            };
        }
    }

    /// True if a field holds one text only, so that several values must be joined.
    pub(super) fn holds_one_text(&self) -> bool {
        self.id3_version() == Some(Id3Target::V3)
    }

    /// Values of a field.
    pub(super) fn values(&self, field: &Field) -> Vec<String> {
        let texts = |text: &str| text.split(NUL).map(String::from).collect::<Vec<_>>();
        let values: Vec<String> = match &self.tags {
            TagKind::Id3 { tag, .. } => match field {
                Field::Genre => tag.genres().into_iter().flatten().map(String::from).collect(),
                _ => tag
                    .into_iter()
                    .filter(|frame| is_of(frame, field))
                    .flat_map(frame_text)
                    .flat_map(texts)
                    .collect(),
            },
            TagKind::Flac(file) => file
                .vorbis_comments()
                .into_iter()
                .flat_map(|tag| tag.get_all(field.name()))
                .map(String::from)
                .collect(),
            TagKind::Vorbis(tag) => tag.get_all(field.name()).map(String::from).collect(),
            TagKind::Mp4(tag) => {
                tag.into_iter().filter(|atom| is_atom(atom, field)).flat_map(atom_texts).collect()
            }
            TagKind::Ape(tag) => tag
                .get(field.name())
                .and_then(ApeItem::text_values)
                .into_iter()
                .flatten()
                .map(String::from)
                .collect(),
        };
        values.into_iter().filter(|value| !value.is_empty()).collect()
    }

    /// Replaces the values of a field; none removes it.
    pub(super) fn set(&mut self, field: &Field, values: &[String]) -> Result<(), String> {
        match &mut self.tags {
            TagKind::Id3 { tag, version } => set_id3(tag, *version, field, values),
            TagKind::Flac(file) => {
                let mut tag = file.remove_vorbis_comments().unwrap_or_default();
                set_vorbis(&mut tag, field, values);
                file.set_vorbis_comments(tag);
            }
            TagKind::Vorbis(tag) => set_vorbis(tag, field, values),
            TagKind::Mp4(tag) => {
                tag.retain(|atom| !is_atom(atom, field));
                let data = values.iter().cloned().map(AtomData::UTF8).collect();
                if let Some(atom) = Atom::from_collection(ident(field), data) {
                    tag.replace_atom(atom);
                }
            }
            TagKind::Ape(tag) => {
                tag.remove(field.name());
                if !values.is_empty() {
                    let text = ItemValue::Text(values.join("\0"));
                    let item = ApeItem::new(spelled(field), text).map_err(|error| error.to_string())?;
                    tag.insert(item);
                }
            }
        }
        Ok(())
    }

    /// Writes the tags into the bytes of the file.
    ///
    /// # Errors
    /// Tags that cannot be written.
    pub(super) fn write(&self, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut file = Cursor::new(bytes);
        let options = WriteOptions::new().lossy_text_encoding(false);
        let written = match &self.tags {
            TagKind::Id3 { tag, version } => {
                let mut options = options;
                tag.save_to(&mut file, options.use_id3v23(*version == Id3v2Version::V3))
            }
            TagKind::Flac(flac) => flac.save_to(&mut file, options),
            TagKind::Vorbis(tag) => tag.save_to(&mut file, options),
            TagKind::Mp4(tag) => tag.save_to(&mut file, options),
            TagKind::Ape(tag) => tag.save_to(&mut file, options),
        };
        written.map_err(|error| error.to_string())?;
        Ok(file.into_inner())
    }

    /// Everything in the tags besides some fields, as sorted text: equal before and after writing.
    pub(super) fn rest(&self, without: &[&Field]) -> Vec<String> {
        let vorbis = |tag: &VorbisComments| -> Vec<String> {
            let items = tag
                .items()
                .filter(|(key, _)| !without.iter().any(|field| key.eq_ignore_ascii_case(field.name())));
            items.map(|item| format!("{item:?}")).collect()
        };
        let mut rest: Vec<String> = match &self.tags {
            TagKind::Id3 { tag, .. } => {
                let frames = tag.into_iter().filter(|frame| !without.iter().any(|field| is_of(frame, field)));
                frames.map(described).collect()
            }
            TagKind::Flac(file) => {
                use lofty::ogg::OggPictureStorage;
                let pictures = file.pictures().iter().map(|picture| format!("{picture:?}"));
                file.vorbis_comments().map(vorbis).unwrap_or_default().into_iter().chain(pictures).collect()
            }
            TagKind::Vorbis(tag) => {
                use lofty::ogg::OggPictureStorage;
                let pictures = tag.pictures().iter().map(|picture| format!("{picture:?}"));
                vorbis(tag).into_iter().chain(pictures).collect()
            }
            TagKind::Mp4(tag) => {
                let atoms = tag.into_iter().filter(|atom| !without.iter().any(|field| is_atom(atom, field)));
                atoms.map(|atom| format!("{atom:?}")).collect()
            }
            TagKind::Ape(tag) => {
                let is_other = |item: &&ApeItem| {
                    !without.iter().any(|field| item.key().eq_ignore_ascii_case(field.name()))
                };
                tag.into_iter().filter(is_other).map(|item| format!("{item:?}")).collect()
            }
        };
        rest.sort();
        rest
    }

    /// Description of earlier work of the program, if there is one.
    pub(super) fn own(&self) -> Option<String> {
        self.values(&Field::Custom(OWN.into())).into_iter().next()
    }
}

/// Properties of the audio of a file.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn properties(bytes: &[u8]) -> Result<AudioProperties, String> {
    let probe = Probe::new(Cursor::new(bytes)).guess_file_type().map_err(|error| error.to_string())?;
    // The length of a bare AAC stream is estimated from the size of its file, tags included.
    let is_estimated = probe.file_type() == Some(FileType::Aac);
    let file = probe.read().map_err(|error| error.to_string())?;
    let found = file.properties();
    Ok(AudioProperties {
        duration: (!is_estimated).then(|| found.duration()),
        sample_rate_hz: found.sample_rate(),
        channels: found.channels(),
    })
}

fn read_kind(
    kind: FileType,
    reader: &mut (impl Read + Seek),
    options: ParseOptions,
) -> Result<TagKind, lofty::error::FileParseError> {
    let id3 = |tag: Option<Id3v2Tag>| {
        let tag = tag.unwrap_or_default();
        TagKind::Id3 { version: tag.original_version(), tag }
    };
    Ok(match kind {
        FileType::Mpeg => {
            let mut file = MpegFile::read_from(reader, options)?;
            // A new tag hides that of version 1 from many players.
            let old = file.id3v1().cloned().map(|old| Id3v2Tag::from(Tag::from(old)));
            id3(file.remove_id3v2().or(old))
        }
        FileType::Aac => id3(AacFile::read_from(reader, options)?.remove_id3v2()),
        FileType::Wav => id3(WavFile::read_from(reader, options)?.remove_id3v2()),
        FileType::Aiff => id3(AiffFile::read_from(reader, options)?.remove_id3v2()),
        FileType::Flac => TagKind::Flac(Box::new(FlacFile::read_from(reader, options)?)),
        FileType::Opus => TagKind::Vorbis(OpusFile::read_from(reader, options)?.remove_vorbis_comments()),
        FileType::Vorbis => TagKind::Vorbis(VorbisFile::read_from(reader, options)?.remove_vorbis_comments()),
        FileType::Speex => TagKind::Vorbis(SpeexFile::read_from(reader, options)?.remove_vorbis_comments()),
        FileType::Mp4 => TagKind::Mp4(Mp4File::read_from(reader, options)?.remove_ilst().unwrap_or_default()),
        FileType::Ape => TagKind::Ape(ApeFile::read_from(reader, options)?.remove_ape().unwrap_or_default()),
        FileType::Mpc => TagKind::Ape(MpcFile::read_from(reader, options)?.remove_ape().unwrap_or_default()),
        FileType::WavPack => {
            TagKind::Ape(WavPackFile::read_from(reader, options)?.remove_ape().unwrap_or_default())
        }
        _ => return Err(lofty::error::UnknownFormatError.into()),
    })
}

/// True for a frame of a field; moods have two, as ID3v2.3 has no frame for them.
fn is_of(frame: &Frame<'_>, field: &Field) -> bool {
    match (frame, field) {
        (Frame::Comment(comment), Field::Comment) => comment.description.is_empty(),
        (Frame::Text(text), Field::Genre) => text.id().as_str() == "TCON",
        (Frame::Text(text), Field::Mood) => text.id().as_str() == "TMOO",
        (Frame::Text(text), Field::Grouping) => text.id().as_str() == "TIT1",
        (Frame::UserText(text), Field::Mood | Field::Custom(_)) => {
            text.description.eq_ignore_ascii_case(field.name())
        }
        _ => false,
    }
}

fn frame_text<'a>(frame: &'a Frame<'_>) -> Option<&'a str> {
    match frame {
        Frame::Text(text) => Some(&text.value),
        Frame::UserText(text) => Some(&text.content),
        Frame::Comment(comment) => Some(&comment.content),
        _ => None,
    }
}

/// Text of a frame that does not depend on its encoding.
fn described(frame: &Frame<'_>) -> String {
    let id = frame.id_str();
    match frame {
        Frame::Text(text) => format!("{id} {}", text.value),
        Frame::UserText(text) => format!("{id} {:?} {}", text.description, text.content),
        Frame::Comment(text) => format!("{id} {:?} {:?} {}", text.language, text.description, text.content),
        Frame::UnsynchronizedText(text) => {
            format!("{id} {:?} {:?} {}", text.language, text.description, text.content)
        }
        Frame::Timestamp(time) => format!("{id} {}", time.timestamp),
        Frame::Picture(picture) => format!("{id} {:?}", picture.picture),
        Frame::KeyValue(pairs) => format!("{id} {:?}", pairs.key_value_pairs),
        other => format!("{other:?}"),
    }
}

fn set_id3(tag: &mut Id3v2Tag, version: Id3v2Version, field: &Field, values: &[String]) {
    tag.retain(|frame| !is_of(frame, field));
    if values.is_empty() {
        return;
    }
    let text = values.join("\0");
    let utf8 = TextEncoding::UTF8;
    let frame = |id: &'static str| {
        Frame::Text(TextInformationFrame::new(FrameId::Valid(id.into()), utf8, text.clone()))
    };
    let new = match field {
        Field::Comment => return tag.set_comment(text),
        Field::Genre => frame("TCON"),
        Field::Grouping => frame("TIT1"),
        // Readers of ID3v2.3 do not know TMOO.
        Field::Mood if version == Id3v2Version::V4 => frame("TMOO"),
        Field::Mood | Field::Custom(_) => {
            Frame::UserText(ExtendedTextFrame::new(utf8, field.name().to_string(), text))
        }
    };
    tag.insert(new);
}

fn set_vorbis(tag: &mut VorbisComments, field: &Field, values: &[String]) {
    tag.remove(field.name()).for_each(drop);
    values.iter().for_each(|value| tag.push(field.name().to_string(), value.clone()));
}

fn ident(field: &Field) -> AtomIdent<'static> {
    match field {
        Field::Genre => AtomIdent::Fourcc(*b"\xa9gen"),
        Field::Grouping => AtomIdent::Fourcc(*b"\xa9grp"),
        Field::Comment => AtomIdent::Fourcc(*b"\xa9cmt"),
        Field::Mood | Field::Custom(_) => {
            AtomIdent::Freeform { mean: ITUNES.into(), name: field.name().to_string().into() }
        }
    }
}

fn is_atom(atom: &Atom<'_>, field: &Field) -> bool {
    match (atom.ident(), ident(field)) {
        (AtomIdent::Fourcc(found), AtomIdent::Fourcc(wanted)) => *found == wanted,
        (AtomIdent::Freeform { mean, name }, AtomIdent::Freeform { name: wanted, .. }) => {
            mean == ITUNES && name.eq_ignore_ascii_case(&wanted)
        }
        _ => false,
    }
}

fn atom_texts(atom: &Atom<'_>) -> Vec<String> {
    let text = |data: &AtomData| match data {
        AtomData::UTF8(text) | AtomData::UTF16(text) => Some(text.clone()),
        _ => None,
    };
    atom.data().filter_map(text).collect()
}

/// Spelling in APE tags: known fields with a capital.
fn spelled(field: &Field) -> String {
    match field {
        Field::Genre => "Genre".into(),
        Field::Mood => "Mood".into(),
        Field::Grouping => "Grouping".into(),
        Field::Comment => "Comment".into(),
        Field::Custom(name) => name.clone(),
    }
}
