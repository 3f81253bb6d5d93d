//! Any bytes as a Keras 1 file of weights.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagwave::weights::{Checkpoint, Weights};

// The HDF5 reader panics on some damaged files, which `Checkpoint::from_bytes` turns into an error. The driver's panic
// hook would end the process before; panics that leave the target still end it.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| ())), |data: &[u8]| {
    if let Ok(checkpoint) = Checkpoint::from_bytes(data.to_vec()) {
        for model in ["crnn", "cnn", "compact"] {
            let model = tagwave::models::find(model).expect("a model of this name");
            let _ = Weights::from_checkpoint(&model.architecture().tensors(), checkpoint.clone());
        }
    }
});
