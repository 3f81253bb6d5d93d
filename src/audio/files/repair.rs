//! Repair of header faults that other software tolerates: lengths of RIFF and AIFF chunks, block sizes and metadata of
//! FLAC, byte order of PCM in QuickTime files.

use std::io;

use super::bytes::{Bytes, Patch};
use super::detect::InputFormat;

/// Maximum number of chunks or metadata blocks that are read.
const MAX_CHUNKS: usize = 4096;
/// Smallest chunk size that stands for an unknown length.
const UNKNOWN_SIZE: u32 = 0x7fff_0000;
/// Largest FLAC metadata block.
const MAX_BLOCK: u64 = 0xff_ffff;
/// Number of bytes searched for a FLAC frame after metadata with a wrong length.
const FLAC_SEARCH_BYTES: usize = 64 << 20;

/// Repair of the header of an input.
#[derive(Clone, Debug, Default)]
pub(super) struct Repair {
    pub(super) patches: Vec<Patch>,
    /// Stated length in seconds, if the file ends before that.
    pub(super) stated_s: Option<f64>,
    /// True for big-endian samples that the demuxer takes for little-endian ones.
    pub(super) big_endian: bool,
    /// True if the audio track is encrypted.
    pub(super) is_protected: bool,
}

/// Finds faults in the header of `bytes`.
pub(super) fn repair(bytes: &Bytes, format: InputFormat) -> io::Result<Repair> {
    match format {
        InputFormat::Riff => chunks(bytes, Endian::of_riff(bytes)?),
        InputFormat::Aiff => chunks(bytes, Endian::Big),
        InputFormat::Flac => flac(bytes),
        InputFormat::IsoMp4 => iso_mp4(bytes),
        _ => Ok(Repair::default()),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Endian {
    Little,
    Big,
}

impl Endian {
    fn of_riff(bytes: &Bytes) -> io::Result<Endian> {
        Ok(if bytes.get(0, 4)? == b"RIFX" { Endian::Big } else { Endian::Little })
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        }
    }

    fn patch(self, at: u64, value: u64) -> Patch {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        let bytes = match self {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        };
        Patch { at, bytes: bytes.to_vec() }
    }
}

/// Repairs the chunk sizes of RIFF and AIFF: the outer size is set to that of the file, and the chunk of samples is
/// limited to the file. Sizes of 0 and of 2 GiB and more stand for an unknown length.
fn chunks(bytes: &Bytes, endian: Endian) -> io::Result<Repair> {
    let mut repair = Repair::default();
    let len = bytes.len();
    let Some(head) = bytes.array::<12>(0)? else { return Ok(repair) };
    // RF64 keeps its sizes elsewhere.
    if head.starts_with(b"RF64") || head.starts_with(b"BW64") || len > u64::from(u32::MAX) {
        return Ok(repair);
    }
    let outer = u64::from(endian.u32([head[4], head[5], head[6], head[7]]));
    let (mut at, mut bytes_per_s) = (12u64, None);
    for _chunk in 0..MAX_CHUNKS {
        let Some(chunk) = bytes.array::<8>(at)? else { break };
        let size = endian.u32([chunk[4], chunk[5], chunk[6], chunk[7]]);
        let left = len - at - 8;
        match &chunk[..4] {
            b"fmt " => {
                if let Some(rate) = bytes.array::<4>(at + 16)? {
                    bytes_per_s = Some(endian.u32(rate)).filter(|&rate| rate > 0);
                }
            }
            b"COMM" => bytes_per_s = aiff_bytes_per_s(bytes, at + 8)?,
            b"data" | b"SSND" => {
                let unknown = size >= UNKNOWN_SIZE || (size == 0 && !is_chunk(bytes, at + 8)?);
                if unknown || u64::from(size) > left {
                    repair.patches.push(endian.patch(at + 4, left));
                    if !unknown && let Some(rate) = bytes_per_s {
                        repair.stated_s = Some(f64::from(size) / f64::from(rate));
                    }
                }
                break;
            }
            _ => {}
        }
        let next = at + 8 + u64::from(size) + u64::from(size & 1);
        if next >= len {
            break;
        }
        at = next;
    }
    if outer != len - 8 {
        repair.patches.push(endian.patch(4, len - 8));
    }
    Ok(repair)
}

/// Bytes per second of an AIFF file from its COMM chunk (AIFF 1.3, section 4): channels, frames, bits, rate as an
/// 80-bit float.
fn aiff_bytes_per_s(bytes: &Bytes, at: u64) -> io::Result<Option<u32>> {
    let Some(comm) = bytes.array::<18>(at)? else { return Ok(None) };
    let channels = f64::from(u16::from_be_bytes([comm[0], comm[1]]));
    let bits = f64::from(u16::from_be_bytes([comm[6], comm[7]]));
    let exponent = i32::from(u16::from_be_bytes([comm[8], comm[9]]) & 0x7fff) - 16_383;
    let mantissa = f64::from(u32::from_be_bytes([comm[10], comm[11], comm[12], comm[13]]));
    let rate_hz = mantissa * f64::from(exponent - 31).exp2();
    let rate = channels * (bits / 8.0).ceil() * rate_hz;
    Ok((1.0..1e9).contains(&rate).then_some(rate as u32))
}

/// True if a chunk seems to begin at `at`: four printable characters and a size that fits the file.
fn is_chunk(bytes: &Bytes, at: u64) -> io::Result<bool> {
    let Some(head) = bytes.array::<8>(at)? else { return Ok(false) };
    let size = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
    Ok(head[..4].iter().all(|&byte| byte == b' ' || byte.is_ascii_alphanumeric())
        && at + 8 + size <= bytes.len())
}

/// Repairs FLAC metadata (RFC 9639, 8): invalid block sizes are replaced, metadata blocks other than STREAMINFO and
/// SEEKTABLE become padding because their content may contradict their length, and if no frame follows the last block,
/// it is extended up to the first frame.
fn flac(bytes: &Bytes) -> io::Result<Repair> {
    const STREAMINFO: u8 = 0;
    const PADDING: u8 = 1;
    const SEEKTABLE: u8 = 3;
    let mut repair = Repair::default();
    let mut at = 4;
    let mut last_at = at;
    let mut block_sizes = None;
    for _block in 0..MAX_CHUNKS {
        let Some(head) = bytes.array::<4>(at)? else { return Ok(repair) };
        let (is_last, kind) = (head[0] & 0x80 != 0, head[0] & 0x7f);
        let size = u64::from(u32::from_be_bytes([0, head[1], head[2], head[3]]));
        if kind == STREAMINFO {
            if let Some([a, b, c, d]) = bytes.array::<4>(at + 4)? {
                let (least, most) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                block_sizes = Some((at + 4, least, most)).filter(|_| least < 16 || most < least);
            }
        } else if kind != SEEKTABLE {
            repair.patches.push(Patch { at, bytes: vec![head[0] & 0x80 | PADDING] });
        }
        last_at = at;
        let next = at + 4 + size;
        if is_last || next >= bytes.len() {
            at = next;
            break;
        }
        // A block of an unknown type is the middle of one with a wrong length.
        let Some(following) = bytes.array::<4>(next)? else { break };
        if following[0] & 0x7f > 6 {
            at = next;
            break;
        }
        at = next;
    }
    let frame = bytes.get(at, 16)?;
    if let Some((place, _, most)) = block_sizes {
        // Equal bounds mean frames of a fixed size.
        let is_variable = frame.get(1).is_some_and(|byte| byte & 1 != 0);
        let most = if most < 16 { u16::MAX } else { most };
        let least = if is_variable { 16 } else { most };
        repair.patches.push(Patch { at: place, bytes: [least.to_be_bytes(), most.to_be_bytes()].concat() });
    }
    if is_flac_frame(&frame) {
        return Ok(repair);
    }
    // The padding that replaces the last block begins at the same offset.
    let window = bytes.get(last_at + 4, FLAC_SEARCH_BYTES)?;
    let frame = (0..window.len().saturating_sub(16)).find(|&offset| is_flac_frame(&window[offset..]));
    let Some(mut length) = frame.map(|offset| offset as u64) else { return Ok(repair) };
    if bytes.array::<4>(last_at)?.is_some_and(|head| head[0] & 0x7f == STREAMINFO) {
        return Ok(repair);
    }
    repair.patches.retain(|patch| patch.at != last_at);
    let mut block = last_at;
    while length > MAX_BLOCK {
        // The next header is inside the skipped bytes.
        repair.patches.push(Patch { at: block, bytes: vec![PADDING, 0xff, 0xff, 0xff] });
        block += 4 + MAX_BLOCK;
        length -= MAX_BLOCK + 4;
    }
    let size = (length as u32).to_be_bytes();
    repair.patches.push(Patch { at: block, bytes: vec![0x80 | PADDING, size[1], size[2], size[3]] });
    Ok(repair)
}

/// True if `head` begins with the header of a FLAC frame, by its sync code and its CRC-8 (RFC 9639, 9.1).
pub(super) fn is_flac_frame(head: &[u8]) -> bool {
    let [0xff, second, sizes, channels, number, ..] = head else { return false };
    let block = sizes >> 4;
    if second & 0xfe != 0xf8 || block == 0 || sizes & 15 == 15 || channels >> 4 > 10 || channels & 1 != 0 {
        return false;
    }
    // The frame's number is coded like a character of UTF-8.
    let number_bytes = match number.leading_ones() {
        0 => 1,
        ones @ 2..=7 => ones as usize,
        _ => return false,
    };
    let block_bytes = match block {
        6 => 1,
        7 => 2,
        _ => 0,
    };
    let rate_bytes = match sizes & 15 {
        12 => 1,
        13 | 14 => 2,
        _ => 0,
    };
    let length = 4 + number_bytes + block_bytes + rate_bytes;
    head.get(..=length).is_some_and(|header| {
        let crc = header[..length].iter().fold(0u8, |crc, byte| {
            (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 != 0 { crc << 1 ^ 7 } else { crc << 1 })
        });
        crc == header[length]
    })
}

/// Reads byte order and encryption of the first audio track of MP4 and QuickTime (QuickTime File Format, "Sound sample
/// descriptions": PCM is big-endian unless an `enda` atom is 1).
fn iso_mp4(bytes: &Bytes) -> io::Result<Repair> {
    let mut repair = Repair::default();
    let Some((moov, moov_end)) = atom(bytes, 0, bytes.len(), b"moov")? else { return Ok(repair) };
    let mut at = moov;
    while let Some((trak, trak_end)) = atom(bytes, at, moov_end, b"trak")? {
        at = trak_end;
        let mut range = Some((trak, trak_end));
        for name in [b"mdia", b"minf", b"stbl", b"stsd"] {
            range = match range {
                Some((start, end)) => atom(bytes, start, end, name)?,
                None => None,
            };
        }
        let Some((stsd, stsd_end)) = range else { continue };
        // Version, flags and count of the table; size and type of its first entry.
        let Some(entry) = bytes.array::<16>(stsd)? else { continue };
        let kind = [entry[12], entry[13], entry[14], entry[15]];
        match &kind {
            b"drms" | b"enca" | b"aavd" => {
                repair.is_protected = true;
                return Ok(repair);
            }
            b"in24" | b"in32" | b"fl32" | b"fl64" => {
                repair.big_endian = !is_little_endian(bytes, stsd + 8, stsd_end)?;
                return Ok(repair);
            }
            // Any other audio format needs no repair; video formats are skipped.
            b"mp4a" | b"alac" | b"fLaC" | b"Opus" | b"sowt" | b"twos" | b"lpcm" | b"ac-3" | b"ec-3"
            | b".mp3" => {
                return Ok(repair);
            }
            _ => {}
        }
    }
    Ok(repair)
}

/// True if the sample description at `entry` has an `enda` atom with value 1.
fn is_little_endian(bytes: &Bytes, entry: u64, end: u64) -> io::Result<bool> {
    let Some(version) = bytes.array::<2>(entry + 16)? else { return Ok(false) };
    let children = entry + 36 + [0, 16, 36].get(usize::from(version[1])).copied().unwrap_or(0);
    let enda = match atom(bytes, children, end, b"wave")? {
        Some((wave, wave_end)) => atom(bytes, wave, wave_end, b"enda")?,
        None => atom(bytes, children, end, b"enda")?,
    };
    match enda {
        Some((at, _)) => Ok(bytes.array::<2>(at)? == Some([0, 1])),
        None => Ok(false),
    }
}

/// Finds the first atom called `name` between `at` and `end`: start and end offset of its contents.
fn atom(bytes: &Bytes, at: u64, end: u64, name: &[u8; 4]) -> io::Result<Option<(u64, u64)>> {
    for atom in atoms(bytes, at, end) {
        let atom = atom?;
        if &atom.name == name {
            return Ok(Some((atom.contents, atom.end)));
        }
    }
    Ok(None)
}

/// An atom of MP4 or QuickTime.
pub(super) struct Atom {
    pub(super) name: [u8; 4],
    /// Offset of its contents.
    contents: u64,
    /// Offset of its end, limited to its container.
    end: u64,
    /// Stated offset of its end; `None` without a stated size.
    pub(super) stated_end: Option<u64>,
}

/// Iterator over the atoms between two offsets, up to the first invalid one.
pub(super) fn atoms(bytes: &Bytes, mut at: u64, end: u64) -> impl Iterator<Item = io::Result<Atom>> {
    let mut next = move || -> io::Result<Option<Atom>> {
        if at + 8 > end {
            return Ok(None);
        }
        let Some(head) = bytes.array::<8>(at)? else { return Ok(None) };
        let [size @ .., _, _, _, _] = head;
        let [_, _, _, _, name @ ..] = head;
        let (header, size) = match u32::from_be_bytes(size) {
            0 => (8, None),
            1 => match bytes.array::<8>(at + 8)? {
                Some(size) => (16, Some(u64::from_be_bytes(size))),
                None => return Ok(None),
            },
            size => (8, Some(u64::from(size))),
        };
        if size.is_some_and(|size| size < header) {
            return Ok(None);
        }
        let stated_end = size.map(|size| at.saturating_add(size));
        let contents = at + header;
        at = stated_end.map_or(end, |stated| stated.min(end));
        Ok(Some(Atom { name, contents, end: at, stated_end }))
    };
    std::iter::from_fn(move || next().transpose()).take(MAX_CHUNKS)
}
