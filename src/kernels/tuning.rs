//! Tuning table: the fastest measured kernel configuration of a layer, by its shapes, from the device at hand or from the
//! committed records.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Call, KernelConfig, Limits, Op, Operation, UserKernel};
use crate::tensor::{DType, Shape};

/// A layer of a model: op, storage type, extents of input and output without the batch, because the same clip gives the
/// same bits in any batch.
///
/// Written as `conv2d f32 32x48x341 to 128x24x85`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerKey {
    op: String,
    element: DType,
    input: Vec<usize>,
    output: Vec<usize>,
}

impl LayerKey {
    /// Key of a call.
    pub fn new(op: &Op, call: &Call) -> LayerKey {
        let extents = |shape: &Shape| shape.extents()[1..].to_vec();
        LayerKey {
            op: op.name().into(),
            element: call.element,
            input: call.inputs.first().map(extents).unwrap_or_default(),
            output: extents(&call.output),
        }
    }

    fn parse(text: &str) -> Option<LayerKey> {
        let extents = |word: &str| word.split('x').map(str::parse).collect::<Result<_, _>>().ok();
        let [op, element, input, "to", output] = text.split(' ').collect::<Vec<_>>()[..] else { return None };
        let element = [DType::F32, DType::F16].into_iter().find(|dtype| dtype.to_string() == element)?;
        Some(LayerKey { op: op.into(), element, input: extents(input)?, output: extents(output)? })
    }
}

impl fmt::Display for LayerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extents =
            |extents: &[usize]| extents.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        let [input, output] = [&self.input, &self.output].map(|shape| extents(shape));
        write!(f, "{} {} {input} to {output}", self.op, self.element)
    }
}

/// Configuration in a table, whose kernel may belong to another version or device.
///
/// Written as `conv2d_tiled TX=16 TY=8`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TunedKernel {
    kernel: String,
    constants: Vec<(String, u32)>,
}

impl TunedKernel {
    fn parse(text: &str) -> Option<TunedKernel> {
        let mut words = text.split_whitespace();
        let kernel = words.next()?.to_string();
        let constant = |word: &str| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_string(), value.parse().ok().filter(|&value| value > 0)?))
        };
        Some(TunedKernel { kernel, constants: words.map(constant).collect::<Option<_>>()? })
    }

    /// This configuration, if `known` has the kernel with these constants.
    fn find(&self, known: &[KernelConfig]) -> Option<KernelConfig> {
        let config = *known.iter().find(|config| config.kernel() == self.kernel)?;
        self.constants.iter().try_fold(config, |config, (name, value)| config.with(name, *value))
    }
}

impl fmt::Display for TunedKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kernel)?;
        self.constants.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

/// Fastest kernel configurations by layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TuningTable {
    fastest: BTreeMap<LayerKey, TunedKernel>,
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
        TuningTable::of(BUILT_IN.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(": ")))
    }

    /// Lines `LAYER = CONFIGURATION`, as [`TuningTable`] displays itself. Lines of another form count as not measured.
    pub fn parse(text: &str) -> TuningTable {
        TuningTable::of(text.lines())
    }

    fn of<'a>(lines: impl Iterator<Item = &'a str>) -> TuningTable {
        let entry = |line: &str| {
            let (layer, kernel) = line.split_once(" = ")?;
            Some((LayerKey::parse(layer)?, TunedKernel::parse(kernel)?))
        };
        TuningTable { fastest: lines.filter_map(entry).collect() }
    }

    /// Stores the fastest configuration of a layer.
    pub fn insert(&mut self, layer: LayerKey, config: KernelConfig) {
        let constants = config.constants().map(|(name, value)| (name.to_string(), value)).collect();
        self.fastest.insert(layer, TunedKernel { kernel: config.kernel().into(), constants });
    }

    /// Fastest configuration of a layer, if it was measured and is among `known`, with any tile constants.
    pub fn find(&self, layer: &LayerKey, known: &[KernelConfig]) -> Option<KernelConfig> {
        self.fastest.get(layer)?.find(known)
    }

    /// This, and `other` where this has nothing.
    #[must_use]
    pub fn or(mut self, other: TuningTable) -> TuningTable {
        for (layer, kernel) in other.fastest {
            self.fastest.entry(layer).or_insert(kernel);
        }
        self
    }

    /// Layers that were measured.
    pub fn len(&self) -> usize {
        self.fastest.len()
    }

    /// Returns true if nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.fastest.is_empty()
    }
}

impl fmt::Display for TuningTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fastest.iter().try_for_each(|(layer, kernel)| writeln!(f, "{layer} = {kernel}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Conv2d;

    #[test]
    fn tables_there_and_back() {
        let op = Op::Conv2d(Conv2d::default());
        let shapes = ([Shape::from([2, 4, 5, 7])], [Shape::from([8, 4, 3, 3]), Shape::from([8])]);
        let output = Shape::from([2, 8, 5, 7]);
        let call = Call { inputs: &shapes.0, weights: &shapes.1, output, element: DType::F32 };
        let known = op.configs(&call, &Limits::default());
        let layer = LayerKey::new(&op, &call);
        let mut tuning = TuningTable::none();
        assert_eq!(tuning.find(&layer, &known), None);
        tuning.insert(layer.clone(), known[0]);
        assert_eq!(tuning.to_string(), format!("conv2d f32 4x5x7 to 8x5x7 = {}\n", known[0]));
        assert_eq!(TuningTable::parse(&tuning.to_string()), tuning);
        assert_eq!(tuning.find(&layer, &known), Some(known[0]));
    }

    #[test]
    fn kernels_of_other_versions_are_not_found() {
        let known = [KernelConfig::new("a", &[("WG", 8), ("QT", 2)]), KernelConfig::new("b", &[])];
        let find = |text: &str| TunedKernel::parse(text)?.find(&known);
        assert_eq!(find("a WG=8 QT=5"), known[0].with("QT", 5));
        assert_eq!(find("b"), Some(known[1]));
        for other in ["a QT=0", "a OV=2", "a WG", "c", ""] {
            assert_eq!(find(other), None, "{other:?}");
        }
        for line in ["# text = a", "conv2d f32 4x5 to = a", "conv2d f8 4 to 4 = a", "conv2d f32 4x to 4 = a"]
        {
            assert!(TuningTable::parse(line).is_empty(), "{line}");
        }
    }
}
