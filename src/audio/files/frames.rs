//! Frame index of bare MP3: exact length and byte positions, from frame headers alone, without decoding.
//!
//! Only regular files are indexed: contiguous frames of one kind, followed by nothing that could be another frame.
//! The demuxer reads all others.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::bytes::Bytes;
use crate::audio::error::AudioError;
use crate::audio::heartbeat::Heartbeat;

/// Buffer size in bytes.
const BUFFER_BYTES: usize = 1 << 16;
/// Distance between indexed frames.
const STRIDE: u64 = 64;
/// Maximum number of bytes after the last frame: metadata tags.
const MAX_TAIL_BYTES: u64 = 1 << 20;
/// Upper limit of the end of a Xing, Info or VBRI identifier in a frame: after header and side information.
const INFO_END: usize = 4 + 32 + 4;

/// Header of an MP3 frame (ISO 11172-3, 2.4.1.3; ISO 13818-3 for the low rates).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mp3Header {
    bytes: usize,
    /// Version, layer and sample rate: header bits that are the same in all frames.
    kind: [u8; 2],
}

impl Mp3Header {
    /// `None` for anything but layer III with a stated bitrate.
    fn parse(word: [u8; 4]) -> Option<Mp3Header> {
        const KBPS: [[usize; 14]; 2] = [
            [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
            [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        ];
        let [sync, kind, rates, _] = word;
        let (version, layer) = (kind >> 3 & 3, kind >> 1 & 3);
        if sync != 0xff || kind >> 5 != 7 || version == 1 || layer != 1 {
            return None;
        }
        let is_mpeg1 = version == 3;
        let kbps = KBPS[usize::from(is_mpeg1)].get(usize::from(rates >> 4).checked_sub(1)?)?;
        let rate_hz = [44_100, 48_000, 32_000].get(usize::from(rates >> 2 & 3))?
            >> match version {
                3 => 0,
                2 => 1,
                _ => 2,
            };
        let bytes = if is_mpeg1 { 144 } else { 72 } * kbps * 1000 / rate_hz + usize::from(rates >> 1 & 1);
        Some(Mp3Header { bytes, kind: [kind & 0xfe, rates & 0x0c] })
    }
}

/// Length in bytes of an MPEG audio frame of any layer from its header; `None` for a free bitrate.
pub(super) fn frame_bytes(head: [u8; 7]) -> Option<u64> {
    const LAYER_1: [usize; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
    const LAYER_1_LOW: [usize; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
    const LAYER_2: [usize; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const LAYER_2_LOW: [usize; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let [sync, kind, rates, mode, ..] = head;
    if let Some(header) = Mp3Header::parse([sync, kind, rates, mode]) {
        return Some(header.bytes as u64);
    }
    let (rate_hz, _) = spec(&head)?;
    let is_mpeg1 = kind >> 3 & 3 == 3;
    let (kbps, slot, scale) = match (kind >> 1 & 3, is_mpeg1) {
        (3, true) => (LAYER_1, 4, 12),
        (3, false) => (LAYER_1_LOW, 4, 12),
        (2, true) => (LAYER_2, 1, 144),
        (2, false) => (LAYER_2_LOW, 1, 144),
        _ => return None,
    };
    let kbps = kbps.get(usize::from(rates >> 4).checked_sub(1)?)?;
    Some(((scale * kbps * 1000 / rate_hz as usize + usize::from(rates >> 1 & 1)) * slot) as u64)
}

/// Sample rate in Hz and number of channels of an MPEG audio frame of any layer.
pub(super) fn spec(frame: &[u8]) -> Option<(u32, usize)> {
    let [0xff, kind, rates, mode, ..] = *frame else { return None };
    let version = kind >> 3 & 3;
    if kind >> 5 != 7 || version == 1 || kind >> 1 & 3 == 0 {
        return None;
    }
    let rate_hz = [44_100, 48_000, 32_000].get(usize::from(rates >> 2 & 3))?
        >> match version {
            3 => 0,
            2 => 1,
            _ => 2,
        };
    Some((rate_hz, if mode >> 6 == 3 { 1 } else { 2 }))
}

/// Samples per channel of a frame of any layer, from its first bytes.
pub(super) fn frame_samples(frame: &[u8]) -> u64 {
    let kind = frame.get(1).copied().unwrap_or(0);
    match (kind >> 1 & 3, kind >> 3 & 3) {
        (3, _) => 384,
        (1, 0..=2) => 576,
        _ => 1152,
    }
}

/// Byte positions of the frames of a file.
#[derive(Debug)]
pub(super) struct Mp3Index {
    /// Byte positions of every [`STRIDE`]th frame.
    places: Vec<u64>,
    frames: u64,
    samples_per_frame: u64,
}

impl Mp3Index {
    /// Indexes the frames of `file` from the one with data `first`; `None` if they are not regular or cannot be read.
    ///
    /// # Errors
    /// [`AudioError::Cancelled`].
    pub(super) fn of(
        file: &Bytes,
        first: &[u8],
        heartbeat: &Heartbeat,
    ) -> Result<Option<Mp3Index>, AudioError> {
        let mut builder = match IndexBuilder::begin(file, first) {
            Ok(Some(builder)) => builder,
            Ok(None) | Err(_) => return Ok(None),
        };
        loop {
            heartbeat.check()?;
            match builder.stride() {
                Ok(IndexStatus::More) => {}
                Ok(IndexStatus::End) => return Ok(Some(builder.index)),
                Ok(IndexStatus::Irregular) | Err(_) => return Ok(None),
            }
        }
    }

    /// Total number of samples per channel.
    pub(super) fn samples(&self) -> u64 {
        self.frames * self.samples_per_frame
    }
}

/// Index under construction.
struct IndexBuilder {
    file: BufReader<Bytes>,
    bytes: u64,
    at: u64,
    kind: [u8; 2],
    index: Mp3Index,
}

enum IndexStatus {
    More,
    End,
    Irregular,
}

impl IndexBuilder {
    /// Finds the first audio frame, after a Xing, Info or VBRI frame.
    fn begin(file: &Bytes, first: &[u8]) -> io::Result<Option<IndexBuilder>> {
        let Some(header) = first.first_chunk().and_then(|&word| Mp3Header::parse(word)) else {
            return Ok(None);
        };
        let bytes = file.len();
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file.rewound());
        let mut at = 0;
        for _info in 0..2 {
            let mut word = [0; 4];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut word)?;
            let Some(found) = Mp3Header::parse(word) else { break };
            let mut frame = word.to_vec();
            file.by_ref().take(found.bytes.saturating_sub(4) as u64).read_to_end(&mut frame)?;
            if frame == first {
                file.seek(SeekFrom::Start(at))?;
                let index =
                    Mp3Index { places: Vec::new(), frames: 0, samples_per_frame: frame_samples(first) };
                return Ok(Some(IndexBuilder { file, bytes, at, kind: header.kind, index }));
            }
            at += found.bytes as u64;
        }
        Ok(None)
    }

    /// Reads the next [`STRIDE`] frame headers.
    fn stride(&mut self) -> io::Result<IndexStatus> {
        self.index.places.push(self.at);
        for _frame in 0..STRIDE {
            if self.at + 4 > self.bytes {
                return Ok(IndexStatus::End);
            }
            let mut start = [0; INFO_END];
            self.file.read_exact(&mut start[..4])?;
            let header = match Mp3Header::parse([start[0], start[1], start[2], start[3]]) {
                Some(header) if header.kind == self.kind => header,
                Some(_) => return Ok(IndexStatus::Irregular),
                None => return self.tail(start),
            };
            // A truncated frame does not count.
            if self.at + header.bytes as u64 > self.bytes {
                return Ok(IndexStatus::End);
            }
            let read = header.bytes.min(INFO_END);
            self.file.read_exact(&mut start[4..read])?;
            if is_info_frame(&start[..read]) {
                return Ok(IndexStatus::Irregular);
            }
            self.file.seek_relative((header.bytes - read) as i64)?;
            self.at += header.bytes as u64;
            self.index.frames += 1;
        }
        Ok(IndexStatus::More)
    }

    /// Checks the bytes after the last frame, beginning with `start`: the file is regular if no frame may begin there.
    fn tail(&mut self, start: [u8; INFO_END]) -> io::Result<IndexStatus> {
        let mut tail = start[..4].to_vec();
        self.file.by_ref().take(MAX_TAIL_BYTES).read_to_end(&mut tail)?;
        let is_whole = tail.len() as u64 == self.bytes - self.at;
        let may_begin = tail.windows(2).any(|pair| pair[0] == 0xff && pair[1] >> 5 == 7);
        Ok(if is_whole && !may_begin { IndexStatus::End } else { IndexStatus::Irregular })
    }
}

/// True if the frame is a Xing, Info or VBRI header without audio.
fn is_info_frame(start: &[u8]) -> bool {
    // After the side information, whose length depends on version and channels.
    [13, 21, 36].iter().any(|&at| {
        let id = start.get(at..at + 4);
        id.is_some_and(|id| [b"Xing", b"Info", b"VBRI"].iter().any(|known| id == &known[..]))
    })
}

/// Reader of the frames of an indexed file.
pub(super) struct Mp3Frames {
    file: BufReader<Bytes>,
    index: Mp3Index,
    /// Index of the next frame.
    next: u64,
    /// Time of the first frame, in samples.
    first_time: i64,
}

impl Mp3Frames {
    /// Opens the frames at `time`; the first frame of the file is at `first_time`.
    pub(super) fn new(file: Bytes, index: Mp3Index, first_time: i64, time: i64) -> io::Result<Mp3Frames> {
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut frames = Mp3Frames { file, index, next: 0, first_time };
        frames.seek(time)?;
        Ok(frames)
    }

    /// Seeks to the frame at `time`, or to the end.
    pub(super) fn seek(&mut self, time: i64) -> io::Result<()> {
        let samples = time.saturating_sub(self.first_time).max(0) as u64;
        let frame = (samples / self.index.samples_per_frame).min(self.index.frames);
        let place = self.index.places.get((frame / STRIDE) as usize).copied().ok_or_else(changed)?;
        self.file.seek(SeekFrom::Start(place))?;
        self.next = frame;
        for _frame in 0..frame % STRIDE {
            let (_, header) = self.header()?;
            self.file.seek_relative(header.bytes as i64 - 4)?;
        }
        Ok(())
    }

    /// Reads the next frame, or `None` after the last one.
    pub(super) fn next(&mut self, track: u32) -> io::Result<Option<Packet>> {
        if self.next == self.index.frames {
            return Ok(None);
        }
        let (word, header) = self.header()?;
        let mut data = vec![0; header.bytes];
        data[..4].copy_from_slice(&word);
        self.file.read_exact(&mut data[4..])?;
        let time = self.first_time + (self.next * self.index.samples_per_frame) as i64;
        self.next += 1;
        Ok(Some(Packet::new(track, Timestamp::new(time), Duration::from(self.index.samples_per_frame), data)))
    }

    fn header(&mut self) -> io::Result<([u8; 4], Mp3Header)> {
        let mut word = [0; 4];
        self.file.read_exact(&mut word)?;
        Ok((word, Mp3Header::parse(word).filter(|header| header.bytes >= 4).ok_or_else(changed)?))
    }
}

fn changed() -> io::Error {
    io::Error::other("the file changed while it was read")
}
