//! Search in a music library by its embeddings and scores: similar tracks, duplicates, conditions on tags,
//! playlists.
//!
//! [`Whitening`] makes unit vectors of embeddings, [`Vectors`] finds the nearest of them, [`Condition`] tells which tracks
//! qualify, and [`TrackIndex`] keeps all of it in a folder.

mod condition;
mod duplicates;
mod error;
mod half_array;
mod index;
mod sequence;
mod vectors;
mod whitening;

pub use condition::{Condition, ConditionError};
pub use duplicates::{Duplicate, duplicates};
pub use error::SearchError;
pub use index::{IndexInfo, IndexLock, IndexedTrack, TrackIndex};
pub use sequence::{path_between, smooth_order};
pub use vectors::{Hit, Vectors};
pub use whitening::Whitening;
