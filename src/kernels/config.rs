//! Kernel configuration: one of the kernels of an op, with its tile constants.

use std::fmt;

/// Most tile constants of a kernel.
const MOST: usize = 8;
/// Largest tile constant: products of all of them are to fit a `usize`.
const LARGEST: usize = 1 << 10;

/// A kernel and its tile constants: everything about how an op is run that does not change what is computed.
///
/// Written as `conv2d_direct WG=8 QT=2 OV=4`. The constants stand in front of the kernel's text as `const` lines,
/// so that they can size local arrays.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KernelConfig {
    kernel: &'static str,
    constants: [(&'static str, u32); MOST],
}

impl KernelConfig {
    /// A kernel with its tile constants, at most eight.
    pub const fn new(kernel: &'static str, constants: &[(&'static str, u32)]) -> KernelConfig {
        let mut all = [("", 0); MOST];
        let mut index = 0;
        while index < constants.len() {
            all[index] = constants[index];
            index += 1;
        }
        KernelConfig { kernel, constants: all }
    }

    /// Name of the kernel.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// The tile constants, in the kernel's order.
    pub fn constants(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.constants.into_iter().filter(|(name, _)| !name.is_empty())
    }

    /// A tile constant; 0 for one that the kernel does not have.
    pub fn get(&self, name: &str) -> usize {
        self.constants().find(|(constant, _)| *constant == name).map_or(0, |(_, value)| value as usize)
    }

    /// The same kernel with another value of a tile constant, or `None` when it has no such constant.
    pub fn with(mut self, name: &str, value: u32) -> Option<KernelConfig> {
        let place = self.constants.iter().position(|(constant, _)| !name.is_empty() && *constant == name)?;
        self.constants[place].1 = value;
        Some(self)
    }

    /// True if this is the kernel of `known` with any positive value, at most [`LARGEST`], of each of its tile constants.
    pub(super) fn has_form_of(&self, known: &KernelConfig) -> bool {
        let is_tile = |(name, _): (&str, u32)| (1..=LARGEST).contains(&self.get(name));
        self.kernel == known.kernel && known.constants().all(is_tile)
    }

    /// The constants as the line in front of the kernel.
    pub(super) fn header(&self) -> String {
        self.constants().map(|(name, value)| format!("const {name} = {value}u; ")).collect()
    }
}

impl fmt::Display for KernelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kernel)?;
        self.constants().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl fmt::Debug for KernelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
