//! Simple model of the time of a kernel on a chip, from its compiled code. It was never compared with a card of these
//! chips; it ranks kernels.
//!
//! A workgroup keeps the vector units, the shared memory and the caches of its unit busy for some cycles; the longest of
//! these, times the workgroups of a unit, is the bound by throughput. A subgroup alone takes the sum of all its cycles and
//! waits; times the rounds in which the resident workgroups follow each other, it is the bound by latency. The third
//! bound is the memory traffic over the bandwidth.

use serde_json::Value;

use super::chip::{Chip, Maker, SIMDS};
use super::loops::{CompiledLoop, Problem, assignments};

/// Modelled time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Modelled {
    pub milliseconds: f64,
    /// The bound that decides.
    pub bound: &'static str,
    /// Workgroups that a unit holds at a time.
    pub resident: u64,
}

/// Cycles of one subgroup.
#[derive(Clone, Copy, Debug, Default)]
struct Cycles {
    vector: f64,
    shared: f64,
    memory: f64,
    /// Of a subgroup that runs alone.
    alone: f64,
    fma: f64,
}

/// Compiled products must be within this range of those of the source: the first product of a sum is no fused one, and the
/// transforms of Winograd's kernel have some of their own. Outside, the loops were not understood.
const UNDERSTOOD: std::ops::RangeInclusive<f64> = 0.75..=2.0;

/// Models a compiled record at a batch; `None` for kernels without a model and code that is not understood.
pub fn model(chip: &Chip, record: &Value, batch: u64) -> Option<Modelled> {
    let problem = Problem::parse(record["key"].as_str()?, record["kernel"].as_str()?)?;
    let work = problem.work()?;
    let sections = record["sections"].as_array()?;
    let workgroups = record["workgroups"][batch.to_string()].as_u64()?;
    let threads = record["threads"].as_u64()?;
    let subgroups = threads.div_ceil(chip.maker.subgroup());
    // Of all ways to read the loops, the one whose products fit best.
    let (cycles, share) = assignments(&work.loops, &forest(sections, 0))
        .iter()
        .map(|turns| total(chip, sections, turns, work.lines))
        .map(|cycles| (cycles, cycles.fma / work.products))
        .min_by(|(_, a), (_, b)| a.ln().abs().total_cmp(&b.ln().abs()))?;
    if !UNDERSTOOD.contains(&share) {
        return None;
    }
    let per_simd = subgroups_per_simd(chip, record)?;
    let by_registers = per_simd * SIMDS / subgroups;
    let by_shared =
        record["shared_bytes"].as_u64().filter(|&bytes| bytes > 0).map(|bytes| chip.shared_bytes / bytes);
    let resident = by_registers.min(by_shared.unwrap_or(u64::MAX)).max(1);
    // Two compute units of a WGP have a path to shared memory and a cache each.
    let paths = if chip.maker == Maker::Amd && chip.vector_cycles == 2.0 { 2.0 } else { 1.0 };
    let busy = subgroups as f64
        * (cycles.vector / SIMDS as f64).max(cycles.shared / paths).max(cycles.memory / paths);
    let throughput = workgroups.div_ceil(chip.units) as f64 * busy;
    let latency = workgroups.div_ceil(chip.units * resident) as f64 * cycles.alone;
    let bytes = 4.0
        * batch as f64
        * (problem.input.iter().product::<u64>() + problem.output.iter().product::<u64>()) as f64;
    let traffic = bytes / chip.bandwidth * chip.clock;
    let bounds = [(throughput, "throughput"), (latency, "latency"), (traffic, "bandwidth")];
    let (cycles, bound) = bounds.into_iter().max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    Some(Modelled { milliseconds: cycles / chip.clock / 1e6, bound, resident })
}

/// Subgroups that registers leave room for on a SIMD unit.
fn subgroups_per_simd(chip: &Chip, record: &Value) -> Option<u64> {
    match chip.maker {
        // The compiler counts subgroups of 32 on chips that have them, and kernels run in subgroups of 64.
        Maker::Amd if chip.vector_cycles == 2.0 => Some((record["subgroups_per_simd"].as_u64()? / 2).max(1)),
        Maker::Amd => record["subgroups_per_simd"].as_u64(),
        Maker::Nvidia => {
            let registers = record["registers"].as_u64()?.next_multiple_of(8).max(16);
            Some((65_536 / SIMDS / 32 / registers).clamp(1, chip.most_subgroups))
        }
    }
}

