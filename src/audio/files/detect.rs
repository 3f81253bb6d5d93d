//! Format detection by content.
//!
//! A magic number decides. Without one, the input is searched for frames of MPEG audio or ADTS; several must be
//! contiguous, because single sync words occur in any data.

use std::io;

use super::adts;
use super::bytes::Bytes;
use super::frames;

/// Required number of contiguous frames of MPEG audio or ADTS.
const CHAIN: usize = 4;
/// Number of bytes searched for a first frame, and read at a time: cut streams begin inside a frame.
const SEARCH_BYTES: usize = 64 << 10;
/// Number of bytes searched after an ID3v2 tag, whose stated size may be wrong by the size of a picture.
const SEARCH_BEHIND_TAG_BYTES: usize = 1 << 20;
/// Maximum number of tags skipped before the audio.
const MAX_TAGS: usize = 16;

/// Format of an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InputFormat {
    Riff,
    Aiff,
    Flac,
    Ogg,
    /// MP4 and QuickTime.
    IsoMp4,
    /// CAF and Matroska, which need no repair.
    Container,
    /// MPEG audio without a container, layer I to III.
    Mpeg,
    /// AAC in ADTS frames.
    Adts,
    /// Name of a format without a built-in decoder.
    External(&'static str),
    Unknown,
}

/// Format and its start offset after tags and stray bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Detected {
    pub(super) format: InputFormat,
    pub(super) start: u64,
}

/// Magic numbers at offset 0 of formats without a built-in decoder; some contain bytes that look like MPEG frames.
const EXTERNAL: &[(&[u8], &str)] = &[
    (b"wvpk", "WavPack"),
    (b"MAC ", "Monkey's Audio"),
    (b"TTA1", "True Audio"),
    (b"TTA2", "True Audio"),
    (b"OFR ", "OptimFROG"),
    (b"tBaK", "TAK"),
    (b"ajkg", "Shorten"),
    (b"LA0", "Lossless Audio"),
    (b"MPCK", "Musepack"),
    (b"MP+", "Musepack"),
    (b"TWIN97", "TwinVQ"),
    (b".snd", "AU"),
    (b"dns.", "AU"),
    (b"riff\x2e\x91\xcf\x11", "Wave64"),
    (b"\x7f\xfe\x80\x01", "DTS"),
    (b"\xfe\x7f\x01\x80", "DTS"),
    (b"\x1f\xff\xe8\x00", "DTS"),
    (b"\xff\x1f\x00\xe8", "DTS"),
    (b"\x64\x58\x20\x25", "DTS-HD"),
    (b"DTSHDHDR", "DTS-HD"),
    (b"\x0b\x77", "AC-3"),
    (b"\x77\x0b", "AC-3"),
    (b"\xf8\x72\x6f", "MLP"),
    (b"\x72\xf8\x1f\x4e", "S/PDIF"),
    (b"\xf8\x72\x4e\x1f", "S/PDIF"),
    (b"#!AMR", "AMR"),
    (b"\x00\x00\x01\xba", "MPEG program stream"),
    (b"\x00\x00\x01\xb3", "MPEG video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF or WMA"),
    (b".RMF", "RealMedia"),
    (b".ra\xfd", "RealAudio"),
    (b"DSD ", "DSF"),
    (b"FRM8", "DSDIFF"),
    (b"FLV\x01", "FLV"),
    (b"MThd", "MIDI"),
    (b"IMPM", "Impulse Tracker module"),
    (b"Extended Module", "FastTracker module"),
    (b"Creative Voice File", "VOC"),
    (b"2BIT", "AVR"),
    (b"PVF1", "PVF"),
    (b"NIST_1A", "NIST SPHERE"),
    (b"8SVX", "8SVX"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"\xfd7zXZ", "xz data"),
    (b"BZh", "bzip2 data"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "a database"),
];

/// Types of the first atom of an ISO base media file.
const ISO_ATOMS: [&[u8; 4]; 9] =
    [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"uuid"];

/// Beginnings of texts that name further files to open.
const SCRIPTS: [&[u8]; 7] = [
    b"ffconcat version",
    b"#EXTM3U",
    b"[playlist]",
    b"<MPD",
    b"<SmoothStreamingMedia",
    b"<CompositionPlaylist",
    b"<asx",
];
/// Number of bytes behind the tags that are searched for a script.
const SCRIPT_BYTES: u64 = 64 << 10;

