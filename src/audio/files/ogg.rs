//! Damage scan of Ogg files (RFC 3533): lost pages, wrong checksums and bytes between pages, which the demuxer skips
//! silently.

use std::io::{self, BufReader, Read};

use super::bytes::Bytes;
use crate::audio::error::AudioError;
use crate::audio::heartbeat::Heartbeat;

const BUFFER_BYTES: usize = 1 << 17;
/// Maximum number of logical streams whose page numbers are checked.
const MAX_STREAMS: usize = 64;

/// Result of a damage scan.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct OggScan {
    /// Number of pages with a wrong checksum and of gaps in the page numbers.
    pub(super) damaged_pages: u64,
    /// Number of bytes outside pages.
    pub(super) stray_bytes: u64,
    /// True for more than one logical stream, or times that go backwards.
    pub(super) is_irregular: bool,
    /// True if the last page is truncated.
    pub(super) is_cut: bool,
}

/// Scans all pages.
///
/// # Errors
/// [`AudioError::Io`], [`AudioError::Cancelled`].
pub(super) fn scan(bytes: &Bytes, heartbeat: &Heartbeat) -> Result<OggScan, AudioError> {
    let tables = tables();
    let mut scan = OggScan::default();
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, bytes.rewound());
    // Serial number, next page number and latest time of each stream.
    let mut streams: Vec<(u32, u32, u64)> = Vec::new();
    let mut page = Vec::new();
    for number in 0u64.. {
        if number.is_multiple_of(16) {
            heartbeat.check()?;
        }
        match read_page(&mut reader, &mut page, &mut scan.stray_bytes) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                scan.is_cut = page.starts_with(b"OggS");
                break;
            }
            Err(error) => return Err(AudioError::Io(error)),
        }
        let word = |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
        let (serial, sequence, checksum) = (word(14), word(18), word(22));
        let time = u64::from(word(6)) | u64::from(word(10)) << 32;
        page[22..26].fill(0);
        if crc(&tables, &page) != checksum {
            scan.damaged_pages += 1;
            continue;
        }
        let room = streams.len() < MAX_STREAMS;
        match streams.iter_mut().find(|stream| stream.0 == serial) {
            Some((_, next, latest)) => {
                scan.damaged_pages += u64::from(sequence != *next && sequence > *next);
                *next = sequence.wrapping_add(1);
                if time != u64::MAX {
                    scan.is_irregular |= time < *latest;
                    *latest = time;
                }
            }
            None if room => streams.push((serial, sequence.wrapping_add(1), 0)),
            None => {}
        }
    }
    scan.is_irregular |= streams.len() > 1 || scan.damaged_pages > 0 || scan.stray_bytes > 0;
    Ok(scan)
}

/// Reads the next page and counts the bytes before it; `false` at the end.
fn read_page(reader: &mut impl Read, page: &mut Vec<u8>, stray_bytes: &mut u64) -> io::Result<bool> {
    page.resize(27, 0);
    if reader.read(&mut page[..1])? == 0 {
        return Ok(false);
    }
    reader.read_exact(&mut page[1..27])?;
    while !page.starts_with(b"OggS") {
        let next = page[1..].iter().position(|&byte| byte == b'O').map_or(27, |at| at + 1);
        *stray_bytes += next as u64;
        page.drain(..next);
        let kept = page.len();
        page.resize(27, 0);
        reader.read_exact(&mut page[kept..])?;
    }
    let segments = usize::from(page[26]);
    page.resize(27 + segments, 0);
    reader.read_exact(&mut page[27..])?;
    let body: usize = page[27..].iter().map(|&size| usize::from(size)).sum();
    let header = page.len();
    page.resize(header + body, 0);
    reader.read_exact(&mut page[header..])?;
    Ok(true)
}

/// CRC-32 of polynomial 0x04c11db7, most significant bit first (RFC 3533, 6), eight bytes at a time.
type Tables = [[u32; 256]; 8];

fn tables() -> Box<Tables> {
    let mut tables = Box::new([[0u32; 256]; 8]);
    for byte in 0..256 {
        let mut crc = (byte as u32) << 24;
        for _bit in 0..8 {
            crc = if crc & 1 << 31 != 0 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
        }
        tables[0][byte] = crc;
    }
    for byte in 0..256 {
        for table in 1..8 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before << 8 ^ tables[0][(before >> 24) as usize];
        }
    }
    tables
}

fn crc(tables: &Tables, bytes: &[u8]) -> u32 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let crc = eights.iter().fold(0u32, |crc, eight| {
        let first = crc ^ u32::from_be_bytes([eight[0], eight[1], eight[2], eight[3]]);
        let [a, b, c, d] = first.to_be_bytes();
        let words = [a, b, c, d, eight[4], eight[5], eight[6], eight[7]];
        words.iter().zip(tables.iter().rev()).fold(0, |sum, (&byte, table)| sum ^ table[usize::from(byte)])
    });
    rest.iter().fold(crc, |crc, &byte| crc << 8 ^ tables[0][usize::from((crc >> 24) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn page(sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut page = b"OggS\0\0".to_vec();
        page.extend(u64::from(sequence).to_le_bytes());
        page.extend(7u32.to_le_bytes());
        page.extend(sequence.to_le_bytes());
        page.extend([0; 4]);
        page.extend([1, body.len() as u8]);
        page.extend(body);
        let sum = crc(&tables(), &page);
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        page
    }

    fn scanned(parts: &[Vec<u8>]) -> OggScan {
        let mut file = tempfile::tempfile().unwrap();
        parts.iter().for_each(|part| file.write_all(part).unwrap());
        scan(&Bytes::new(file.into()).unwrap(), &Heartbeat::default()).unwrap()
    }

    #[test]
    fn lost_and_damaged_pages_are_counted() {
        // The CRC of "123456789" with this polynomial, no reflection and no inversion.
        assert_eq!(crc(&tables(), b"123456789"), 0x89a1_897f);
        let pages: Vec<Vec<u8>> = (0..5).map(|sequence| page(sequence, b"some music")).collect();
        assert_eq!(scanned(&pages), OggScan::default());
        let lost = [&pages[..2], &pages[3..]].concat();
        assert_eq!(scanned(&lost), OggScan { damaged_pages: 1, is_irregular: true, ..OggScan::default() });
        let mut broken = pages.clone();
        broken[2][30] ^= 1;
        assert!(scanned(&broken).damaged_pages > 0);
        let stray = [&pages[..2], &[b"Ostray".to_vec()], &pages[2..]].concat();
        assert_eq!(scanned(&stray), OggScan { stray_bytes: 6, is_irregular: true, ..OggScan::default() });
        let cut = [&pages[..4], &[pages[4][..30].to_vec()]].concat();
        assert_eq!(scanned(&cut), OggScan { is_cut: true, ..OggScan::default() });
    }
}
