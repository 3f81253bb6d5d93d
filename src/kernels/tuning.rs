//! Tuning table: the fastest measured kernel configuration of a layer, by its shapes, from the device at hand or from the
//! committed records.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Call, KernelConfig, Limits, Op, Operation, UserKernel};
use crate::tensor::{DType, Shape};

/// Fastest configurations by layer. The batch is no part of a layer: the same clip gives the same bits in any batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TuningTable {
    measured: BTreeMap<String, String>,
}

/// Table of the committed records, by kind of device; `cargo xtask tuning` makes it.
const BUILT_IN: &str = include_str!("tuning.txt");

impl TuningTable {
    /// Nothing measured: each op's first configuration.
    pub fn none() -> TuningTable {
        TuningTable::default()
    }

    /// Table of the committed records for devices like the one with these limits.
    pub fn built_in(limits: &Limits) -> TuningTable {
        let kind = if limits.software { "software" } else { limits.vendor.name() };
        let lines = BUILT_IN.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(": "));
        TuningTable::of(lines)
    }

    /// Lines `LAYER = CONFIGURATION`, as [`TuningTable`] displays itself. Lines of another form count as not measured.
    pub fn parse(text: &str) -> TuningTable {
        TuningTable::of(text.lines().filter(|line| !line.starts_with('#')))
    }

    fn of<'a>(lines: impl Iterator<Item = &'a str>) -> TuningTable {
        let pairs = lines.filter_map(|line| line.split_once(" = "));
        TuningTable { measured: pairs.map(|(layer, config)| (layer.into(), config.into())).collect() }
    }

    /// Stores the fastest configuration of a layer.
    pub fn insert(&mut self, op: &Op, call: &Call, config: KernelConfig) {
        self.measured.insert(layer(op, call), config.to_string());
    }

    /// Fastest configuration of a layer, if it was measured and still exists.
    pub fn find(&self, op: &Op, call: &Call, limits: &Limits) -> Option<KernelConfig> {
        let text = self.measured.get(&layer(op, call))?;
        KernelConfig::parse(text, &op.configs(call, limits))
    }

    /// This, and `other` where this has nothing.
    #[must_use]
    pub fn or(mut self, other: TuningTable) -> TuningTable {
        for (layer, config) in other.measured {
            self.measured.entry(layer).or_insert(config);
        }
        self
    }

    /// Layers that were measured.
    pub fn len(&self) -> usize {
        self.measured.len()
    }

    /// Returns true if nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.measured.is_empty()
    }
}

impl fmt::Display for TuningTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.measured.iter().try_for_each(|(layer, config)| writeln!(f, "{layer} = {config}"))
    }
}

/// Kernels of a device: tuned configurations and user kernels.
#[derive(Clone, Debug, Default)]
pub struct Kernels {
    /// The configurations that were measured to be the fastest.
    pub tuning: TuningTable,
    /// User kernels, which replace the built-in ones wherever they can run.
    pub user_kernels: Vec<Arc<UserKernel>>,
}

/// Name of a layer: op, storage type, extents of input and output without the batch.
pub fn layer(op: &Op, call: &Call) -> String {
    let extents =
        |shape: &Shape| shape.extents()[1..].iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    let element = match call.element {
        DType::F32 => "f32",
        DType::F16 => "f16",
    };
    let input = call.inputs.first().map(extents).unwrap_or_default();
    format!("{} {element} {input} to {}", op.name(), extents(&call.output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Conv2d;

    #[test]
    fn winners_there_and_back() {
        let op = Op::Conv2d(Conv2d::default());
        let shapes = ([Shape::from([2, 4, 5, 7])], [Shape::from([8, 4, 3, 3]), Shape::from([8])]);
        let output = Shape::from([2, 8, 5, 7]);
        let call = Call { inputs: &shapes.0, weights: &shapes.1, output, element: DType::F32 };
        let limits = Limits::default();
        let config = op.configs(&call, &limits)[0];
        let mut tuning = TuningTable::none();
        assert_eq!(tuning.find(&op, &call, &limits), None);
        tuning.insert(&op, &call, config);
        assert_eq!(tuning.to_string(), format!("conv2d f32 4x5x7 to 8x5x7 = {config}\n"));
        assert_eq!(TuningTable::parse(&tuning.to_string()), tuning);
        assert_eq!(tuning.find(&op, &call, &limits), Some(config));
        // What an older version wrote and no longer exists is as good as not measured.
        let old = TuningTable::parse("conv2d f32 4x5x7 to 8x5x7 = conv2d_gone WG=3");
        assert_eq!(old.find(&op, &call, &limits), None);
    }
}
