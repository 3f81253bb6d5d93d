//! Stand-in for `parquet` without its feature: the format is known, and refused with advice.

use super::{Format, Layout, WholeFormat};

pub(super) static FORMAT: Format = Format {
    name: "parquet",
    title: "Apache Parquet, one row per file; needs -o: FILE.parquet, or a folder of parts",
    holds_tags: true,
    holds_features: true,
    layout: Layout::Whole(WholeFormat {
        name: "parquet",
        create: |_| Err(std::io::ErrorKind::Unsupported.into()),
        has_messages: true,
        is_built: false,
    }),
    merge: Some(|_, _| Err(std::io::ErrorKind::Unsupported.into())),
};
