//! Kernels from outside that keep a built-in kernel's contract.

use std::sync::Arc;

use super::{Call, Dispatch, DispatchError, KernelConfig, Limits, Op, Operation};

/// A kernel from outside: WGSL that keeps the bindings, `Params` and weight packing of a built-in kernel, which a
/// line `// contract  conv2d_direct QT=2` of its header names, with tile constants of its own choice.
#[derive(Clone, Debug)]
pub struct UserKernel {
    /// Name of its file without extension.
    pub name: String,
    /// Name of the built-in kernel.
    pub contract: String,
    /// Tile constants of its own choice.
    pub constants: Vec<(String, u32)>,
    /// Text of the file.
    pub source: Arc<str>,
    trusted: bool,
}

/// Error of a file that is no kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserKernelError {
    /// No contract is named.
    #[error(
        "{name}: no line `// contract  KERNEL` in the comment at its beginning, which names the built-in kernel that it replaces"
    )]
    NoContract {
        /// Of the file.
        name: String,
    },
    /// A constant that is no number.
    #[error("{name}: {word:?}: expected NAME=NUMBER, at least 1")]
    Constant {
        /// Of the file.
        name: String,
        /// The word.
        word: String,
    },
    /// Bindings that differ from the contract's.
    #[error("{name}: its bindings are not those of {contract}: expected {expected:?}, found {found:?}")]
    Bindings {
        /// Of the file.
        name: String,
        /// The built-in kernel.
        contract: String,
        /// Slots, names and access of the built-in kernel.
        expected: Vec<String>,
        /// Those of the file.
        found: Vec<String>,
    },
}

impl UserKernel {
    /// Reads the header of a kernel.
    ///
    /// # Errors
    /// [`UserKernelError`] for a header that names no contract, or constants that are no numbers.
    pub fn parse(name: &str, source: &str) -> Result<UserKernel, UserKernelError> {
        let name = name.to_string();
        let header = source.lines().take_while(|line| line.starts_with("//"));
        let mut words = header
            .filter_map(|line| line.trim_start_matches('/').trim().strip_prefix("contract "))
            .flat_map(str::split_whitespace);
        let contract =
            words.next().ok_or_else(|| UserKernelError::NoContract { name: name.clone() })?.to_string();
        let constant = |word: &str| {
            parse_constant(word)
                .ok_or_else(|| UserKernelError::Constant { name: name.clone(), word: word.into() })
        };
        let constants = words.map(constant).collect::<Result<_, _>>()?;
        Ok(UserKernel { contract, constants, source: source.into(), name, trusted: false })
    }

    /// The same kernel with another value of a tile constant.
    #[must_use]
    pub fn with(mut self, name: &str, value: u32) -> UserKernel {
        self.constants.retain(|(constant, _)| constant != name);
        self.constants.push((name.to_string(), value));
        self
    }

    /// The same kernel, compiled without checks of its indices and loops, as built-in kernels are in release builds.
    ///
    /// # Safety
    /// No index may leave what is bound and every loop must end, for all shapes it is run on.
    #[must_use]
    pub unsafe fn trusted(self) -> UserKernel {
        UserKernel { trusted: true, ..self }
    }

    /// Returns true if it is compiled without checks.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Configuration and dispatch of a call, or `None` when the contract's kernel does not run it.
    ///
    /// # Errors
    /// [`DispatchError`] when it would, but not with these constants.
    pub fn dispatch(
        &self,
        op: &Op,
        call: &Call,
        limits: &Limits,
    ) -> Option<Result<(KernelConfig, Dispatch), DispatchError>> {
        let configs = op.configs(call, limits);
        let named = |config: &&KernelConfig| {
            let dispatch = op.dispatch(call, **config, limits);
            dispatch.is_ok_and(|dispatch| dispatch.kernel.name == self.contract)
        };
        let config = *configs.iter().find(named)?;
        let constants = self.constants.iter();
        let config =
            constants.fold(config, |config, (name, value)| config.with(name, *value).unwrap_or(config));
        let mut dispatch = match op.dispatch(call, config, limits) {
            Ok(dispatch) => dispatch,
            Err(error) => return Some(Err(error)),
        };
        // Constants that only this kernel has.
        for (name, value) in self.constants.iter().filter(|(name, _)| config.get(name) == 0) {
            dispatch.header.push_str(&format!("const {name} = {value}u; "));
        }
        Some(Ok((config, dispatch)))
    }

    /// Returns true if its text has a constant of this name.
    pub fn knows(&self, constant: &str) -> bool {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.source.split(|c| !is_part(c)).any(|word| word == constant)
    }

    /// Fails unless the bindings listed in the file are those of the contract.
    ///
    /// # Errors
    /// [`UserKernelError::Bindings`] with both lists.
    pub fn check_bindings(&self, contract: &str) -> Result<(), UserKernelError> {
        let (expected, found) = (bindings(contract), bindings(&self.source));
        if expected == found {
            return Ok(());
        }
        let (name, contract) = (self.name.clone(), self.contract.clone());
        Err(UserKernelError::Bindings { name, contract, expected, found })
    }
}

/// `NAME=NUMBER`.
pub fn parse_constant(word: &str) -> Option<(String, u32)> {
    let (name, value) = word.split_once('=')?;
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    Some((name.to_string(), value.parse().ok().filter(|&value| value > 0)?)).filter(|_| plain)
}

/// The lines under `group(0)` of a kernel's header, up to the access of each binding.
fn bindings(source: &str) -> Vec<String> {
    let lines = source.lines().skip_while(|line| line.trim() != "// group(0)").skip(1);
    let lines = lines.map(|line| line.trim_start_matches('/').split_whitespace().collect::<Vec<_>>());
    let bindings = lines.take_while(|words| words.first().is_some_and(|word| word.parse::<u32>().is_ok()));
    bindings.map(|words| words[..words.len().min(4)].join(" ").replace(" Params", "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let text = "// my: x\n// contract  dense WG=8\nstruct P {}";
        let custom = UserKernel::parse("my", text).unwrap();
        assert_eq!(
            (custom.contract.as_str(), custom.constants.as_slice()),
            ("dense", &[("WG".into(), 8)][..])
        );
        assert!(matches!(UserKernel::parse("my", "// my: x\n"), Err(UserKernelError::NoContract { .. })));
        let error = UserKernel::parse("my", "// contract dense WG=many").unwrap_err();
        assert!(matches!(error, UserKernelError::Constant { .. }), "{error}");
    }
}
