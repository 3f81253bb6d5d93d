//! Registry of output formats.

use std::path::Path;

use super::format::Format;
use super::{csv, jsonl, line, npy, parquet, table};

/// All output formats.
pub static FORMATS: [&Format; 6] =
    [&table::FORMAT, &line::FORMAT, &jsonl::FORMAT, &csv::FORMAT, &npy::FORMAT, &parquet::FORMAT];

/// Format of files without a known extension.
pub static DEFAULT_FORMAT: &Format = &jsonl::FORMAT;

/// Finds the format of a file by its extension.
pub fn format_of(path: &Path) -> Option<&'static Format> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    FORMATS.into_iter().find(|format| format.name() == extension && !format.is_for_people())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::Layout;

    #[test]
    fn formats_are_found_by_extension() {
        let name = |path: &str| format_of(Path::new(path)).map(Format::name);
        assert_eq!(name("a/B.CSV"), Some("csv"));
        assert_eq!(name("a.parquet"), Some("parquet"));
        assert_eq!(name("a.table"), None);
        assert_eq!(name("csv"), None);
        for format in FORMATS {
            assert!(format.holds_tags || format.holds_features, "{}", format.name());
            assert!(
                matches!(format.layout, Layout::Lines(_)) || !format.is_for_people(),
                "{}",
                format.name()
            );
        }
    }
}
