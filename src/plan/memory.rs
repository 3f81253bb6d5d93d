//! Memory planning: tensors with disjoint lifetimes share a slot.

use super::{Origin, Plan, TensorId};

/// Assignment of tensors to slots. A slot is one buffer. A kernel must not read and write the same buffer, so slots are
/// not subdivided, and the output of a step never shares a slot with its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    slot_of: Vec<Option<usize>>,
    slot_bytes: Vec<u64>,
}

impl Arena {
    /// Assigns every input and activation of `plan` to a slot, best fit first.
    pub fn new(plan: &Plan) -> Arena {
        let last_uses = plan.last_uses();
        let mut arena = Arena { slot_of: vec![None; plan.tensors().len()], slot_bytes: Vec::new() };
        let mut free: Vec<usize> = Vec::new();
        for &id in plan.inputs() {
            arena.place(plan, id, &mut free);
        }
        for (index, step) in plan.steps().iter().enumerate() {
            arena.place(plan, step.output, &mut free);
            for (id, tensor) in plan.tensors().iter().enumerate() {
                // A tensor that is never read is dead after its step.
                let last = last_uses[id].or((id == step.output).then_some(index));
                let owned = !matches!(tensor.origin, Origin::View(_));
                if let (true, true, Some(slot)) = (owned, last == Some(index), arena.slot_of[id]) {
                    free.push(slot);
                }
            }
        }
        for id in 0..arena.slot_of.len() {
            arena.slot_of[id] = arena.slot_of[plan.root(id)];
        }
        arena
    }

    /// Assigns a tensor to the smallest free slot that fits, else grows the largest one.
    fn place(&mut self, plan: &Plan, id: TensorId, free: &mut Vec<usize>) {
        let tensor = &plan.tensors()[id];
        let bytes = (tensor.shape.stored_len() * tensor.dtype.size()).next_multiple_of(4) as u64;
        let fit = |&(_, &slot): &(usize, &usize)| {
            let size = self.slot_bytes[slot];
            if size >= bytes { (0, size - bytes) } else { (1, bytes - size) }
        };
        let slot = match free.iter().enumerate().min_by_key(fit).map(|(place, _)| place) {
            Some(place) => free.swap_remove(place),
            None => {
                self.slot_bytes.push(0);
                self.slot_bytes.len() - 1
            }
        };
        self.slot_bytes[slot] = self.slot_bytes[slot].max(bytes);
        self.slot_of[id] = Some(slot);
    }

    /// Slot of a tensor; `None` for weights and for views.
    pub fn slot(&self, id: TensorId) -> Option<usize> {
        self.slot_of[id]
    }

    /// Size of each slot in bytes.
    pub fn slot_bytes(&self) -> &[u64] {
        &self.slot_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Activation, Builder};

    #[test]
    fn a_chain_needs_two_slots_and_an_output_keeps_its_own() {
        let mut builder = Builder::new();
        let mut x = builder.input("x", [2, 8]);
        for name in ["a", "b", "c", "d"] {
            x = builder.activation(name, x, Activation::Elu).unwrap();
        }
        builder.output("y", x);
        let plan = builder.finish();
        assert_eq!(Arena::new(&plan).slot_bytes(), [64, 64]);
        let tapped = Arena::new(&plan.tapped(&["a"]).unwrap());
        assert_eq!(tapped.slot_bytes().len(), 3);
        for step in plan.steps() {
            let arena = Arena::new(&plan);
            assert_ne!(arena.slot(step.inputs[0]), arena.slot(step.output));
        }
    }

    #[test]
    fn alive_tensors_never_share() {
        // Two readers of `a`, the second one after `b` has been made and dropped.
        let mut builder = Builder::new();
        let x = builder.input("x", [1, 8]);
        let a = builder.activation("a", x, Activation::Elu).unwrap();
        let b = builder.activation("b", a, Activation::Elu).unwrap();
        let c = builder.activation("c", a, Activation::Elu).unwrap();
        builder.output("b", b);
        builder.output("c", c);
        let arena = Arena::new(&builder.finish());
        let slots = [a, b, c].map(|id| arena.slot(id));
        assert!(slots[0] != slots[1] && slots[1] != slots[2] && slots[0] != slots[2]);
    }
}
