//! Any bytes as a safetensors file of weights.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagwave::tensor::Shape;
use tagwave::weights::{Manifest, TensorSpec, load};

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights.safetensors");
    std::fs::write(&path, data).expect("a temporary file");
    let spec = |name: &str, shape: Shape| TensorSpec::trainable(name, name, shape);
    let specs = [spec("a", Shape::from([2, 3])), spec("b", Shape::from([4]))];
    if let Ok(weights) = load(&path, &specs, &Manifest::default()) {
        assert!(weights.iter().all(|(_, tensor)| tensor.data().iter().all(|x| x.is_finite())));
    }
});
