//! Statistics of one compiled kernel.

use serde_json::{Map, Value, json};

use super::code::{Block, Section, sections};

/// Statistics that the compiler of a driver states of a kernel; `None` for those that it does not state.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodeStatistics {
    /// Threads of a workgroup.
    pub(crate) threads: Option<u64>,
    /// 32-bit registers of a thread.
    pub(crate) registers: Option<u64>,
    /// Registers that were moved to memory.
    pub(crate) spilled: Option<u64>,
    /// Bytes of memory for local arrays and spilled registers: of a subgroup on AMD, of a thread on NVIDIA.
    pub(crate) scratch_bytes: Option<u64>,
    /// Bytes of shared memory of a workgroup.
    pub(crate) shared_bytes: Option<u64>,
    /// Subgroups that fit one SIMD unit at a time.
    pub(crate) subgroups_per_simd: Option<u64>,
    pub(crate) instructions: Option<u64>,
    /// The compiler's estimate of the cycles of one subgroup alone.
    pub(crate) latency: Option<u64>,
    /// The compiler's estimate of the cycles that one subgroup costs a busy SIMD unit.
    pub(crate) inverse_throughput: Option<u64>,
    pub(super) blocks: Vec<Block>,
}

impl CodeStatistics {
    /// The code outside loops, then each loop.
    pub(crate) fn sections(&self) -> Vec<Section> {
        sections(&self.blocks)
    }

    /// The section with the most fused multiplications: the inner loop.
    pub(crate) fn inner_loop(&self) -> Section {
        self.sections().into_iter().max_by_key(|section| section.counts.fma).unwrap_or_default()
    }

    /// True if the compiler printed anything.
    pub(crate) fn is_known(&self) -> bool {
        self.instructions.is_some()
    }

    /// Fields of a record.
    pub(crate) fn record(&self) -> Map<String, Value> {
        let mut record = Map::new();
        let numbers = [
            ("threads", self.threads),
            ("registers", self.registers),
            ("spilled", self.spilled),
            ("scratch_bytes", self.scratch_bytes),
            ("shared_bytes", self.shared_bytes),
            ("subgroups_per_simd", self.subgroups_per_simd),
            ("instructions", self.instructions),
            ("latency", self.latency),
            ("inverse_throughput", self.inverse_throughput),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                record.insert(name.into(), number.into());
            }
        }
        let sections = self.sections().into_iter().map(|section| {
            // Zeros are left out: records are committed.
            let counts = section.counts.fields().into_iter().filter(|(_, count)| *count > 0);
            let mut fields: Map<String, Value> =
                counts.map(|(name, count)| (name.to_string(), json!(count))).collect();
            if let Some(within) = section.within {
                fields.insert("within".into(), json!(within));
            }
            Value::Object(fields)
        });
        record.insert("sections".into(), sections.collect());
        record
    }
}