/// The loops inside a section.
fn forest(sections: &[Value], within: usize) -> Vec<CompiledLoop> {
    let is_inside = |section: &Value| section["within"].as_u64() == Some(within as u64);
    let inside = sections.iter().enumerate().filter(|(_, section)| is_inside(section));
    inside.map(|(section, _)| CompiledLoop { section, inner: forest(sections, section) }).collect()
}

/// Cycles of a subgroup over all sections.
fn total(chip: &Chip, sections: &[Value], turns: &[(usize, f64)], lines: f64) -> Cycles {
    let mut sum = Cycles::default();
    for (index, section) in sections.iter().enumerate() {
        let mut times = 1.0;
        let mut around = Some(index);
        while let Some(section) = around.filter(|&section| section > 0) {
            times *= turns.iter().find(|(found, _)| *found == section).map_or(1.0, |(_, turns)| *turns);
            around = sections[section]["within"].as_u64().map(|within| within as usize);
        }
        let cycles = cycles(chip, section, lines);
        sum.vector += times * cycles.vector;
        sum.shared += times * cycles.shared;
        sum.memory += times * cycles.memory;
        sum.alone += times * cycles.alone;
        sum.fma += times * cycles.fma;
    }
    sum
}

/// Cycles of a subgroup for the instructions of a section, each once.
fn cycles(chip: &Chip, section: &Value, lines: f64) -> Cycles {
    let count = |name: &str| section[name].as_f64().unwrap_or(0.0);
    let fma = count("fma");
    match chip.maker {
        Maker::Amd => {
            let plain = fma + count("float") + count("integer");
            let vector = chip.vector_cycles * (plain + 4.0 * count("slow"));
            let shared = 2.0 * count("shared_words");
            let memory = 4.0 * count("memory_words") * lines;
            let waits =
                400.0 * count("memory_waits") + 100.0 * count("scalar_waits") + 50.0 * count("shared_waits");
            let scalar = count("scalar") + count("scalar_loads") + count("branches");
            Cycles { vector, shared, memory, alone: vector + scalar + shared / 2.0 + waits, fma }
        }
        Maker::Nvidia => {
            let float = fma + count("float");
            let all =
                float + count("integer") + count("shared_loads") + count("memory_loads") + count("branches");
            // Integers have half as many lanes; every instruction needs a cycle to be issued.
            let vector =
                (chip.vector_cycles * float).max(2.0 * count("integer")).max(all) + 8.0 * count("slow");
            let shared = count("shared_words");
            let memory = 2.0 * count("memory_words") * lines;
            let waits =
                400.0 * count("memory_waits") + 30.0 * count("shared_waits") + 20.0 * count("scalar_waits");
            Cycles { vector, shared, memory, alone: count("issue_cycles") + waits, fma }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chip::CHIPS;
    use super::*;

    /// One channel block, one tap row at a time, eight products a turn.
    fn record() -> Value {
        serde_json::json!({
            "key": "conv2d f32 4x2x64 to 8x2x64", "kernel": "conv2d_direct WG=64 QT=1 OV=2",
            "threads": 64, "subgroups_per_simd": 8, "registers": 64, "shared_bytes": 0,
            "workgroups": {"1": 2},
            "sections": [
                {"integer": 10, "memory_waits": 1},
                {"within": 0},
                {"within": 1, "fma": 96, "memory_loads": 3, "memory_words": 12, "memory_waits": 1},
            ],
        })
    }

    #[test]
    fn a_kernel_by_hand() {
        let chip = CHIPS.iter().find(|chip| chip.name == "navi21").unwrap();
        // 2 workgroups of 64 threads make 2 x 64 windows of 8 channels of 4 x 9 products: 288 a thread, in 3 turns of 96.
        let found = model(chip, &record(), 1).unwrap();
        let alone = 10.0 * 2.0 + 400.0 + 3.0 * (96.0 * 2.0 + 400.0);
        assert_eq!(found.bound, "latency");
        assert!((found.milliseconds - alone / 2.105e6).abs() < 1e-9, "{found:?}");
        assert_eq!(found.resident, 16);
    }

    #[test]
    fn code_with_too_few_products_has_no_model() {
        let chip = &CHIPS[0];
        let mut record = record();
        record["sections"][2]["fma"] = 10.into();
        assert_eq!(model(chip, &record, 1), None);
        assert_eq!(model(chip, &record, 8), None, "a batch without workgroups");
    }
}
