//! URLs in lists: `file:` URLs are local paths, others are errors.

use std::io;
use std::path::PathBuf;

use super::entry::{FileEntry, path_of};

/// Converts a URL to a file entry; `None` if it is not a URL. URLs with other schemes than `file`, or of another host, are
/// entries with an error.
pub(super) fn local(entry: &[u8]) -> Option<io::Result<FileEntry>> {
    let colon = entry.iter().position(|&byte| byte == b':')?;
    let (scheme, rest) = (entry.get(..colon)?, entry.get(colon + 1..)?);
    // A single letter is a drive.
    let is_scheme = scheme.len() > 1
        && scheme.first()?.is_ascii_alphabetic()
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    if !is_scheme {
        return None;
    }
    if !scheme.eq_ignore_ascii_case(b"file") {
        // A file name may have a colon; a URL continues with two slashes.
        return rest.starts_with(b"//").then(|| refused(entry, "download it first"));
    }
    let path = match rest.strip_prefix(b"//") {
        None if rest.starts_with(b"/") => rest,
        None => return None,
        Some(authority) => {
            let slash = authority.iter().position(|&byte| byte == b'/').unwrap_or(authority.len());
            let (host, path) = authority.split_at(slash);
            if !(host.is_empty() || host.eq_ignore_ascii_case(b"localhost")) {
                return Some(refused(entry, "it names another host"));
            }
            path
        }
    };
    let path: Vec<u8> = percent_encoding::percent_decode(path).collect();
    if path.is_empty() || path.contains(&0) {
        return Some(refused(entry, "it has no path"));
    }
    Some(path_of(without_drive_slash(path)).map(|path| FileEntry { path, error: None }))
}

/// Removes the slash before a drive letter on Windows: `/C:/Music`.
fn without_drive_slash(mut path: Vec<u8>) -> Vec<u8> {
    if cfg!(windows) && path.get(2) == Some(&b':') {
        path.remove(0);
    }
    path
}

fn refused(entry: &[u8], advice: &str) -> io::Result<FileEntry> {
    let error = io::Error::new(
        io::ErrorKind::Unsupported,
        format!("URL, expected the path of a local file: {advice}"),
    );
    Ok(FileEntry { path: PathBuf::from(String::from_utf8_lossy(entry).into_owned()), error: Some(error) })
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn addresses_of_files_are_decoded() {
        for (address, path) in [
            ("file:///a/b%20c%C3%A9.mp3", "/a/b cé.mp3"),
            ("FILE://localhost/a%23.mp3", "/a#.mp3"),
            ("file:/a/100%.mp3", "/a/100%.mp3"),
        ] {
            let entry = local(address.as_bytes()).unwrap().unwrap();
            assert_eq!(entry.path, Path::new(path));
            assert!(entry.error.is_none());
        }
        for name in ["a.mp3", "C:\\Music\\a.mp3", "Act 1: Dawn.mp3", "Intro: a.mp3", "file:a.mp3", ":", ""] {
            assert!(local(name.as_bytes()).is_none(), "{name}");
        }
        for address in
            ["http://a/b.mp3", "https://a", "smb://host/a", "file://host/a", "file://", "file:///a%00"]
        {
            assert!(local(address.as_bytes()).unwrap().unwrap().error.is_some(), "{address}");
        }
    }
}
