//! Default batch size of a device.

use super::{AdapterSummary, AdapterType};
use crate::plan::{Arena, Plan};

/// Batch size of software drivers: with more clips the first result is later, and no faster.
const SOFTWARE_BATCH: usize = 8;

/// Maximum batch size of hardware; each clip in flight also takes 1.4 MB of host memory.
const MAX_BATCH: usize = 64;

/// Maximum bytes of activations on adapters with memory of their own.
const OWN_MEMORY: u64 = 1 << 30;
/// Maximum bytes of activations on adapters that share the memory of the CPU.
const SHARED_MEMORY: u64 = 256 << 20;

/// Default batch size of an adapter for a plan: the largest power of two whose activations fit a memory budget, since
/// the free memory of a device is unknown. An executor reduces it further where a binding would be too large.
pub fn suitable_batch(adapter: &AdapterSummary, plan: &Plan) -> usize {
    if adapter.limits.software {
        return SOFTWARE_BATCH;
    }
    let budget = if adapter.adapter_type == AdapterType::Discrete { OWN_MEMORY } else { SHARED_MEMORY };
    let bytes = |clips: usize| Arena::new(&plan.with_batch(clips)).slot_bytes().iter().sum::<u64>();
    let halves =
        std::iter::successors(Some(MAX_BATCH), |clips| Some(clips / 2)).take_while(|&clips| clips > 1);
    halves.into_iter().find(|&clips| bytes(clips) <= budget).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Limits, Op};
    use crate::plan::{Activation, Builder};

    #[test]
    fn a_gpu_takes_what_its_memory_suggests() {
        let plan = |values: usize| {
            let mut builder = Builder::new();
            let x = builder.input("x", [1, values]);
            let y = builder.step("y", Op::Activation(Activation::Elu), &[x], Vec::new()).unwrap();
            builder.output("y", y);
            builder.finish()
        };
        let mut adapter = AdapterSummary {
            name: String::new(),
            backend: String::new(),
            driver: String::new(),
            pci_bus_id: String::new(),
            adapter_type: AdapterType::Software,
            subgroup_size: [32; 2],
            timestamps: false,
            limits: Limits { software: true, ..Limits::default() },
        };
        assert_eq!(suitable_batch(&adapter, &plan(8)), SOFTWARE_BATCH);
        adapter.limits.software = false;
        adapter.adapter_type = AdapterType::Discrete;
        assert_eq!(suitable_batch(&adapter, &plan(8)), MAX_BATCH);
        // Input and output of 4 MiB each a clip.
        assert_eq!(suitable_batch(&adapter, &plan(4 << 20)), 32);
        adapter.adapter_type = AdapterType::Integrated;
        assert_eq!(suitable_batch(&adapter, &plan(4 << 20)), 8);
        assert_eq!(suitable_batch(&adapter, &plan(1 << 30)), 1);
    }
}
