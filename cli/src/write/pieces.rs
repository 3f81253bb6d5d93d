//! Earlier contents of a file as pieces of its present contents, and the bytes that are not in them.
//!
//! Tags are a small part of a song, at its start or its end, and rewriting them moves the rest. Ogg also numbers its pages
//! anew, so that equal bytes are found block by block.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Size of a block that is searched for, in bytes: smaller than a page of Ogg.
const BLOCK: usize = 512;
/// Base of the rolling hash, an odd number.
const BASE: u64 = 0x9E37_79B9_7F4A_7C15;

/// Part of the earlier contents.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Piece {
    /// Start and length in the present contents, in bytes.
    Copy(u64, u64),
    /// Bytes in base64.
    Bytes(String),
}

/// Describes `old` by pieces of `new`.
pub(super) fn pieces(old: &[u8], new: &[u8]) -> Vec<Piece> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut list = PieceList::default();
    list.copy(0, head);
    find_blocks(old_middle, new_middle, head, &mut list);
    list.copy(new.len() - tail, tail);
    list.finish()
}

/// Makes the earlier contents; `None` if a piece is not in `new`, or there are more than `size` bytes.
pub(super) fn assemble(pieces: &[Piece], new: &[u8], size: u64) -> Option<Vec<u8>> {
    let mut old = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Copy(start, len) => {
                let start = usize::try_from(*start).ok()?;
                old.extend_from_slice(new.get(start..start.checked_add(usize::try_from(*len).ok()?)?)?);
            }
            Piece::Bytes(text) => old.extend(STANDARD.decode(text).ok()?),
        }
        if old.len() as u64 > size {
            return None;
        }
    }
    (old.len() as u64 == size).then_some(old)
}

/// Pieces under construction; adjacent ones are joined.
#[derive(Default)]
struct PieceList {
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
}

impl PieceList {
    fn copy(&mut self, start: usize, len: usize) {
        if len == 0 {
            return;
        }
        self.flush();
        let (start, len) = (start as u64, len as u64);
        match self.pieces.last_mut() {
            Some(Piece::Copy(from, count)) if *from + *count == start => *count += len,
            _ => self.pieces.push(Piece::Copy(start, len)),
        }
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            self.pieces.push(Piece::Bytes(STANDARD.encode(std::mem::take(&mut self.bytes))));
        }
    }

    fn finish(mut self) -> Vec<Piece> {
        self.flush();
        self.pieces
    }
}

fn hash(block: &[u8]) -> u64 {
    block.iter().fold(0, |sum: u64, &byte| sum.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1))
}

/// Finds blocks of `new` anywhere in `old`; `offset` is the place of `new` in its file.
fn find_blocks(old: &[u8], new: &[u8], offset: usize, list: &mut PieceList) {
    let blocks: HashMap<u64, usize> =
        new.chunks_exact(BLOCK).enumerate().map(|(index, block)| (hash(block), index * BLOCK)).collect();
    // BASE^(BLOCK - 1): weight of the byte that leaves the window.
    let leaving = (1..BLOCK).fold(1u64, |power, _| power.wrapping_mul(BASE));
    let mut at = 0;
    let mut window = None;
    while at < old.len() {
        let Some(block) = old.get(at..at + BLOCK).filter(|_| !blocks.is_empty()) else { break };
        let sum = window.unwrap_or_else(|| hash(block));
        let found = blocks.get(&sum).copied().filter(|&start| new.get(start..start + BLOCK) == Some(block));
        if let Some(start) = found {
            let (there, here) = (&new[start..], &old[at..]);
            let len = there.iter().zip(here).take_while(|(a, b)| a == b).count();
            list.copy(offset + start, len);
            at += len;
            window = None;
        } else {
            list.bytes.push(old[at]);
            window = old.get(at + BLOCK).map(|&next| {
                let rest = sum.wrapping_sub((u64::from(old[at]) + 1).wrapping_mul(leaving));
                rest.wrapping_mul(BASE).wrapping_add(u64::from(next) + 1)
            });
            at += 1;
        }
    }
    list.bytes.extend_from_slice(&old[at.min(old.len())..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reproducible bytes.
    fn noise(len: usize, mut state: u64) -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn literal(pieces: &[Piece]) -> usize {
        let bytes = |piece: &Piece| match piece {
            Piece::Copy(..) => 0,
            Piece::Bytes(text) => STANDARD.decode(text).unwrap().len(),
        };
        pieces.iter().map(bytes).sum()
    }

    fn check(old: &[u8], new: &[u8], most: usize) {
        let found = pieces(old, new);
        assert_eq!(assemble(&found, new, old.len() as u64).as_deref(), Some(old));
        assert!(literal(&found) <= most, "{} bytes are kept", literal(&found));
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Piece>>(&text).unwrap(), found);
    }

    #[test]
    fn contents_are_described_by_their_differences() {
        let audio = noise(100_000, 1);
        check(&audio, &audio, 0);
        check(b"", &audio, 0);
        check(&audio, b"", audio.len());
        let with = |start: &[u8], end: &[u8]| [start, &audio, end].concat();
        // A longer tag before, one behind, and both.
        check(&with(b"tag", b""), &with(&noise(900, 2), b""), 3);
        check(&with(b"", b"tag"), &with(b"", &noise(900, 2)), 3);
        check(&with(b"tag", b"end"), &with(&noise(901, 2), &noise(7, 3)), 2 * BLOCK + 6);
        // Numbers of pages change everywhere.
        let pages = |number: u8| -> Vec<u8> {
            audio.chunks(4000).flat_map(|page| [&b"OggS"[..], &[number; 4], page].concat()).collect()
        };
        check(&pages(1), &[noise(300, 4), pages(2)].concat(), 25 * (BLOCK + 8));
    }

    #[test]
    fn wrong_pieces_make_nothing() {
        for piece in
            [Piece::Copy(1, 3), Piece::Copy(u64::MAX, 2), Piece::Copy(0, 1), Piece::Bytes("?".into())]
        {
            assert_eq!(assemble(&[piece], b"abc", 3), None);
        }
        assert_eq!(assemble(&[Piece::Copy(0, 3), Piece::Copy(0, 3)], b"abc", 3), None);
    }
}
