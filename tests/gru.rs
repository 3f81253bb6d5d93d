//! The GRU of PyTorch and later Keras against tests/golden/gru/make.py.
#![cfg(all(feature = "cpu", feature = "gpu"))]

mod common;

use std::path::Path;

use common::executors::makers;
use common::npz;
use tagwave::executor::blocking::Run;
use tagwave::plan::{Builder, GruWeights};
use tagwave::tensor::HostTensor;
use tagwave::test_cases::{Tolerance, compare};

#[test]
fn the_reset_gate_after_the_product_is_that_of_keras() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gru/gru.npz");
    let array = |name: &str| npz::array(&golden, name);
    let (x, recurrent_bias) = (array("x"), array("recurrent_bias"));
    let units = recurrent_bias.shape().extent(0) / 3;
    let (of_gates, of_candidate) = recurrent_bias.data().split_at(2 * units);
    let mut bias = array("input_bias");
    bias.data_mut().iter_mut().zip(of_gates).for_each(|(bias, added)| *bias += added);
    let weights = GruWeights {
        input: array("kernel"),
        bias,
        recurrent: array("recurrent"),
        recurrent_bias: Some(HostTensor::new([units], of_candidate.to_vec()).unwrap()),
    };
    let mut builder = Builder::new();
    let input = builder.input("x", x.shape().with_batch(1));
    let y = builder.gru("gru", input, weights).unwrap();
    builder.output("y", y);
    let plan = builder.finish();
    for maker in makers(common::gpu()) {
        let (name, found) = (maker.name, maker.make(&plan, 2).run([x.clone()].as_slice()).unwrap());
        let difference = compare(&found[0], &array("y"), Tolerance { absolute: 2e-5, relative: 2e-5 });
        assert!(difference.within, "{name}: {difference}");
    }
}
