//! Playlists in M3U8, with paths relative to the list.

use std::path::{Component, Path, PathBuf};

use super::{located, name_of, path_of_track};
use tagwave::search::IndexedTrack;

/// Text of a playlist that is written to `list`; with standard output, paths are absolute.
///
/// # Errors
/// A path that a playlist cannot hold.
pub(super) fn playlist<'a>(
    tracks: impl IntoIterator<Item = &'a IndexedTrack>,
    list: Option<&Path>,
) -> Result<String, String> {
    let mut text = String::from("#EXTM3U\n");
    for track in tracks {
        let path = path_of_track(track);
        let path = list.map_or_else(|| path.clone(), |list| relative_to(&path, list));
        let shown =
            path.to_str().ok_or_else(|| format!("{}: not UTF-8, expected by M3U8", path.display()))?;
        if shown.contains(['\n', '\r']) {
            return Err(format!("{shown:?}: a playlist cannot hold a line break"));
        }
        // A name that begins with # would be a comment.
        let shown = if shown.starts_with('#') { format!("./{shown}") } else { shown.to_string() };
        let seconds = track.track_s.map_or(-1, |seconds| seconds.round() as i64);
        text += &format!("#EXTINF:{seconds},{}\n{shown}\n", name_of(track));
    }
    Ok(text)
}

/// Path of a file seen from the folder of a list or page.
pub(crate) fn relative_to(path: &Path, list: &Path) -> PathBuf {
    let (path, list) = (located(path), located(list));
    list.parent().map_or_else(|| path.clone(), |base| relative(&path, base))
}

/// Path seen from a folder; both are absolute. It stays absolute on another drive.
fn relative(path: &Path, base: &Path) -> PathBuf {
    let (parts, from): (Vec<_>, Vec<_>) = (path.components().collect(), base.components().collect());
    let common = parts.iter().zip(&from).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return path.to_path_buf();
    }
    let up = from[common..].iter().map(|_| Component::ParentDir);
    up.chain(parts[common..].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn paths_are_relative_to_the_list() {
        let mut track = IndexedTrack::new("/music/a/#1.mp3".into(), 1, 0, String::new());
        track.track_s = Some(61.7);
        (track.artist, track.title) = (Some("X".into()), Some("Y\nZ".into()));
        let text = |list: &str| playlist([&track], Some(Path::new(list))).unwrap();
        assert_eq!(text("/music/a/l.m3u8"), "#EXTM3U\n#EXTINF:62,X - Y\u{fffd}Z\n./#1.mp3\n");
        assert!(text("/music/lists/l.m3u8").ends_with("\n../a/#1.mp3\n"));
        assert!(text("/l.m3u8").ends_with("\nmusic/a/#1.mp3\n"));
        assert!(playlist([&track], None).unwrap().ends_with("\n/music/a/#1.mp3\n"));
        track.path = "/a\nb".into();
        assert!(playlist([&track], None).is_err());
    }
}
