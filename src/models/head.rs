//! Head: a dense layer with labels of its own on the embedding of another model.

use super::{Architecture, ClipSpec, Compat, EMBEDDING, Model, ModelError, SCORES, Starts};
use crate::plan::{Activation, Builder, Plan};
use crate::weights::{RawWeights, TensorSpec, Weights};

/// A published model whose last layer is replaced.
#[derive(Debug)]
pub(super) struct Head {
    base: Model,
    labels: usize,
}

impl Head {
    pub(super) fn new(base: Model, labels: usize) -> Head {
        Head { base, labels }
    }

    /// True for the name of an array of a head file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.own_tensors().iter().any(|spec| spec.name == name)
    }

    /// Specs of the arrays of a head file: `[D, K]` and `[K]`.
    fn own_tensors(&self) -> [TensorSpec; 2] {
        let inputs = self.base.architecture().embedding_len();
        [
            TensorSpec::trainable("head.weight", "head.weight", [inputs, self.labels]),
            TensorSpec::trainable("head.bias", "head.bias", [self.labels]),
        ]
    }

    /// Weights of the base without its last layer, and those of the head file, whose digest they keep.
    pub(super) fn weights(&self, base: &Weights, file: RawWeights) -> Result<Weights, ModelError> {
        let mut weights = file.into_weights(&self.own_tensors())?;
        let info = weights.info().clone();
        for (name, tensor) in base.iter().filter(|(name, _)| !is_last_layer(name)) {
            weights.insert(name, tensor.clone());
        }
        Ok(weights.with_info(info))
    }
}

fn is_last_layer(name: &str) -> bool {
    name.starts_with("output.")
}

impl Architecture for Head {
    fn clip(&self) -> ClipSpec {
        self.base.architecture().clip()
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let base = self.base.architecture().tensors().into_iter().filter(|spec| !is_last_layer(&spec.name));
        base.chain(self.own_tensors()).collect()
    }

    fn embedding_len(&self) -> usize {
        self.base.architecture().embedding_len()
    }

    fn build(&self, weights: &Weights, compat: Compat, starts: Starts) -> Result<Plan, ModelError> {
        let mut b = Builder::after(self.base.architecture().build(weights, compat, starts)?);
        if let Some(features) = b.output_tensor(EMBEDDING) {
            let [weight, bias] = ["head.weight", "head.bias"].map(|name| weights.get(name).cloned());
            let logits = b.dense("logits", features, weight?, bias?)?; // [N, K]
            let scores = b.activation("probs", logits, Activation::Sigmoid)?;
            b.output(SCORES, scores);
        }
        Ok(b.finish())
    }
}
