//! Any bytes as a Keras 1 file of weights.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagwave::weights::{Checkpoint, Weights};

fuzz_target!(|data: &[u8]| {
    if let Ok(checkpoint) = Checkpoint::from_bytes(data.to_vec()) {
        for model in ["crnn", "cnn", "compact"] {
            let model = tagwave::models::find(model).expect("a model of this name");
            let _ = Weights::from_checkpoint(&model.architecture.tensors(), checkpoint.clone());
        }
    }
});
