//! Apache Parquet output. Without the feature `parquet` the format is known, and refused with advice.

use std::io;
use std::path::{Path, PathBuf};

#[cfg(feature = "parquet")]
mod table;

use super::{Format, Layout, Merged, ReadRow, Sink, WholeFormat};
#[cfg(feature = "parquet")]
pub use table::{Parquet, TableFile, read_table};

pub(super) static FORMAT: Format = Format {
    title: "Apache Parquet, one row per file; needs -o: FILE.parquet, or a folder of parts",
    holds_tags: true,
    holds_features: true,
    layout: Layout::Whole(WholeFormat {
        name: "parquet",
        create,
        has_messages: true,
        is_built: cfg!(feature = "parquet"),
    }),
    merge: Some(merge),
    read: Some(read),
};

#[cfg(feature = "parquet")]
fn create(path: &Path) -> io::Result<Box<dyn Sink>> {
    Ok(Box::new(Parquet::create(path)?))
}

#[cfg(feature = "parquet")]
fn merge(files: &[PathBuf], output: &Path) -> io::Result<Merged> {
    table::merge(files, output)
}

#[cfg(feature = "parquet")]
fn read(path: &Path, row: &mut dyn FnMut(ReadRow)) -> io::Result<u64> {
    table::read(path, row)
}

#[cfg(not(feature = "parquet"))]
fn read(_path: &Path, _row: &mut dyn FnMut(ReadRow)) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(feature = "parquet"))]
fn create(_path: &Path) -> io::Result<Box<dyn Sink>> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(feature = "parquet"))]
fn merge(_files: &[PathBuf], _output: &Path) -> io::Result<Merged> {
    Err(io::ErrorKind::Unsupported.into())
}
