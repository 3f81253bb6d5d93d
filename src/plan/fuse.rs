//! Fusion: merges steps that one kernel can compute.

use std::sync::Arc;

use super::{Origin, Plan, Step, Tensor, TensorId};
use crate::kernels::Operation;
use crate::tensor::{DType, HostTensor};

impl Plan {
    /// Fuses steps where possible. Ops define what they can be fused with ([`Operation::fuse`]); a tensor that is an
    /// output, or that two steps read, is kept.
    pub fn fused(&self) -> Plan {
        let mut plan = Plan { steps: Vec::new(), ..self.clone() };
        for step in &self.steps {
            match plan.fuse_step(self, step) {
                Some((index, fused)) => plan.steps[index] = fused,
                None => plan.steps.push(step.clone()),
            }
        }
        plan.with_precision(self.precision)
    }

    /// Finds the step that `next` can be fused with, and the fused step.
    fn fuse_step(&mut self, unfused: &Plan, next: &Step) -> Option<(usize, Step)> {
        let [input] = next.inputs[..] else { return None };
        let index = self.steps.iter().position(|step| step.output == input)?;
        let readers = unfused.steps.iter().flat_map(|step| &step.inputs);
        let shown = self.outputs.iter().map(|(_, id)| id);
        let views = self.tensors.iter().filter_map(|tensor| match &tensor.origin {
            Origin::View(source) => Some(source),
            _ => None,
        });
        if readers.chain(shown).chain(views).filter(|&&id| id == input).count() != 1 {
            return None;
        }
        let previous = self.steps[index].clone();
        let (op, weights) = previous.op.fuse(&self.weights(&previous), &next.op, &unfused.weights(next))?;
        let weights = weights.into_iter().map(|weight| self.add_weight(&previous.name, weight)).collect();
        Some((index, Step { op, weights, output: next.output, ..previous }))
    }

    fn weights(&self, step: &Step) -> Vec<&HostTensor> {
        step.weights.iter().filter_map(|&id| self.weight(id).map(|weight| &**weight)).collect()
    }

    pub(super) fn add_weight(&mut self, name: &str, weight: HostTensor) -> TensorId {
        self.tensors.push(Tensor {
            name: name.to_string(),
            shape: weight.shape(),
            dtype: DType::F32,
            origin: Origin::Weight(Arc::new(weight)),
        });
        self.tensors.len() - 1
    }
}
