//! Selection of an adapter.

/// Rule by which an adapter is selected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// The best one: discrete before integrated before virtual before software.
    Best,
    /// Index in the list of adapters.
    Index(usize),
    /// The first whose name, backend or PCI address contains this, whatever the case.
    Name(String),
}
