//! Default batch size of a device.

use super::{AdapterSummary, AdapterType};
use crate::plan::{Arena, Plan};

/// On a processor: more only makes the first result later.
const ON_PROCESSOR: usize = 8;

/// On a GPU: each clip that is on its way holds 1.4 MB of the host's memory as well.
const ON_GPU: usize = 64;

/// Bytes of activations on a card with memory of its own, and on one that shares the processor's.
const OWN_MEMORY: u64 = 1 << 30;
const SHARED_MEMORY: u64 = 256 << 20;

/// Clips of a batch that suit `adapter`, or the processor. What a driver has memory for cannot be asked: it is the
/// plan's activations that are kept within bounds, and an executor takes fewer where a binding would be too large.
pub fn suitable_batch(adapter: Option<&AdapterSummary>, plan: &Plan) -> usize {
    let Some(adapter) = adapter.filter(|adapter| !adapter.limits.software) else { return ON_PROCESSOR };
    let budget = if adapter.adapter_type == AdapterType::Discrete { OWN_MEMORY } else { SHARED_MEMORY };
    let bytes = |clips: usize| Arena::new(&plan.with_batch(clips)).slot_bytes().iter().sum::<u64>();
    let halves = std::iter::successors(Some(ON_GPU), |clips| Some(clips / 2)).take_while(|&clips| clips > 1);
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
        assert_eq!(suitable_batch(None, &plan(8)), ON_PROCESSOR);
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
        assert_eq!(suitable_batch(Some(&adapter), &plan(8)), ON_PROCESSOR);
        adapter.limits.software = false;
        adapter.adapter_type = AdapterType::Discrete;
        assert_eq!(suitable_batch(Some(&adapter), &plan(8)), ON_GPU);
        // Input and output of 4 MiB each a clip.
        assert_eq!(suitable_batch(Some(&adapter), &plan(4 << 20)), 32);
        adapter.adapter_type = AdapterType::Integrated;
        assert_eq!(suitable_batch(Some(&adapter), &plan(4 << 20)), 8);
        assert_eq!(suitable_batch(Some(&adapter), &plan(1 << 30)), 1);
    }
}
