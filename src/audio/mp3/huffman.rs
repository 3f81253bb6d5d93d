//! Huffman decoding of the lines of a granule.

use super::FrameError;
use super::bits::BitReader;
use super::codes::{CODE_A, CODE_B, CODES, LEAVES, Leaf};
use super::side::{GranuleInfo, LINES};

/// Bits that the first table of a code is indexed by.
const FIRST_BITS: u32 = 10;
/// Size of the second tables of all codes together, a power of two.
const SECOND_LEN: usize = 4096;
/// Marks an entry of a first table that leads to a second table.
const LINK: u32 = 1 << 31;
/// Marks an entry with a value of 15.
const LARGE: u32 = 1 << 30;
/// Values whose power is tabulated; larger ones are rare.
const POWERS: usize = 256;

/// Codes (index of [`LEAVES`]) and number of additional bits of large values, by the table's number in a frame.
#[rustfmt::skip]
static TABLES: [Option<(u8, u8)>; 32] = [
    None, Some((0, 0)), Some((1, 0)), Some((2, 0)), None, Some((3, 0)), Some((4, 0)), Some((5, 0)),
    Some((6, 0)), Some((7, 0)), Some((8, 0)), Some((9, 0)), Some((10, 0)), Some((11, 0)), None, Some((12, 0)),
    Some((13, 1)), Some((13, 2)), Some((13, 3)), Some((13, 4)), Some((13, 6)), Some((13, 8)), Some((13, 10)), Some((13, 13)),
    Some((14, 4)), Some((14, 5)), Some((14, 6)), Some((14, 7)), Some((14, 8)), Some((14, 9)), Some((14, 11)), Some((14, 13)),
];

/// Lookup tables of all codes of pairs. An entry is the codeword's length (bits 0 to 7), `y` (8 to 11), `x` (12 to 15)
/// and the length including signs (16 to 23), and [`LARGE`]; or [`LINK`], the bits (0 to 7) and place (8 to 23) of a second table.
struct Lookup {
    first: [[u32; 1 << FIRST_BITS]; CODES],
    second: [u32; SECOND_LEN],
}

static LOOKUP: Lookup = Lookup::build();

/// Entry of a code of fours: length of the codeword, symbol.
static FOURS: [[(u8, u8); 64]; 2] = [fours(&CODE_A), fours(&CODE_B)];

impl Lookup {
    const fn build() -> Lookup {
        let mut lookup = Lookup { first: [[0; 1 << FIRST_BITS]; CODES], second: [0; SECOND_LEN] };
        let (mut code, mut used) = (0, 0);
        while code < CODES {
            used = lookup.add(code, used);
            code += 1;
        }
        lookup
    }

    /// Adds a code and returns the number of used entries of the second tables.
    const fn add(&mut self, code: usize, mut used: usize) -> usize {
        let leaves = LEAVES[code];
        // The codeword, at the top of 32 bits.
        let (mut word, mut i) = (0u32, 0);
        while i < leaves.len() {
            let length = leaves[i].1 as u32;
            let entry = entry(leaves[i]);
            let prefix = (word >> (32 - FIRST_BITS)) as usize;
            if length <= FIRST_BITS {
                let mut k = 0;
                while k < 1 << (FIRST_BITS - length) {
                    self.first[code][prefix + k] = entry;
                    k += 1;
                }
            } else {
                if self.first[code][prefix] == 0 {
                    let more = longest(leaves, i, word) - FIRST_BITS;
                    self.first[code][prefix] = LINK | (used as u32) << 8 | more;
                    used += 1 << more;
                }
                let link = self.first[code][prefix];
                let (place, more) = ((link >> 8 & 0xffff) as usize, link & 0xff);
                let at = (word << FIRST_BITS >> (32 - more)) as usize;
                let mut k = 0;
                while k < 1 << (more + FIRST_BITS - length) {
                    self.second[place + at + k] = entry;
                    k += 1;
                }
            }
            word = word.wrapping_add(1 << (32 - length));
            i += 1;
        }
        used
    }
}

/// Length of the longest codeword with the prefix of leaf `i`, whose codeword is `word`.
const fn longest(leaves: &[Leaf], mut i: usize, mut word: u32) -> u32 {
    let (prefix, mut longest) = (word >> (32 - FIRST_BITS), 0);
    while i < leaves.len() && word >> (32 - FIRST_BITS) == prefix {
        let length = leaves[i].1 as u32;
        longest = if length > longest { length } else { longest };
        let (next, overflows) = word.overflowing_add(1 << (32 - length));
        if overflows {
            break;
        }
        word = next;
        i += 1;
    }
    longest
}

