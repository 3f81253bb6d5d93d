//! Weight files: reading, checking, storing and downloading.
//!
//! | input | function | output |
//! |---|---|---|
//! | weight file of either format, tensor specs of a model | [`load`] | [`Weights`] |
//! | bytes of Keras 1 HDF5 | [`Checkpoint::from_bytes`], [`Weights::from_checkpoint`] | [`Weights`] |
//! | [`Weights`] | [`export`] | a safetensors file |
//! | a model's [`Manifest`] | [`Locator::locate`], `fetch` | a path |
//!
//! Kernels in [`Weights`] are for correlation, all shapes are those of the model, and all numbers are finite. Files are
//! not trusted: a damaged file is an error, and memory is bounded by the size of the file, not by its headers.
//!
//! Not here: tensor specs of the models, folding of batch normalisation, packing for a device.

mod checkpoint;
mod error;
mod file;
mod info;
#[cfg(feature = "keras")]
mod keras;
mod load;
mod manifest;
mod named;
mod raw;
mod safetensors;
mod store;
mod table;

#[cfg(feature = "fetch")]
mod fetch;

pub use checkpoint::Variant;
pub use error::{FetchError, WeightsError};
pub(crate) use file::read_file;
pub use named::Weights;
pub use store::Locator;
pub use table::{TensorRole, TensorSpec, Transform};

#[cfg(feature = "fetch")]
pub use self::fetch::{DownloadProgress, FetchOptions, Fetched, ProxyPolicy, fetch};
#[cfg(feature = "unstable")]
pub use self::{
    checkpoint::Checkpoint,
    file::{MAX_FILE_BYTES, sha256_hex},
    info::{WeightsFormat, WeightsInfo},
    load::{from_bytes, load, load_embedded},
    manifest::{DigestCheck, EmbeddedFile, Manifest, ManifestFile},
    raw::RawWeights,
    safetensors::{FORMAT_VERSION, LAYOUT},
    store::{Contents, ImportReport, StoreEntry, VerifyReport, export, import, list, own_file_name, verify},
    table::parameter_count,
};
#[cfg(not(feature = "unstable"))]
pub(crate) use self::{
    info::{WeightsFormat, WeightsInfo},
    load::{from_bytes, load, load_embedded},
    manifest::{DigestCheck, Manifest},
    raw::RawWeights,
};
