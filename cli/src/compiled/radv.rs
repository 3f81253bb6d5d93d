//! Reading of what Mesa's driver for AMD (RADV) prints with `RADV_DEBUG=shaders,shaderstats`.

use super::code::{Block, Counts};
use super::statistics::CodeStatistics;

/// Lines of one kernel, read one by one.
#[derive(Debug, Default)]
pub(super) struct RadvReader {
    blocks: Vec<Block>,
    part: ListingPart,
    /// Kinds of loads that no wait has covered.
    pending: PendingLoads,
}

#[derive(Debug, Default, PartialEq)]
enum ListingPart {
    #[default]
    Other,
    Code,
    Statistics,
}

#[derive(Debug, Default)]
struct PendingLoads {
    memory: bool,
    shared: bool,
    scalar: bool,
}

/// Vector instructions at a quarter of the rate.
const SLOW: [&str; 11] = [
    "v_rcp",
    "v_exp",
    "v_log",
    "v_sqrt",
    "v_rsq",
    "v_sin",
    "v_cos",
    "v_mul_lo_u32",
    "v_mul_hi_u32",
    "v_mul_hi_i32",
    "v_mad_u64",
];
const FMA: [&str; 8] =
    ["v_mac_f", "v_mad_f", "v_fma_", "v_fmac_", "v_fmaak", "v_fmamk", "v_pk_fma", "v_dual_fmac"];
const FLOAT: [&str; 9] = [
    "v_mul_f",
    "v_add_f",
    "v_sub_f",
    "v_subrev_f",
    "v_max_f",
    "v_min_f",
    "v_cvt",
    "v_dual_mul",
    "v_dual_add",
];

impl RadvReader {
    /// Reads a line; true if it belongs to this driver's output.
    pub(super) fn line(&mut self, line: &str, found: &mut CodeStatistics) -> bool {
        if line.starts_with("disasm:") {
            *self = RadvReader { part: ListingPart::Code, ..RadvReader::default() };
            return true;
        }
        if line.starts_with("*** SHADER STATS") {
            self.part = ListingPart::Statistics;
            found.blocks = std::mem::take(&mut self.blocks);
            return true;
        }
        match self.part {
            ListingPart::Other => return false,
            ListingPart::Code => self.code(line),
            ListingPart::Statistics if line.starts_with("***") => self.part = ListingPart::Other,
            ListingPart::Statistics => statistic(line, found),
        }
        true
    }

    fn code(&mut self, line: &str) {
        if let Some(name) = line.trim_end().strip_suffix(':').filter(|name| name.starts_with("BB")) {
            self.blocks.push(Block { name: name.into(), falls_through: true, ..Block::default() });
            return;
        }
        let Some(text) = line.strip_prefix('\t') else { return };
        let text = text.split(';').next().unwrap_or_default();
        let Some(block) = self.blocks.last_mut() else { return };
        // Instructions issued in pairs stand in one line.
        for instruction in text.split("::") {
            let mut words = instruction.split_whitespace();
            let Some(name) = words.next() else { continue };
            if name.contains("branch") {
                block.targets.extend(words.next().map(String::from));
            }
            if matches!(name, "s_branch" | "s_endpgm") {
                block.falls_through = false;
            }
            count(name, instruction, &mut block.counts, &mut self.pending);
        }
    }
}

/// 32-bit words that a thread moves with a memory instruction.
fn words(name: &str) -> u32 {
    let wide = [("x4", 4), ("b128", 4), ("x3", 3), ("b96", 3), ("x2", 2), ("b64", 2)];
    wide.into_iter().find(|(suffix, _)| name.contains(suffix)).map_or(1, |(_, words)| words)
}

