//! Reading of what Mesa's driver for NVIDIA (NVK, compiler NAK) prints with `NAK_DEBUG=print`.

use super::code::{Block, Counts};
use super::statistics::CodeStatistics;

/// Lines of one kernel, read one by one.
#[derive(Debug, Default)]
pub(super) struct NakReader {
    blocks: Vec<Block>,
    /// True within a block of the last form of the program, which has its delays.
    is_final: bool,
    /// For each of the six scoreboards, the load that sets it.
    scoreboards: [Option<LoadKind>; 6],
}

#[derive(Clone, Copy, Debug)]
enum LoadKind {
    Memory,
    Shared,
    Other,
}

impl NakReader {
    /// Reads a line; true if it belongs to this driver's output.
    pub(super) fn line(&mut self, line: &str, found: &mut CodeStatistics) -> bool {
        if line.starts_with("NAK IR after") {
            *self = NakReader { is_final: line.contains("calc_instr_deps"), ..NakReader::default() };
            return true;
        }
        let statistic = |name: &str| line.strip_prefix(name)?.trim().parse().ok();
        if let Some(count) = statistic("Instruction count:") {
            found.instructions = Some(count);
            found.blocks = std::mem::take(&mut self.blocks);
            return true;
        }
        if let Some(count) = statistic("Num GPRs:") {
            found.registers = Some(count);
            return true;
        }
        if let Some(bytes) = statistic("SLM size:") {
            found.scratch_bytes = Some(bytes);
            return true;
        }
        if let Some(bytes) = statistic("shared_size:") {
            found.shared_bytes = Some(bytes);
            return true;
        }
        if self.is_final {
            self.code(line);
        }
        self.is_final
    }

    fn code(&mut self, line: &str) {
        if line.starts_with("block") {
            let name = line.split_whitespace().nth(1).unwrap_or_default();
            self.blocks.push(Block { name: name.into(), ..Block::default() });
            return;
        }
        let Some(block) = self.blocks.last_mut() else { return };
        if let Some(targets) = line.strip_prefix("} -> [") {
            let targets = targets.trim_end().trim_end_matches(']').split(',');
            block.targets = targets.map(|name| name.trim().to_string()).collect();
            return;
        }
        let Some((text, schedule)) = line.split_once("//") else { return };
        let text = text.split_once(" = ").map_or(text, |(_, value)| value).trim();
        // A predicate stands in front.
        let name = text.split_whitespace().find(|word| !word.starts_with('@')).unwrap_or_default();
        let load = count(name, &mut block.counts);
        for word in schedule.split_whitespace() {
            let number = |prefix: &str| word.strip_prefix(prefix)?.parse::<usize>().ok();
            if let Some(cycles) = number("delay=") {
                block.counts.issue_cycles += cycles as u32;
            }
            if let Some(mask) = word.strip_prefix("wt=") {
                // The last digit is scoreboard 0. What several wait for, counts as the slowest.
                let waited = mask.bytes().rev().zip(&mut self.scoreboards);
                let kinds: Vec<LoadKind> =
                    waited.filter(|(bit, _)| *bit == b'1').filter_map(|(_, board)| board.take()).collect();
                if kinds.iter().any(|kind| matches!(kind, LoadKind::Memory)) {
                    block.counts.memory_waits += 1;
                } else if kinds.iter().any(|kind| matches!(kind, LoadKind::Shared)) {
                    block.counts.shared_waits += 1;
                } else if !kinds.is_empty() {
                    block.counts.scalar_waits += 1;
                }
            }
        }
        for word in schedule.split_whitespace() {
            let board = word.strip_prefix("wr:").and_then(|board| board.parse::<usize>().ok());
            if let Some(board) = board.and_then(|board| self.scoreboards.get_mut(board)) {
                *board = Some(load);
            }
        }
    }
}

fn count(name: &str, counts: &mut Counts) -> LoadKind {
    let parts: Vec<&str> = name.split('.').collect();
    let words = [("b128", 4), ("b64", 2)]
        .into_iter()
        .find(|(width, _)| parts.contains(width))
        .map_or(1, |(_, words)| words);
    match parts[0] {
        "ld" | "st" | "atom" | "red" => {
            let is_load = parts[0] == "ld";
            if parts.contains(&"shared") {
                counts.shared_words += words;
                counts.shared_loads += u32::from(is_load);
                counts.shared_stores += u32::from(!is_load);
                return LoadKind::Shared;
            }
            counts.memory_words += words;
            counts.memory_loads += u32::from(is_load);
            counts.memory_stores += u32::from(!is_load);
            return LoadKind::Memory;
        }
        "ldc" => counts.scalar_loads += 1,
        "ffma" | "hfma2" | "hmma" => counts.fma += 1,
        "fadd" | "fmul" | "fmnmx" | "fsetp" | "fset" | "hadd2" | "hmul2" | "f2f" | "i2f" | "f2i" => {
            counts.float += 1
        }
        "mufu" => counts.slow += 1,
        "bar" => counts.barriers += 1,
        "bra" | "bssy" | "bsync" | "exit" | "brx" | "bclear" | "break" => counts.branches += 1,
        "nop" | "" => {}
        _ => counts.integer += 1,
    }
    LoadKind::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written after the form of the driver's output.
    const TEXT: &str = "\
NAK IR after calc_instr_deps:
block.u 0 L1 [] -> {
      r0      = s2r sr[0x25]                                  // delay=6 wr:0
      r3      = ffma r1 r2 r3                                 // delay=2
} -> [1]
block 1 L3 [0, 1] -> {
      r4..8   = ld.global.a64.strong.sys.b128 [r2..4]         // delay=6 wt=000001 wr:0
      r8..12  = ld.shared.b128 [r2]                           // delay=1 wt=000001 wr:1
      r3      = ffma r4 r8 r3                                 // delay=4 wt=000010
@!p0            bra L3                                        // delay=1
} -> [1, 2]
block 2 L4 [1] -> {
                st.global.a64.strong.sys.b32 [r4..6] r3       // delay=1
                exit                                          // delay=1
} -> []

Stage: compute
Instruction count: 8
Num GPRs: 42
SLM size: 16
";

    #[test]
    fn statistics_and_loops() {
        let (mut reader, mut found) = (NakReader::default(), CodeStatistics::default());
        TEXT.lines().for_each(|line| {
            reader.line(line, &mut found);
        });
        assert_eq!((found.registers, found.scratch_bytes, found.instructions), (Some(42), Some(16), Some(8)));
        let sections = found.sections();
        assert_eq!(sections.len(), 2);
        let inside = Counts {
            fma: 1,
            shared_loads: 1,
            shared_words: 4,
            memory_loads: 1,
            memory_words: 4,
            branches: 1,
            memory_waits: 1,
            shared_waits: 1,
            scalar_waits: 1,
            issue_cycles: 12,
            ..Counts::default()
        };
        assert_eq!((sections[1].within, sections[1].counts), (Some(0), inside));
        assert_eq!((sections[0].counts.fma, sections[0].counts.memory_stores), (1, 1));
    }
}
