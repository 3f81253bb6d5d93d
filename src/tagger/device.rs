//! Devices that a model can run on, as named by a caller.

use std::fmt;
use std::str::FromStr;

use crate::executor::Selection;

/// Device that a model runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// The best GPU, or the CPU if there is none or only a software driver, which is slower.
    #[default]
    Auto,
    /// The best adapter, including software drivers; an error if there is none.
    Gpu,
    /// The fast CPU executor.
    Cpu,
    /// The reference implementation: slow, but the definition of all results.
    Reference,
    /// Decode only, run no model. Measures the upper bound set by decoding.
    None,
    /// A specific adapter.
    Adapter(Selection),
}

impl Device {
    /// Adapter selection of this device.
    pub(super) fn selection(&self) -> Selection {
        match self {
            Device::Adapter(selection) => selection.clone(),
            _ => Selection::Best,
        }
    }
}

/// Error of parsing a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("empty device name, expected auto, gpu, cpu, reference, an adapter's number or part of its name")]
pub struct ParseDeviceError;

impl FromStr for Device {
    type Err = ParseDeviceError;

    fn from_str(word: &str) -> Result<Device, ParseDeviceError> {
        Ok(match word.trim() {
            "" => return Err(ParseDeviceError),
            "auto" => Device::Auto,
            "gpu" => Device::Gpu,
            "cpu" => Device::Cpu,
            "reference" => Device::Reference,
            "none" => Device::None,
            word => Device::Adapter(match word.parse() {
                Ok(index) => Selection::Index(index),
                Err(_) => Selection::Name(word.to_string()),
            }),
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Gpu => f.write_str("gpu"),
            Device::Cpu => f.write_str("cpu"),
            Device::Reference => f.write_str("reference"),
            Device::None => f.write_str("none"),
            Device::Adapter(Selection::Best) => f.write_str("gpu"),
            Device::Adapter(Selection::Index(index)) => write!(f, "{index}"),
            Device::Adapter(Selection::Name(name)) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_parsed() {
        assert_eq!("auto".parse(), Ok(Device::Auto));
        assert_eq!("reference".parse(), Ok(Device::Reference));
        assert_eq!("none".parse(), Ok(Device::None));
        assert_eq!("1".parse(), Ok(Device::Adapter(Selection::Index(1))));
        assert_eq!("llvm pipe".parse(), Ok(Device::Adapter(Selection::Name("llvm pipe".into()))));
        assert_eq!(" ".parse::<Device>(), Err(ParseDeviceError));
    }
}