const fn entry((symbol, length): Leaf) -> u32 {
    let (x, y, length) = (symbol as u32 >> 4, symbol as u32 & 15, length as u32);
    let signs = (x > 0) as u32 + (y > 0) as u32;
    let large = if x == 15 || y == 15 { LARGE } else { 0 };
    large | (length + signs) << 16 | x << 12 | y << 8 | length
}

const fn fours(leaves: &[Leaf; 16]) -> [(u8, u8); 64] {
    let mut table = [(0, 0); 64];
    let (mut at, mut i) = (0, 0);
    while i < leaves.len() {
        let (symbol, length) = leaves[i];
        let mut k = 0;
        while k < 1 << (6 - length) {
            table[at] = (length, symbol);
            at += 1;
            k += 1;
        }
        i += 1;
    }
    table
}

/// Powers `q^(4/3)`.
pub(super) struct Powers([f32; POWERS]);

impl Powers {
    pub(super) fn new() -> Powers {
        Powers(std::array::from_fn(|q| (q as f64 * (q as f64).cbrt()) as f32))
    }

    #[inline(always)]
    fn of(&self, q: u32) -> f32 {
        match self.0.get(q as usize) {
            Some(&power) => power,
            None => (f64::from(q) * f64::from(q).cbrt()) as f32,
        }
    }
}

/// Decodes the lines below `limit` (even, at most [`LINES`]) of a granule whose data ends at bit `end`, as signed
/// powers `q^(4/3)`, and returns the number of lines that may differ from zero. The others are set to zero.
///
/// # Errors
/// [`FrameError::Overrun`] if the pairs do not fit the data.
pub(super) fn decode_lines(
    bits: &mut BitReader,
    info: &GranuleInfo,
    end: usize,
    powers: &Powers,
    limit: usize,
    lines: &mut [f32; LINES],
) -> Result<usize, FrameError> {
    let most = info.pair_lines.min(limit);
    let ends = [info.region_starts[0].min(most), info.region_starts[1].min(most), most];
    let mut at = 0;
    for (&table, to) in info.tables.iter().zip(ends) {
        let to = to.max(at);
        let pairs = lines[at..to].as_chunks_mut::<2>().0;
        match TABLES[usize::from(table & 31)] {
            None => pairs.as_flattened_mut().fill(0.0),
            Some((code, 0)) => read_pairs(bits, usize::from(code), powers, pairs),
            Some((code, more)) => read_large(bits, usize::from(code), more.into(), powers, pairs),
        }
        at = to;
    }
    if bits.position() > end {
        return Err(FrameError::Overrun);
    }
    let at = read_fours(bits, info, end, limit, lines, at);
    lines[at..].fill(0.0);
    Ok(at)
}

/// Looks up the next codeword after a refill.
#[inline(always)]
fn look_up(bits: &BitReader, code: usize) -> u32 {
    let word = bits.word();
    let entry = LOOKUP.first[code][(word >> (64 - FIRST_BITS)) as usize];
    if entry & LINK == 0 {
        return entry;
    }
    let (place, more) = ((entry >> 8 & 0xffff) as usize, entry & 0xff);
    let at = (word << FIRST_BITS >> (64 - more)) as usize;
    LOOKUP.second[(place + at) & (SECOND_LEN - 1)]
}

/// The value with the sign of the top bit of `word`.
#[inline(always)]
fn signed(value: f32, word: u64) -> f32 {
    f32::from_bits(value.to_bits() | (word >> 32) as u32 & 1 << 31)
}

/// Reads pairs of values below 16.
fn read_pairs(bits: &mut BitReader, code: usize, powers: &Powers, pairs: &mut [[f32; 2]]) {
    let code = code.min(CODES - 1);
    for pair in pairs {
        bits.refill();
        let entry = look_up(bits, code);
        *pair = small_pair(bits, entry, powers);
    }
}

/// Reads the signs of a pair of values below 16.
#[inline(always)]
fn small_pair(bits: &mut BitReader, entry: u32, powers: &Powers) -> [f32; 2] {
    let (x, y) = (entry >> 12 & 15, entry >> 8 & 15);
    let word = bits.word() << (entry & 31);
    let second = word << u32::from(x > 0);
    bits.skip(entry >> 16 & 31);
    // The sign bit of a zero belongs to the next value; it makes a negative zero.
    [signed(powers.0[x as usize], word), signed(powers.0[y as usize], second)]
}

