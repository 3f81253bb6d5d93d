//! The one error type of the public API, and what a batch should do about each error.

/// What the caller of a batch should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is at fault: skip this file.
    Input,
    /// The input is of a kind this build cannot read: skip and count it.
    Unsupported,
    /// Memory, disk, device or weights are missing: retry smaller, or stop.
    Resource,
    /// A defect of tagwave: stop and report it.
    Internal,
    /// The caller asked for it.
    Cancelled,
}

impl ErrorKind {
    /// The word used in machine-readable output.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Input => "input",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Resource => "resource",
            ErrorKind::Internal => "internal",
            ErrorKind::Cancelled => "cancelled",
        }
    }
}
