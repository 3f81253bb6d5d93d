//! Bare AAC: frames with ADTS headers (ISO 13818-7, 6.2), whose rate and channels may change from frame to frame.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::bytes::Bytes;
use crate::audio::error::AudioError;
use crate::audio::heartbeat::Heartbeat;

/// Samples per channel of a frame.
pub(super) const FRAME_SAMPLES: u64 = 1024;
const RATES_HZ: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const BUFFER_BYTES: usize = 1 << 16;

/// Rate, channel configuration and object type of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FrameParams {
    pub(super) rate_hz: u32,
    pub(super) channels: u8,
    profile: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct AdtsHeader {
    kind: FrameParams,
    /// Length of header and payload in bytes.
    bytes: usize,
    header_bytes: usize,
}

impl AdtsHeader {
    fn parse(head: [u8; 7]) -> Option<AdtsHeader> {
        if head[0] != 0xff || head[1] & 0xf6 != 0xf0 {
            return None;
        }
        let rate_hz = *RATES_HZ.get(usize::from(head[2] >> 2 & 15))?;
        let channels = (head[2] & 1) << 2 | head[3] >> 6;
        let bytes = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
        let header_bytes = if head[1] & 1 == 0 { 9 } else { 7 };
        // Several blocks in a frame are written by no encoder in use.
        let blocks = head[6] & 3;
        let kind = FrameParams { rate_hz, channels, profile: head[2] >> 6 };
        (bytes > header_bytes && blocks == 0).then_some(AdtsHeader { kind, bytes, header_bytes })
    }
}

/// Length in bytes of the ADTS frame with this header.
pub(super) fn frame_bytes(head: [u8; 7]) -> Option<u64> {
    AdtsHeader::parse(head).map(|header| header.bytes as u64)
}

/// Summary of a file of ADTS frames.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AdtsScan {
    /// Number of frames of each rate in Hz.
    pub(super) frames: Vec<(u32, u64)>,
    /// Number of changes of rate, channels or object type.
    pub(super) changes: u64,
    /// Bytes between frames, without tags at the end.
    pub(super) stray_bytes: u64,
}

/// Reader of ADTS frames.
pub(super) struct AdtsFrames {
    file: BufReader<Bytes>,
    at: u64,
    len: u64,
    count: u64,
    kind: Option<FrameParams>,
    stray_bytes: u64,
}

/// ADTS frame; `changed` if its parameters differ from those of the frame before.
pub(super) struct AdtsFrame {
    pub(super) packet: Packet,
    pub(super) kind: FrameParams,
    pub(super) changed: bool,
}

impl AdtsFrames {
    pub(super) fn new(bytes: &Bytes) -> AdtsFrames {
        let file = BufReader::with_capacity(BUFFER_BYTES, bytes.rewound());
        AdtsFrames { file, at: 0, len: bytes.len(), count: 0, kind: None, stray_bytes: 0 }
    }

    /// Seeks to frame `wanted`, counted from 0; `false` if there are fewer.
    pub(super) fn go_to(&mut self, wanted: u64) -> io::Result<bool> {
        if wanted < self.count {
            self.file.seek(SeekFrom::Start(0))?;
            (self.at, self.count) = (0, 0);
        }
        while self.count < wanted {
            let Some(kind) = self.skip()? else { return Ok(false) };
            self.kind = Some(kind);
        }
        Ok(true)
    }