/// Reads pairs whose values 15 have `more` additional bits.
fn read_large(bits: &mut BitReader, code: usize, more: u32, powers: &Powers, pairs: &mut [[f32; 2]]) {
    let code = code.min(CODES - 1);
    for pair in pairs {
        bits.refill();
        let entry = look_up(bits, code);
        if entry & LARGE == 0 {
            *pair = small_pair(bits, entry, powers);
            continue;
        }
        bits.skip(entry & 31);
        for (q, value) in [entry >> 12 & 15, entry >> 8 & 15].into_iter().zip(pair) {
            let mut q = q;
            if q == 15 {
                q += (bits.word() >> (64 - more)) as u32;
                bits.skip(more);
            }
            *value = signed(powers.of(q), bits.word());
            bits.skip(u32::from(q > 0));
        }
    }
}

/// Reads values below 2 in fours from line `at` on, and returns the line after the last one.
fn read_fours(
    bits: &mut BitReader,
    info: &GranuleInfo,
    end: usize,
    limit: usize,
    lines: &mut [f32; LINES],
    mut at: usize,
) -> usize {
    let table = &FOURS[usize::from(info.fours_b)];
    while at < limit && bits.position() < end {
        let Some(four) = lines.get_mut(at..).and_then(|lines| lines.first_chunk_mut::<4>()) else { break };
        bits.refill();
        let (length, symbol) = table[(bits.word() >> 58) as usize];
        bits.skip(length.into());
        for (i, value) in four.iter_mut().enumerate() {
            let is_one = symbol >> (3 - i) & 1;
            *value = signed(f32::from(is_one), bits.word());
            bits.skip(is_one.into());
        }
        // Some encoders state a few bits too many, which are not a codeword.
        if bits.position() > end {
            break;
        }
        at += 4;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codewords of a code, as numbers with their lengths.
    fn words(leaves: &[Leaf]) -> Vec<(u32, Leaf)> {
        let mut word = 0u64;
        let words = leaves.iter().map(|&leaf| {
            let this = (word >> (32 - leaf.1)) as u32;
            word += 1 << (32 - leaf.1);
            (this, leaf)
        });
        let words = words.collect();
        assert_eq!(word, 1 << 32, "the code is not complete");
        words
    }

    #[test]
    fn every_codeword_is_found() {
        for (code, leaves) in LEAVES.iter().enumerate() {
            for (word, (symbol, length)) in words(leaves) {
                // Followed by ones: two negative signs.
                let bytes = (((u64::from(word) + 1) << (64 - length)).wrapping_sub(1)).to_be_bytes();
                let mut bits = BitReader::new(&bytes, 0);
                let mut pairs = [[0.0; 2]];
                read_pairs(&mut bits, code, &Powers::new(), &mut pairs);
                let (x, y) = (symbol >> 4, symbol & 15);
                let value = |q: u8| -(f64::from(q) * f64::from(q).cbrt()) as f32;
                assert_eq!(pairs, [[value(x), value(y)]], "code {code}, symbol {symbol}");
                let signs = usize::from(x > 0) + usize::from(y > 0);
                assert_eq!(bits.position(), usize::from(length) + signs);
            }
        }
        for (b, leaves) in [&CODE_A, &CODE_B].into_iter().enumerate() {
            for (word, (symbol, length)) in words(leaves) {
                assert_eq!(FOURS[b][(word << (6 - length)) as usize], (length, symbol));
            }
        }
    }

    #[test]
    fn large_values_have_additional_bits() {
        // Table 24: the pair (15, 15) is the word 11; then 4 bits and a sign for each.
        let (word, leaf) = words(LEAVES[14]).into_iter().find(|(_, leaf)| leaf.0 == 0xff).unwrap();
        let mut value = u64::from(word);
        for field in [0b0_1101, 0b1_1110] {
            value = (value << 5) | field;
        }
        let bytes = (value << (64 - 10 - leaf.1)).to_be_bytes();
        let mut pairs = [[0.0; 2]];
        read_large(&mut BitReader::new(&bytes, 0), 14, 4, &Powers::new(), &mut pairs);
        let power = |q: f64| q.powf(4.0 / 3.0) as f32;
        assert_eq!(pairs, [[-power(21.0), power(30.0)]]);
    }
}
