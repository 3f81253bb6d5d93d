//! Placeholder until the weights module lands.