/// Returns true if an input of an unknown format may be a playlist or script. `ffmpeg` opens the files that such a text
/// names, whatever its own name is, so it must not be given one. Tags in front are searched too, since `ffmpeg` may find
/// another end of them.
pub(super) fn may_be_script(bytes: &Bytes) -> io::Result<bool> {
    let (start, _) = behind_tags(bytes)?;
    let window = bytes.get(0, (start + SCRIPT_BYTES).min(SEARCH_BEHIND_TAG_BYTES as u64) as usize)?;
    let near = bytes.get(start, SCRIPT_BYTES as usize)?;
    let holds =
        |text: &[u8], word: &[u8]| text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    Ok(SCRIPTS.iter().any(|script| holds(&near, script) || holds(&window, script)))
}

/// Detects the format of an input.
pub(super) fn detect(bytes: &Bytes) -> io::Result<Detected> {
    let (start, tagged) = behind_tags(bytes)?;
    let head = bytes.get(start, 1024)?;
    if let Some(format) = by_magic(&head) {
        return Ok(Detected { format, start });
    }
    let limit = if tagged { SEARCH_BEHIND_TAG_BYTES } else { SEARCH_BYTES };
    // Leading zeros are skipped.
    let zeros = leading_zeros(bytes, start)?;
    for piece in (0..limit).step_by(SEARCH_BYTES) {
        // One byte more than a piece: a sync word may begin in one and end in the next.
        let window = bytes.get(start + zeros + piece as u64, (limit - piece).min(SEARCH_BYTES + 1))?;
        for (offset, pair) in (piece..).zip(window.windows(2)) {
            if pair[0] != 0xff || pair[1] < 0xe0 {
                continue;
            }
            let at = start + zeros + offset as u64;
            if let Some(format) = frames_at(bytes, at, offset == 0)? {
                return Ok(Detected { format, start: at });
            }
        }
    }
    Ok(Detected { format: InputFormat::Unknown, start })
}

fn by_magic(head: &[u8]) -> Option<InputFormat> {
    let at = |place: usize, magic: &[u8]| head.get(place..place + magic.len()) == Some(magic);
    if let Some((_, name)) = EXTERNAL.iter().find(|(magic, _)| at(0, magic)) {
        return Some(InputFormat::External(name));
    }
    if at(0, b"RIFF") || at(0, b"RIFX") || at(0, b"RF64") || at(0, b"BW64") {
        return Some(if at(8, b"WAVE") {
            InputFormat::Riff
        } else {
            InputFormat::External("a RIFF file without WAVE")
        });
    }
    if at(0, b"FORM") {
        let aiff = at(8, b"AIFF") || at(8, b"AIFC");
        return Some(if aiff {
            InputFormat::Aiff
        } else {
            InputFormat::External("an IFF file without AIFF")
        });
    }
    if at(0, b"fLaC") {
        return Some(InputFormat::Flac);
    }
    if at(0, b"OggS") {
        return Some(InputFormat::Ogg);
    }
    if at(0, b"caff") || at(0, b"\x1a\x45\xdf\xa3") {
        return Some(InputFormat::Container);
    }
    if head.get(4..8).is_some_and(|atom| ISO_ATOMS.iter().any(|known| *known == atom)) {
        return Some(InputFormat::IsoMp4);
    }
    // Packets of 188 bytes, or of 192 with a time code in front, or of 204 with error correction behind.
    let packets =
        |first: usize, size: usize| (0..4).all(|packet| head.get(first + packet * size) == Some(&0x47));
    if packets(0, 188) || packets(4, 192) || packets(0, 204) {
        return Some(InputFormat::External("MPEG transport stream"));
    }
    None
}

/// Detects contiguous frames of MPEG audio or ADTS at `at`.
fn frames_at(bytes: &Bytes, at: u64, is_start: bool) -> io::Result<Option<InputFormat>> {
    for (format, length_at) in [
        (InputFormat::Adts, adts::frame_bytes as fn([u8; 7]) -> Option<u64>),
        (InputFormat::Mpeg, frames::frame_bytes as fn([u8; 7]) -> Option<u64>),
    ] {
        let (mut place, mut count) = (at, 0);
        while count < CHAIN {
            let Some(head) = bytes.array::<7>(place)? else { break };
            let Some(length) = length_at(head) else { break };
            count += 1;
            place += length;
        }
        // A short file may have fewer frames if they reach its end, or the tag at its end.
        let ends =
            place >= bytes.len() || bytes.get(place, 3)? == b"TAG" || bytes.get(place, 8)? == b"APETAGEX";
        if count == CHAIN || (count > 0 && ends && (is_start || count > 1)) {
            return Ok(Some(format));
        }
    }
    Ok(None)
}

