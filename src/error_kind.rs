//! Category of an error: tells a caller that processes many files what to do.

/// Category of an error: tells the caller of a batch what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Invalid input: skip this file.
    Input,
    /// Unsupported format: skip this file and count it.
    Unsupported,
    /// Memory, disk, threads or weights are not available: retry with a smaller batch, or stop.
    Resource,
    /// The device is missing, failed or does not answer: open it again, or choose another.
    Device,
    /// A defect of tagwave: stop and report it.
    Internal,
    /// Cancelled by the caller.
    Cancelled,
}

impl ErrorKind {
    /// Name in machine-readable output.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Input => "input",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Resource => "resource",
            ErrorKind::Device => "device",
            ErrorKind::Internal => "internal",
            ErrorKind::Cancelled => "cancelled",
        }
    }
}
