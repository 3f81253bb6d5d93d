//! Detection of truncated files without decoding: by the last FLAC frame, and by the stated sizes in MP4, Matroska, CAF
//! and RF64.

use std::io;

use super::bytes::Bytes;
use super::detect::InputFormat;
use super::repair::{atoms, is_flac_frame};

/// Number of bytes at the end of a FLAC file that are searched if STREAMINFO does not state the largest frame.
const FLAC_TAIL_BYTES: u64 = 1 << 20;
/// Maximum size of tags after the audio.
const TAG_BYTES: u64 = 64 << 10;
/// Maximum number of chunks of a CAF file that are read.
const MAX_CHUNKS: usize = 4096;

/// Plausibility of the stated length, by the end of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ending {
    /// The stated length is plausible.
    Plausible,
    /// The length must be counted.
    Doubtful,
    /// The file ends inside its audio data.
    Cut,
}

impl Ending {
    fn doubtful_if(is_doubtful: bool) -> Ending {
        if is_doubtful { Ending::Doubtful } else { Ending::Plausible }
    }

    /// Ending of contents that end at `stated`, if known.
    fn of(stated: Option<u64>, len: u64) -> Ending {
        match stated {
            None => Ending::Doubtful,
            Some(end) if end > len => Ending::Cut,
            Some(_) => Ending::Plausible,
        }
    }
}

/// Examines the end of `bytes`.
pub(super) fn examine(bytes: &Bytes, format: InputFormat) -> io::Result<Ending> {
    match format {
        InputFormat::Flac => is_flac_doubtful(bytes).map(Ending::doubtful_if),
        InputFormat::IsoMp4 => mp4(bytes),
        InputFormat::Container if bytes.get(0, 4)? == b"caff" => caf(bytes),
        InputFormat::Container => matroska(bytes),
        InputFormat::Riff => rf64(bytes),
        _ => Ok(Ending::Plausible),
    }
}

/// True if no FLAC frame near the end of the file ends at the total of STREAMINFO (RFC 9639, 8.2 and 9.1).
fn is_flac_doubtful(bytes: &Bytes) -> io::Result<bool> {
    const STREAMINFO_AT: u64 = 8;
    let Some(info) = bytes.array::<18>(STREAMINFO_AT)? else { return Ok(false) };
    let block = u64::from(u16::from_be_bytes([info[2], info[3]]));
    let largest = u64::from(u32::from_be_bytes([0, info[7], info[8], info[9]]));
    let word =
        u64::from_be_bytes([info[10], info[11], info[12], info[13], info[14], info[15], info[16], info[17]]);
    let total = word & ((1 << 36) - 1);
    if total == 0 {
        return Ok(false);
    }
    let reach = if largest > 0 { largest } else { FLAC_TAIL_BYTES } + TAG_BYTES;
    let tail = bytes.get(bytes.len().saturating_sub(reach), reach as usize)?;
    let mut places = (0..tail.len()).rev().filter_map(|at| tail.get(at..));
    Ok(!places.any(|head| is_flac_frame(head) && flac_frame_end(head, block) == Some(total)))
}

/// Number of samples up to the end of a FLAC frame; frames of a fixed size have `block` samples.
fn flac_frame_end(head: &[u8], block: u64) -> Option<u64> {
    let [_, second, sizes, _, first, rest @ ..] = head else { return None };
    let more = (first.leading_ones() as usize).saturating_sub(1);
    let bits = if *first < 0x80 { *first } else { first & 0x7f_u8.checked_shr(more as u32 + 1).unwrap_or(0) };
    let number =
        rest.get(..more)?.iter().fold(u64::from(bits), |number, byte| number << 6 | u64::from(byte & 0x3f));
    let stated = rest.get(more..)?;
    let samples = match sizes >> 4 {
        1 => 192,
        code @ 2..=5 => 144 << code,
        6 => u64::from(*stated.first()?) + 1,
        7 => u64::from(u16::from_be_bytes([*stated.first()?, *stated.get(1)?])) + 1,
        code @ 8.. => 1 << code,
        0 => return None,
    };
    let is_variable = second & 1 != 0;
    Some(if is_variable { number } else { number.checked_mul(block)? } + samples)
}

/// Examines the sizes of the atoms with samples in MP4 and QuickTime. Fragments may be missing at the end.
fn mp4(bytes: &Bytes) -> io::Result<Ending> {
    let mut ending = Ending::Plausible;
    for atom in atoms(bytes, 0, bytes.len()) {
        let atom = atom?;
        ending = match (&atom.name, Ending::of(atom.stated_end, bytes.len())) {
            (b"mdat" | b"moof", Ending::Cut) => return Ok(Ending::Cut),
            (b"mdat", Ending::Doubtful) | (b"moof", _) => Ending::Doubtful,
            _ => ending,
        };
    }
    Ok(ending)
}

/// Examines the size of the segment in Matroska (RFC 9559).
fn matroska(bytes: &Bytes) -> io::Result<Ending> {
    const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];
    let Some((Some(size), size_bytes)) = ebml_size(bytes, 4)? else { return Ok(Ending::Plausible) };
    let Some(segment) = size.checked_add(4 + size_bytes) else { return Ok(Ending::Plausible) };
    if bytes.array::<4>(segment)? != Some(SEGMENT) {
        return Ok(Ending::Plausible);
    }
    let Some((size, size_bytes)) = ebml_size(bytes, segment + 4)? else { return Ok(Ending::Plausible) };
    Ok(Ending::of(size.map(|size| size.saturating_add(segment + 4 + size_bytes)), bytes.len()))
}

/// Reads an EBML size (RFC 8794, 6), `None` if unknown, and its length in bytes.
fn ebml_size(bytes: &Bytes, at: u64) -> io::Result<Option<(Option<u64>, u64)>> {
    let Some(first) = bytes.array::<1>(at)? else { return Ok(None) };
    let length = first[0].leading_zeros() + 1;
    if length > 8 {
        return Ok(None);
    }
    let digits = bytes.get(at, length as usize)?;
    let mask = (1 << (7 * length)) - 1;
    let value = digits.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte)) & mask;
    Ok(Some(((value != mask).then_some(value), length.into())))
}

/// Examines the size of the data chunk in CAF; -1 extends to the end.
fn caf(bytes: &Bytes) -> io::Result<Ending> {
    let mut at = 8u64;
    for _chunk in 0..MAX_CHUNKS {
        let Some([a, b, c, d, size @ ..]) = bytes.array::<12>(at)? else { break };
        let Ok(size) = u64::try_from(i64::from_be_bytes(size)) else { break };
        at = at.saturating_add(12).saturating_add(size);
        if &[a, b, c, d] == b"data" {
            return Ok(Ending::of(Some(at), bytes.len()));
        }
    }
    Ok(Ending::Plausible)
}

/// Examines the size of the samples in the `ds64` chunk of RF64 and BW64 (EBU Tech 3306).
fn rf64(bytes: &Bytes) -> io::Result<Ending> {
    let head = bytes.get(0, 36)?;
    let (Some(b"RF64" | b"BW64"), Some(b"ds64"), Some(&size)) =
        (head.first_chunk::<4>(), head.get(12..16), head.last_chunk::<8>())
    else {
        return Ok(Ending::Plausible);
    };
    Ok(Ending::of(Some(u64::from_le_bytes(size)), bytes.len()))
}