    /// Number of frames read so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn stray_bytes(&self) -> u64 {
        self.stray_bytes
    }

    /// Reads the next frame, or `None` after the last one.
    pub(super) fn next(&mut self) -> io::Result<Option<AdtsFrame>> {
        let Some(header) = self.header()? else { return Ok(None) };
        let mut data = vec![0; header.bytes];
        if let Err(error) = self.file.read_exact(&mut data) {
            // The last frame is truncated.
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
        }
        data.drain(..header.header_bytes);
        let time = (self.count * FRAME_SAMPLES) as i64;
        self.advance(header);
        let changed = self.kind.replace(header.kind).is_some_and(|kind| kind != header.kind);
        let packet = Packet::new(0, Timestamp::new(time), Duration::from(FRAME_SAMPLES), data);
        Ok(Some(AdtsFrame { packet, kind: header.kind, changed }))
    }

    /// Skips the next frame without reading its payload, and returns its kind.
    fn skip(&mut self) -> io::Result<Option<FrameParams>> {
        let Some(header) = self.header()? else { return Ok(None) };
        self.file.seek_relative(header.bytes as i64)?;
        self.advance(header);
        Ok(Some(header.kind))
    }

    fn advance(&mut self, header: AdtsHeader) {
        self.at += header.bytes as u64;
        self.count += 1;
    }

    /// The header of the next frame that another one, or the end, follows; the reader is at its first byte.
    fn header(&mut self) -> io::Result<Option<AdtsHeader>> {
        let mut lost = false;
        loop {
            let mut head = [0; 7];
            if self.at + 7 > self.len {
                return Ok(None);
            }
            self.file.read_exact(&mut head)?;
            self.file.seek_relative(-7)?;
            if let Some(header) = AdtsHeader::parse(head)
                && (!lost || self.is_followed(header)?)
            {
                return Ok((self.at + header.bytes as u64 <= self.len).then_some(header));
            }
            if !lost && (head.starts_with(b"TAG") || head.starts_with(b"APETAG")) {
                return Ok(None);
            }
            lost = true;
            self.file.seek_relative(1)?;
            self.at += 1;
            self.stray_bytes += 1;
        }
    }

    fn is_followed(&mut self, header: AdtsHeader) -> io::Result<bool> {
        let next = self.at + header.bytes as u64;
        if next + 7 > self.len {
            return Ok(next <= self.len);
        }
        let mut head = [0; 7];
        self.file.seek_relative(header.bytes as i64)?;
        self.file.read_exact(&mut head)?;
        self.file.seek_relative(-(header.bytes as i64) - 7)?;
        Ok(AdtsHeader::parse(head).is_some())
    }
}

/// Scans the headers of all frames.
///
/// # Errors
/// [`AudioError::Io`], [`AudioError::Cancelled`].
pub(super) fn scan(bytes: &Bytes, heartbeat: &Heartbeat) -> Result<AdtsScan, AudioError> {
    let mut frames = AdtsFrames::new(bytes);
    let mut scan = AdtsScan::default();
    let mut last = None;
    while let Some(kind) = frames.skip().map_err(AudioError::Io)? {
        if frames.count().is_multiple_of(64) {
            heartbeat.check()?;
        }
        scan.changes += u64::from(last.replace(kind).is_some_and(|last| last != kind));
        match scan.frames.iter_mut().find(|(rate_hz, _)| *rate_hz == kind.rate_hz) {
            Some((_, count)) => *count += 1,
            None => scan.frames.push((kind.rate_hz, 1)),
        }
    }
    scan.stray_bytes = frames.stray_bytes();
    Ok(scan)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn frame(rate: u8, channels: u8, payload: usize) -> Vec<u8> {
        let bytes = payload + 7;
        let mut frame = vec![
            0xff,
            0xf1,
            1 << 6 | rate << 2 | channels >> 2,
            (channels & 3) << 6 | (bytes >> 11) as u8,
            (bytes >> 3) as u8,
            (bytes << 5) as u8 | 0x1f,
            0xfc,
        ];
        frame.resize(bytes, 0x55);
        frame
    }

    #[test]
    fn changes_and_stray_bytes_are_found() {
        let mut file = tempfile::tempfile().unwrap();
        for part in [
            frame(4, 2, 100).repeat(3),
            frame(4, 1, 50),
            vec![0xff; 9],
            frame(7, 2, 20).repeat(2),
            b"TAG".repeat(40),
        ] {
            file.write_all(&part).unwrap();
        }
        let bytes = Bytes::new(file.into()).unwrap();
        let found = scan(&bytes, &Heartbeat::default()).unwrap();
        assert_eq!(found, AdtsScan { frames: vec![(44_100, 4), (22_050, 2)], changes: 2, stray_bytes: 9 });
        let mut frames = AdtsFrames::new(&bytes);
        let sizes: Vec<usize> =
            std::iter::from_fn(|| frames.next().unwrap()).map(|frame| frame.packet.data.len()).collect();
        assert_eq!(sizes, [100, 100, 100, 50, 20, 20]);
    }
}
