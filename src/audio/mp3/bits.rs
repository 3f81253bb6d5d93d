//! Reader of bits, most significant first.

/// Reader of bits. Past the end of the data it reads zeros.
#[derive(Clone)]
pub(super) struct BitReader<'a> {
    data: &'a [u8],
    /// The next bits, at the top.
    word: u64,
    /// Number of bits of `word` that count.
    filled: u32,
    /// Index of the first byte that is not in `word`.
    next: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at bit `position` of `data`.
    pub(super) fn new(data: &'a [u8], position: usize) -> BitReader<'a> {
        let mut reader = BitReader { data, word: 0, filled: 0, next: position / 8 };
        reader.refill();
        reader.skip((position % 8) as u32);
        reader
    }

    /// Position of the next bit.
    pub(super) fn position(&self) -> usize {
        self.next * 8 - self.filled as usize
    }

    /// Loads bits until there are at least 56.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let bytes = self.data.get(self.next..).unwrap_or_default();
        let word = match bytes.first_chunk() {
            Some(&chunk) => u64::from_be_bytes(chunk),
            None => last_bytes(bytes),
        };
        self.word |= word >> self.filled;
        self.next += (63 - self.filled as usize) >> 3;
        self.filled |= 56;
    }

    /// The next 64 bits, of which the 56 at the top are known after a refill.
    #[inline(always)]
    pub(super) fn word(&self) -> u64 {
        self.word
    }

    /// Skips fewer than 56 bits since the last refill.
    #[inline(always)]
    pub(super) fn skip(&mut self, bits: u32) {
        self.word <<= bits;
        self.filled -= bits;
    }

    /// Reads up to 32 bits.
    pub(super) fn read(&mut self, bits: u32) -> u32 {
        self.refill();
        // Two shifts: one by 64 is not defined.
        let value = (self.word >> 1 >> (63 - bits)) as u32;
        self.skip(bits);
        value
    }

    /// Reads a flag.
    pub(super) fn flag(&mut self) -> bool {
        self.read(1) == 1
    }
}

/// Fewer than eight bytes, followed by zeros.
#[cold]
fn last_bytes(bytes: &[u8]) -> u64 {
    let mut chunk = [0; 8];
    chunk.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_at_any_position() {
        let data: Vec<u8> = (0..40u32).map(|i| (i * 37 + 11) as u8).collect();
        let bit = |i: usize| data.get(i / 8).map_or(0, |byte| u64::from(byte >> (7 - i % 8) & 1));
        for start in 0..70 {
            let mut reader = BitReader::new(&data, start);
            let mut at = start;
            for length in (0..=32).chain([1, 31, 32, 32, 32]) {
                let expected = (at..at + length).fold(0, |value, i| value << 1 | bit(i));
                assert_eq!(reader.position(), at);
                assert_eq!(u64::from(reader.read(length as u32)), expected, "{length} bits at {at}");
                at += length;
            }
        }
    }
}