fn count(name: &str, text: &str, counts: &mut Counts, pending: &mut PendingLoads) {
    let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if is(&["s_waitcnt"]) {
        if text.contains("vmcnt") && std::mem::take(&mut pending.memory) {
            counts.memory_waits += 1;
        }
        if text.contains("lgkmcnt") {
            // Scalar loads take longer than shared memory, and one wait covers both.
            let scalar = std::mem::take(&mut pending.scalar);
            let shared = std::mem::take(&mut pending.shared);
            counts.scalar_waits += u32::from(scalar);
            counts.shared_waits += u32::from(shared && !scalar);
        }
    } else if is(&["s_barrier"]) {
        counts.barriers += 1;
    } else if name.contains("branch") {
        counts.branches += 1;
    } else if is(&["s_load", "s_buffer_load"]) {
        counts.scalar_loads += 1;
        pending.scalar = true;
    } else if is(&["s_nop", "s_clause", "s_delay", "s_inst", "s_endpgm", "s_code_end", "s_sendmsg"]) {
    } else if is(&["s_"]) {
        counts.scalar += 1;
    } else if is(&["ds_"]) {
        pending.shared = true;
        counts.shared_words += words(name);
        if is(&["ds_read", "ds_load"]) {
            counts.shared_loads += 1;
        } else {
            counts.shared_stores += 1;
        }
    } else if is(&["buffer_", "global_", "scratch_", "flat_", "tbuffer_"]) {
        counts.memory_words += words(name);
        if name.contains("load") {
            pending.memory = true;
            counts.memory_loads += 1;
        } else {
            counts.memory_stores += 1;
        }
    } else if is(&FMA) {
        counts.fma += 1;
    } else if is(&SLOW) {
        counts.slow += 1;
    } else if is(&FLOAT) {
        counts.float += 1;
    } else if is(&["v_"]) {
        counts.integer += 1;
    }
}

fn statistic(line: &str, found: &mut CodeStatistics) {
    let Some((name, value)) = line.split_once(": ") else { return };
    let Ok(value) = value.trim().parse() else { return };
    match name {
        "VGPRs" => found.registers = Some(value),
        "Spilled VGPRs" | "Spilled SGPRs" => *found.spilled.get_or_insert(0) += value,
        "Scratch size" => found.scratch_bytes = Some(value),
        "LDS size" => found.shared_bytes = Some(value),
        "Subgroups per SIMD" => found.subgroups_per_simd = Some(value),
        "Instructions" => found.instructions = Some(value),
        "Latency" => found.latency = Some(value),
        "Inverse Throughput" => found.inverse_throughput = Some(value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written after the form of the driver's output.
    const TEXT: &str = "\
disasm:
BB0:
\tv_mov_b32_e32 v0, 0                                       ; 7e1e0305
\tbuffer_load_dwordx4 v[4:7], v1, s[4:7], 0 offen             ; e0381000 80010401
\ts_buffer_load_dwordx4 s[0:3], s[4:7], null                  ; f4080101
BB1:
\ts_waitcnt vmcnt(0) lgkmcnt(0)                               ; bf8c0070
\tds_write_b128 v0, v[4:7]                                    ; d9
\ts_waitcnt lgkmcnt(0)                                        ; bf8c
\ts_barrier                                                   ; bf8a
\tds_read_b64 v[0:1], v2                                      ; d9
\tv_dual_fmac_f32 v1, v2, v3 :: v_dual_mul_f32 v4, v5, v6     ; ca
\tv_exp_f32_e32 v1, v2                                        ; 7e
\ts_cbranch_scc1 BB1                                          ; bf85
BB2:
\tbuffer_store_dword v0, v1, s[0:3], 0 offen                  ; e0
\ts_endpgm                                                    ; bf81

Compute Shader:
*** SHADER STATS ***
VGPRs: 40
Spilled SGPRs: 0
Spilled VGPRs: 2
LDS size: 8704
Scratch size: 16
Subgroups per SIMD: 24
Instructions: 14
Latency: 1450
Inverse Throughput: 638
********************
";

    #[test]
    fn statistics_and_loops() {
        let (mut reader, mut found) = (RadvReader::default(), CodeStatistics::default());
        assert!(!reader.line("shader: MESA_SHADER_COMPUTE", &mut found));
        assert!(TEXT.lines().all(|line| reader.line(line, &mut found)));
        assert!(!reader.line("other", &mut found));
        assert_eq!((found.registers, found.spilled, found.scratch_bytes), (Some(40), Some(2), Some(16)));
        assert_eq!((found.shared_bytes, found.subgroups_per_simd), (Some(8704), Some(24)));
        assert_eq!((found.latency, found.inverse_throughput), (Some(1450), Some(638)));
        let sections = found.sections();
        assert_eq!(sections.len(), 2);
        let outside = Counts {
            integer: 1,
            memory_loads: 1,
            memory_stores: 1,
            memory_words: 5,
            scalar_loads: 1,
            ..Counts::default()
        };
        let inside = Counts {
            fma: 1,
            float: 1,
            slow: 1,
            shared_loads: 1,
            shared_stores: 1,
            shared_words: 6,
            branches: 1,
            barriers: 1,
            memory_waits: 1,
            scalar_waits: 1,
            shared_waits: 1,
            ..Counts::default()
        };
        assert_eq!((sections[0].counts, sections[1].counts), (outside, inside));
    }
}
