//! Lists of paths: lines, entries that end in NUL, playlists.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::address;
use super::entry::{FileEntry, has_ending, path_of};

/// Number of bytes of a list that are searched for a NUL separator.
const LIST_BYTES: usize = 64 << 10;

/// Maximum size of a list in UTF-16, which is converted as a whole.
const MAX_UTF16_BYTES: u64 = 64 << 20;

/// Iterator over the entries of a list: one path per line, or separated by NUL if it has any.
pub(super) fn paths_of_list(
    list: &Path,
) -> io::Result<impl Iterator<Item = io::Result<FileEntry>> + Send + use<>> {
    let mut reader: Box<dyn BufRead + Send> = if list.as_os_str() == "-" {
        Box::new(BufReader::with_capacity(LIST_BYTES, io::stdin()))
    } else {
        if fs::metadata(list)?.is_dir() {
            return Err(io::Error::other("a folder, expected a list of paths"));
        }
        Box::new(BufReader::with_capacity(LIST_BYTES, File::open(list)?))
    };
    reader = as_utf8(reader)?;
    const BOM: &[u8] = b"\xef\xbb\xbf";
    let start = reader.fill_buf()?;
    let separator = if start.contains(&0) { 0 } else { b'\n' };
    let playlist = separator == b'\n'
        && (has_ending(list, &["m3u", "m3u8"])
            || start.strip_prefix(BOM).unwrap_or(start).starts_with(b"#EXTM3U"));
    let bom = if start.starts_with(BOM) { BOM.len() } else { 0 };
    reader.consume(bom);
    let base = if playlist { list.parent().map(Path::to_path_buf) } else { None };
    let entries = std::iter::from_fn(move || {
        let mut entry = Vec::new();
        match reader.read_until(separator, &mut entry) {
            Ok(0) => None,
            Ok(_) => Some(Ok(entry)),
            Err(error) => Some(Err(error)),
        }
    });
    let mut failed = false;
    let entries = entries.take_while(move |entry| !std::mem::replace(&mut failed, entry.is_err()));
    Ok(entries.filter_map(move |entry| match entry {
        Ok(mut entry) => {
            if entry.last() == Some(&separator) {
                entry.pop();
            }
            if separator == b'\n' && entry.last() == Some(&b'\r') {
                entry.pop();
            }
            if playlist && entry.starts_with(b"#") {
                return None;
            }
            (!entry.is_empty()).then(|| {
                if separator == b'\n'
                    && let Some(entry) = address::local(&entry)
                {
                    return entry;
                }
                let path = match &base {
                    Some(base) => playlist_path(base, entry),
                    None => path_of(entry),
                };
                path.map(|path| FileEntry { path, error: None })
            })
        }
        Err(error) => Some(Err(error)),
    }))
}

/// Converts a list in UTF-16, as PowerShell writes it, to UTF-8. Its byte order mark tells.
fn as_utf8(mut reader: Box<dyn BufRead + Send>) -> io::Result<Box<dyn BufRead + Send>> {
    let unit = match reader.fill_buf()? {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return Ok(reader),
    };
    let mut bytes = Vec::new();
    reader.take(MAX_UTF16_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_UTF16_BYTES {
        let message =
            format!("a list in UTF-16 of more than {} MiB: save it as UTF-8", MAX_UTF16_BYTES >> 20);
        return Err(io::Error::other(message));
    }
    if bytes.len() % 2 != 0 {
        return Err(io::Error::other("a list in UTF-16 ends inside a character"));
    }
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|&bytes| unit(bytes)).collect();
    let text = String::from_utf16(&units).map_err(io::Error::other)?;
    Ok(Box::new(io::Cursor::new(text)))
}

/// Path of a playlist entry, relative to the playlist; backslashes are taken as separators if no file of the literal name
/// exists.
fn playlist_path(base: &Path, entry: Vec<u8>) -> io::Result<PathBuf> {
    let path = base.join(path_of(entry)?);
    if path.exists() {
        return Ok(path);
    }
    let turned = path.to_str().map(|path| PathBuf::from(path.replace('\\', "/")));
    Ok(turned.filter(|turned| turned.exists()).unwrap_or(path))
}
