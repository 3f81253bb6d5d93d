//! Mutations of MP3, ADTS and Ogg streams that keep their structure: frames and pages are dropped, repeated, swapped
//! or changed, and checksums are made right, so that damage reaches what lies behind the framing.

use std::ops::Range;

/// A small generator of numbers (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Mutates `data[..size]` in place and returns its new size; `None` where it has no structure to keep.
pub fn mutate(data: &mut [u8], size: usize, seed: u32) -> Option<usize> {
    let mut random = Random(seed.into());
    let old = data.get(..size)?;
    let is_ogg = old.starts_with(b"OggS");
    let mut parts: Vec<Vec<u8>> = if is_ogg { pages(old) } else { frames(old) };
    if parts.len() < 3 {
        return None;
    }
    for _change in 0..=random.below(3) {
        change(&mut parts, is_ogg, &mut random);
    }
    if is_ogg {
        parts.iter_mut().for_each(|page| seal(page));
    }
    let mut new = parts.concat();
    new.truncate(data.len());
    data.get_mut(..new.len())?.copy_from_slice(&new);
    Some(new.len())
}

fn change(parts: &mut Vec<Vec<u8>>, is_ogg: bool, random: &mut Random) {
    let (a, b) = (random.below(parts.len()), random.below(parts.len()));
    match random.below(8) {
        0 if parts.len() > 3 => drop(parts.remove(a)),
        1 => parts.insert(b, parts[a].clone()),
        2 => parts.swap(a, b),
        3 => {
            let length = random.below(parts[a].len());
            parts[a].truncate(length);
        }
        4 => {
            let garbage = (0..random.below(40)).map(|_| random.next() as u8).collect();
            parts.insert(a, garbage);
        }
        // A field of the header: kind, rate and channels of a frame; flags, time, serial and number of a page.
        5 | 6 => {
            let at = if is_ogg { 5 + random.below(17) } else { 1 + random.below(5) };
            if let Some(byte) = parts[a].get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        _ => {
            let at = random.below(parts[a].len());
            if let Some(byte) = parts[a].get_mut(at) {
                *byte = random.next() as u8;
            }
        }
    }
}

/// The pages of an Ogg stream; bytes between them belong to the one before.
fn pages(data: &[u8]) -> Vec<Vec<u8>> {
    split(data, |rest| rest.starts_with(b"OggS"))
}

/// Frames of MPEG audio or ADTS, found by their sync words alone.
fn frames(data: &[u8]) -> Vec<Vec<u8>> {
    let Some(first) = data.windows(2).position(|pair| pair[0] == 0xff && pair[1] >= 0xe0) else { return Vec::new() };
    let second = data[first + 1];
    split(data, |rest| rest.len() > 3 && rest[0] == 0xff && rest[1] == second && rest[2] >> 4 != 15)
}

fn split(data: &[u8], begins: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for at in 1..data.len() {
        if begins(&data[at..]) {
            ranges.push(start..at);
            start = at;
        }
    }
    ranges.push(start..data.len());
    ranges.into_iter().map(|range| data[range].to_vec()).collect()
}

/// Makes the checksum of a page right (RFC 3533, 6).
fn seal(page: &mut [u8]) {
    if page.len() < 27 || !page.starts_with(b"OggS") {
        return;
    }
    page[22..26].fill(0);
    let crc = page.iter().fold(0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 != 0 { 0x04c1_1db7 } else { 0 })
    });
    page[22..26].copy_from_slice(&crc.to_le_bytes());
}
