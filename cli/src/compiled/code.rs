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
    /// True if it may also go on with the next block.
    pub(super) falls_through: bool,
}

/// The code outside loops, then each loop in the order of its first block. Loops are natural loops: of the blocks from which
/// the end of the loop is reached without passing its first block, which dominates them. Loops with the same first block
/// are one.
pub(super) fn sections(blocks: &[Block]) -> Vec<Section> {
    let successors = successors(blocks);
    let dominators = dominators(&successors);
    // First block and members of each loop.
    let mut loops: Vec<(usize, Vec<bool>)> = Vec::new();
    for (end, targets) in successors.iter().enumerate() {
        for &start in targets.iter().filter(|&&start| dominators[end][start]) {
            let members = members(&successors, start, end);
            match loops.iter_mut().find(|(first, _)| *first == start) {
                Some((_, known)) => known.iter_mut().zip(members).for_each(|(known, new)| *known |= new),
                None => loops.push((start, members)),
            }
        }
    }
    let size = |members: &[bool]| members.iter().filter(|&&is_member| is_member).count();
    // An outer loop comes before those inside it.
    loops.sort_by_key(|(start, members)| (*start, std::cmp::Reverse(size(members))));
    let innermost = |block: usize, except: Option<usize>| {
        let around =
            loops.iter().enumerate().filter(|(index, (_, members))| Some(*index) != except && members[block]);
        around.min_by_key(|(_, (_, members))| size(members)).map_or(0, |(index, _)| 1 + index)
    };
    let mut sections = vec![Section::default(); 1 + loops.len()];
    for (index, (start, _)) in loops.iter().enumerate() {
        sections[1 + index].within = Some(innermost(*start, Some(index)));
    }
    for (index, block) in blocks.iter().enumerate() {
        sections[innermost(index, None)].counts.add(&block.counts);
    }
    sections
}

/// Indices of the blocks that follow each block.
fn successors(blocks: &[Block]) -> Vec<Vec<usize>> {
    let place = |name: &String| blocks.iter().position(|block| block.name == *name);
    let of = |(index, block): (usize, &Block)| {
        let next = (block.falls_through && index + 1 < blocks.len()).then_some(index + 1);
        block.targets.iter().filter_map(place).chain(next).collect()
    };
    blocks.iter().enumerate().map(of).collect()
}

/// For each block, the blocks that every way from the first block to it passes, itself included.
fn dominators(successors: &[Vec<usize>]) -> Vec<Vec<bool>> {
    let count = successors.len();
    let mut dominators = vec![vec![true; count]; count];
    if let Some(first) = dominators.first_mut() {
        *first = (0..count).map(|block| block == 0).collect();
    }
    let mut is_changed = true;
    while is_changed {
        is_changed = false;
        for (block, targets) in successors.iter().enumerate() {
            for &target in targets.iter().filter(|&&target| target > 0) {
                let before = dominators[block].clone();
                for (other, (known, before)) in dominators[target].iter_mut().zip(before).enumerate() {
                    if other != target && *known && !before {
                        *known = false;
                        is_changed = true;
                    }
                }
            }
        }
    }
    dominators
}

/// Blocks from which `end` is reached without passing `start`, and `start`.
fn members(successors: &[Vec<usize>], start: usize, end: usize) -> Vec<bool> {
    let mut members = vec![false; successors.len()];
    members[start] = true;
    let mut open = vec![end];
    while let Some(block) = open.pop() {
        if !std::mem::replace(&mut members[block], true) {
            open.extend((0..successors.len()).filter(|&before| successors[before].contains(&block)));
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_found_wherever_they_stand() {
        let block = |name: &str, fma: u32, targets: &[&str]| Block {
            name: name.into(),
            counts: Counts { fma, ..Counts::default() },
            targets: targets.iter().map(ToString::to_string).collect(),
            falls_through: !targets.contains(&"end"),
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
        let fma = |blocks: &[Block]| -> Vec<_> {
            sections(blocks).iter().map(|section| (section.within, section.counts.fma)).collect()
        };
        assert_eq!(fma(&blocks), [(None, 3), (Some(0), 1010), (Some(1), 100), (Some(0), 10_000)]);
        // The code after a loop may stand inside it, and two ways may lead back.
        let blocks = [
            block("0", 1, &[]),
            block("1", 10, &["after", "3"]),
            block("after", 100, &["end"]),
            block("3", 1000, &["1"]),
            block("4", 10_000, &["1", "end"]),
        ];
        assert_eq!(fma(&blocks), [(None, 101), (Some(0), 11_010)]);
    }
}
