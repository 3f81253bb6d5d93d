//! Which strategy runs a layer: what was measured, on the device at hand or in the committed records, by the layer's
//! shapes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Call, Custom, Limits, Op, Operation, Strategy};
use crate::tensor::{DType, Shape};

/// Winners by layer. The batch is no part of a layer: the same clip gives the same bits in any batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    measured: BTreeMap<String, String>,
}

/// What the committed records give, by kind of device; `cargo xtask choices` makes it.
const BUILT_IN: &str = include_str!("choices.txt");

impl Choice {
    /// Nothing measured: each op's first strategy.
    pub fn none() -> Choice {
        Choice::default()
    }

    /// What was measured on devices of the kind that `limits` tell, when this version was made.
    pub fn built_in(limits: &Limits) -> Choice {
        let kind = if limits.software { "software" } else { limits.vendor.name() };
        let lines = BUILT_IN.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(": "));
        Choice::of(lines)
    }

    /// Lines `LAYER = STRATEGY`, as [`Choice`] displays itself. Lines of another form count as not measured.
    pub fn parse(text: &str) -> Choice {
        Choice::of(text.lines().filter(|line| !line.starts_with('#')))
    }

    fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Choice {
        let pairs = lines.filter_map(|line| line.split_once(" = "));
        Choice { measured: pairs.map(|(layer, strategy)| (layer.into(), strategy.into())).collect() }
    }

    /// Remembers the winner of a layer.
    pub fn insert(&mut self, op: &Op, call: &Call, strategy: Strategy) {
        self.measured.insert(layer(op, call), strategy.to_string());
    }

    /// The winner of a layer, if it was measured and still exists.
    pub fn find(&self, op: &Op, call: &Call, limits: &Limits) -> Option<Strategy> {
        let text = self.measured.get(&layer(op, call))?;
        Strategy::parse(text, &op.strategies(call, limits))
    }

    /// This, and `other` where this has nothing.
    #[must_use]
    pub fn or(mut self, other: Choice) -> Choice {
        for (layer, strategy) in other.measured {
            self.measured.entry(layer).or_insert(strategy);
        }
        self
    }

    /// Layers that were measured.
    pub fn len(&self) -> usize {
        self.measured.len()
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.measured.is_empty()
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.measured.iter().try_for_each(|(layer, strategy)| writeln!(f, "{layer} = {strategy}"))
    }
}

/// What a device runs where there is more than one kernel.
#[derive(Clone, Debug, Default)]
pub struct Kernels {
    /// The strategies that were measured to be the fastest.
    pub choice: Choice,
    /// Kernels from outside, which stand in for the built-in ones wherever they can.
    pub custom: Vec<Arc<Custom>>,
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
        let strategy = op.strategies(&call, &limits)[0];
        let mut choice = Choice::none();
        assert_eq!(choice.find(&op, &call, &limits), None);
        choice.insert(&op, &call, strategy);
        assert_eq!(choice.to_string(), format!("conv2d f32 4x5x7 to 8x5x7 = {strategy}\n"));
        assert_eq!(Choice::parse(&choice.to_string()), choice);
        assert_eq!(choice.find(&op, &call, &limits), Some(strategy));
        // What an older version wrote and no longer exists is as good as not measured.
        let old = Choice::parse("conv2d f32 4x5x7 to 8x5x7 = conv2d_gone WG=3");
        assert_eq!(old.find(&op, &call, &limits), None);
    }
}