/// Offset after ID3v2 and APEv2 tags (id3.org, ID3v2.4.0, 3.1; Hydrogenaudio, APEv2), and true if there was one.
fn behind_tags(bytes: &Bytes) -> io::Result<(u64, bool)> {
    let mut at = 0;
    for tag in 0..MAX_TAGS {
        let head = bytes.get(at, 32)?;
        let size = match &head[..] {
            [b'I', b'D', b'3', version, _, flags, a, b, c, d, ..] if *version < 0xff => {
                let body = [a, b, c, d].iter().fold(0, |size, &byte| size << 7 | u64::from(byte & 0x7f));
                10 + body + if flags & 0x10 != 0 { 10 } else { 0 }
            }
            [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, a, b, c, d, ..] => {
                32 + u64::from(u32::from_le_bytes([*a, *b, *c, *d]))
            }
            _ => return Ok((at, tag > 0)),
        };
        // A tag that states more bytes than the file has is skipped by searching after its header.
        if at + size >= bytes.len() {
            return Ok((at + 10, true));
        }
        at += size;
    }
    Ok((at, true))
}

fn leading_zeros(bytes: &Bytes, start: u64) -> io::Result<u64> {
    let mut zeros = 0;
    while zeros < SEARCH_BEHIND_TAG_BYTES as u64 {
        let block = bytes.get(start + zeros, 4096)?;
        let found = block.iter().take_while(|&&byte| byte == 0).count();
        zeros += found as u64;
        if found < block.len() || block.is_empty() {
            break;
        }
    }
    Ok(zeros)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn detected(bytes: &[u8]) -> Detected {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        detect(&Bytes::new(file.into()).unwrap()).unwrap()
    }

    /// MPEG-1 layer III at 128 kbit/s and 44.1 kHz: frames of 417 bytes.
    fn mpeg(frames: usize) -> Vec<u8> {
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        frame.repeat(frames)
    }

    #[test]
    fn frames_are_found_wherever_pieces_end() {
        let tag = b"ID3\x04\0\0\0\0\0\0";
        let (piece, last) = (SEARCH_BYTES, SEARCH_BEHIND_TAG_BYTES - 2);
        for stray in [1, piece - 1, piece, piece + 1, 2 * piece - 1, last, last + 1] {
            let found = detected(&[&tag[..], &vec![1; stray], &mpeg(9)].concat());
            let format = if stray > last { InputFormat::Unknown } else { InputFormat::Mpeg };
            assert_eq!(found.format, format, "{stray}");
            assert!(stray > last || found.start == (tag.len() + stray) as u64, "{stray}");
        }
    }

    #[test]
    fn magic_numbers_win_over_sync_words() {
        for (magic, name) in EXTERNAL {
            let bytes = [magic, &mpeg(9)[..]].concat();
            assert_eq!(detected(&bytes).format, InputFormat::External(name));
        }
        let mut stream = vec![0; 188 * 5];
        (0..5).for_each(|packet| stream[packet * 188] = 0x47);
        stream.extend(mpeg(9));
        assert_eq!(detected(&stream).format, InputFormat::External("MPEG transport stream"));
        assert_eq!(detected(&[b"RIFF....AVI ", &mpeg(9)[..]].concat()).start, 0);
    }

    #[test]
    fn several_frames_must_follow_one_another() {
        let found = |start| Detected { format: InputFormat::Mpeg, start };
        assert_eq!(detected(&mpeg(9)), found(0));
        assert_eq!(detected(&mpeg(1)), found(0));
        assert_eq!(detected(&[&[0; 5000], &mpeg(9)[..]].concat()), found(5000));
        assert_eq!(detected(&[&[7; 300], &mpeg(9)[..]].concat()), found(300));
        assert_eq!(detected(&[&[7; 300], &mpeg(1)[..], &[9; 999]].concat()).format, InputFormat::Unknown);
        assert_eq!(detected(&[&vec![7; 1 << 17], &mpeg(9)[..]].concat()).format, InputFormat::Unknown);
        assert_eq!(detected(&[7; 9999]).format, InputFormat::Unknown);
        assert_eq!(detected(b"").format, InputFormat::Unknown);
    }

    #[test]
    fn tags_in_front_are_skipped() {
        let tag = [b"ID3\x04\0\0\0\0\x02\0", &[1; 256][..]].concat();
        assert_eq!(
            detected(&[&tag[..], &mpeg(5)].concat()),
            Detected { format: InputFormat::Mpeg, start: 266 }
        );
        assert_eq!(
            detected(&[&tag[..], b"fLaC"].concat()),
            Detected { format: InputFormat::Flac, start: 266 }
        );
        let lying = [b"ID3\x04\0\0\x7f\x7f\x7f\x7f", &[1; 256][..], &mpeg(5)].concat();
        assert_eq!(detected(&lying), Detected { format: InputFormat::Mpeg, start: 266 });
    }
}
