//! Machine code of a kernel as counts of instructions by loop.

/// Instructions of one loop, without those of the loops inside it, or of the code outside all loops.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Section {
    /// Index of the section around this loop; `None` for the code outside all loops.
    pub(crate) within: Option<usize>,
    pub(crate) counts: Counts,
}

/// Number of instructions by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Fused multiplications and additions.
    pub(crate) fma: u32,
    /// Other arithmetic on floats.
    pub(crate) float: u32,
    /// Integer arithmetic, moves and comparisons, by thread.
    pub(crate) integer: u32,
    /// Instructions at a quarter of the rate: exponentials, reciprocals, 32-bit integer products on AMD.
    pub(crate) slow: u32,
    /// Loads from shared memory.
    pub(crate) shared_loads: u32,
    pub(crate) shared_stores: u32,
    /// 32-bit words that a thread moves to or from shared memory.
    pub(crate) shared_words: u32,
    /// Loads from buffers and from scratch memory, by thread.
    pub(crate) memory_loads: u32,
    pub(crate) memory_stores: u32,
    /// 32-bit words that a thread moves to or from memory.
    pub(crate) memory_words: u32,
    /// Arithmetic once per subgroup.
    pub(crate) scalar: u32,
    /// Loads once per subgroup.
    pub(crate) scalar_loads: u32,
    pub(crate) branches: u32,
    pub(crate) barriers: u32,
    /// Waits for loads by thread, for shared memory and for scalar loads.
    pub(crate) memory_waits: u32,
    pub(crate) shared_waits: u32,
    pub(crate) scalar_waits: u32,
    /// Cycles until the last instruction is issued if nothing is waited for, where the compiler states them.
    pub(crate) issue_cycles: u32,
}

impl Counts {
    /// Names and values, as in records.
    pub(crate) fn fields(&self) -> [(&'static str, u32); 18] {
        [
            ("fma", self.fma),
            ("float", self.float),
            ("integer", self.integer),
            ("slow", self.slow),
            ("shared_loads", self.shared_loads),
            ("shared_stores", self.shared_stores),
            ("shared_words", self.shared_words),
            ("memory_loads", self.memory_loads),
            ("memory_stores", self.memory_stores),
            ("memory_words", self.memory_words),
            ("scalar", self.scalar),
            ("scalar_loads", self.scalar_loads),
            ("branches", self.branches),
            ("barriers", self.barriers),
            ("memory_waits", self.memory_waits),
            ("shared_waits", self.shared_waits),
            ("scalar_waits", self.scalar_waits),
            ("issue_cycles", self.issue_cycles),
        ]
    }

    fn add(&mut self, other: &Counts) {
        self.fma += other.fma;
        self.float += other.float;
        self.integer += other.integer;
        self.slow += other.slow;
        self.shared_loads += other.shared_loads;
        self.shared_stores += other.shared_stores;
        self.shared_words += other.shared_words;
        self.memory_loads += other.memory_loads;
        self.memory_stores += other.memory_stores;
        self.memory_words += other.memory_words;
        self.scalar += other.scalar;
        self.scalar_loads += other.scalar_loads;
        self.branches += other.branches;
        self.barriers += other.barriers;
        self.memory_waits += other.memory_waits;
        self.shared_waits += other.shared_waits;
        self.scalar_waits += other.scalar_waits;
        self.issue_cycles += other.issue_cycles;
    }
}

/// Straight piece of code, in the order of the listing.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    /// Number or label of the block in the listing.
    pub(super) name: String,
    pub(super) counts: Counts,
    /// Names of the blocks that it jumps to.
    pub(super) targets: Vec<String>,
}

/// The code outside loops, then each loop in the order of its first block. A jump to an earlier block makes a loop of all
/// blocks between; jumps to the same block are one loop.
pub(super) fn sections(blocks: &[Block]) -> Vec<Section> {
    let place = |name: &String| blocks.iter().position(|block| block.name == *name);
    let mut loops: Vec<[usize; 2]> = Vec::new();
    for (end, block) in blocks.iter().enumerate() {
        for start in block.targets.iter().filter_map(place).filter(|&start| start <= end) {
            match loops.iter_mut().find(|found| found[0] == start) {
                Some(found) => found[1] = end,
                None => loops.push([start, end]),
            }
        }
    }
    loops.sort_by_key(|&[start, end]| (start, std::cmp::Reverse(end)));
    let mut sections = vec![Section::default(); 1 + loops.len()];
    let innermost = |block: usize, before: usize| {
        let around = loops[..before].iter().rposition(|&[start, end]| (start..=end).contains(&block));
        around.map_or(0, |index| 1 + index)
    };
    for (index, &[start, _]) in loops.iter().enumerate() {
        sections[1 + index].within = Some(innermost(start, index));
    }
    for (index, block) in blocks.iter().enumerate() {
        sections[innermost(index, loops.len())].counts.add(&block.counts);
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_found_by_jumps_back() {
        let block = |name: &str, fma: u32, targets: &[&str]| Block {
            name: name.into(),
            counts: Counts { fma, ..Counts::default() },
            targets: targets.iter().map(ToString::to_string).collect(),
        };
        // 0, loop 1..=3 with an inner loop 2, loop 4.
        let blocks = [
            block("0", 1, &["4"]),
            block("1", 10, &[]),
            block("2", 100, &["2"]),
            block("3", 1000, &["1", "5"]),
            block("4", 10_000, &["4"]),
            block("5", 2, &[]),
        ];
        let found = sections(&blocks);
        let fma: Vec<_> = found.iter().map(|section| (section.within, section.counts.fma)).collect();
        assert_eq!(fma, [(None, 3), (Some(0), 1010), (Some(1), 100), (Some(0), 10_000)]);
    }
}
