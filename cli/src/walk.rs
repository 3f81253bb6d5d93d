//! Expansion of folders and lists to files, as an iterator that does not hold the list in memory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::WalkBuilder;
use sha2::{Digest, Sha256};

use super::counted;
use super::entry::{FileEntry, has_ending};
use super::list::paths_of_list;

/// Extensions of audio files in lower case. Files with other extensions are detected by content.
const AUDIO: [&str; 45] = [
    "aac", "aax", "ac3", "aif", "aifc", "aiff", "alac", "amr", "ape", "au", "caf", "dff", "dsf", "dts",
    "eac3", "flac", "m4a", "m4b", "m4p", "m4r", "mka", "mp1", "mp2", "mp3", "mp4", "mpa", "mpc", "mpga",
    "oga", "ogg", "opus", "ra", "rf64", "shn", "snd", "spx", "tak", "tta", "w64", "wav", "wave", "weba",
    "webm", "wma", "wv",
];
/// Extensions of video files. `mp4` and `webm` count as audio, because many such files have no video.
const VIDEO: [&str; 16] = [
    "3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mpeg", "mpg", "mts", "ogm", "ogv", "ts", "vob", "wmv",
    "asf",
];
/// Maximum number of entries of a hidden folder that are searched for audio.
const HIDDEN_ENTRIES: usize = 256;
/// Maximum number of hidden names in the summary.
const MAX_NAMES: usize = 3;
/// Number of bytes read for detection by content.
const PROBE_BYTES: usize = 64;

/// Filter of the files in folders.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter {
    /// Include hidden files and folders.
    pub(super) hidden: bool,
    /// Include files that ignore files exclude.
    pub(super) ignored: bool,
    /// Include video files.
    pub(super) video: bool,
}

/// Counts of the files that were left out.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    hidden: AtomicUsize,
    ignored: AtomicUsize,
    video: AtomicUsize,
    other: AtomicUsize,
    /// Some of the hidden names.
    names: Mutex<Vec<String>>,
}

impl LeftOut {
    fn hide(&self, path: &Path) {
        self.hidden.fetch_add(1, Ordering::Relaxed);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < MAX_NAMES {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            names.push(name.replace(char::is_control, "\u{fffd}"));
        }
    }

    /// Counts by kind, for JSON.
    pub(super) fn counts(&self) -> [(&'static str, usize); 4] {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        [
            ("hidden", count(&self.hidden)),
            ("ignored", count(&self.ignored)),
            ("video", count(&self.video)),
            ("not_audio", count(&self.other)),
        ]
    }

    /// Summary with the options that include such files; `None` if nothing was left out.
    pub(super) fn sentence(&self) -> Option<String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner).join(", ");
        let [(_, hidden), (_, ignored), (_, video), (_, other)] = self.counts();
        let parts = [
            (hidden, format!("{hidden} hidden ({names}; include with --hidden)")),
            (ignored, format!("{ignored} excluded by ignore files (include with --no-ignore)")),
            (video, format!("{} (include with --video)", counted(video, "video file"))),
            (other, format!("{} without audio", counted(other, "file"))),
        ];
        let parts: Vec<String> =
            parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, part)| part).collect();
        (!parts.is_empty()).then(|| format!("left out: {}", parts.join(", ")))
    }
}

/// Shard `index` of `count`; the shard of a file depends on its path only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shard {
    index: u64,
    count: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(word: &str) -> Result<Shard, String> {
        let parse = || {
            let (index, count) = word.split_once('/')?;
            let shard = Shard { index: index.parse().ok()?, count: count.parse().ok()? };
            (shard.index < shard.count).then_some(shard)
        };
        parse().ok_or_else(|| "expected I/N with I from 0 to N-1, as in 0/8".into())
    }
}

impl Shard {
    /// True if the path belongs to this shard.
    fn contains(self, path: &Path) -> bool {
        let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
        let head = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        head % self.count == self.index
    }
}

/// Root of a search for files.
#[derive(Clone, Debug)]
pub(super) enum Root {
    /// A file or folder.
    Path(PathBuf),
    /// A file with paths.
    List(PathBuf),
}

/// Iterator over all files of `roots` in order; folders are sorted by name. Files named directly are always included,
/// files in folders if they look like audio.
pub(super) fn files(
    roots: Vec<Root>,
    filter: Filter,
    shard: Option<Shard>,
    left_out: &Arc<LeftOut>,
) -> impl Iterator<Item = FileEntry> + Send + use<> {
    let left_out = left_out.clone();
    let entries = roots.into_iter().flat_map(move |root| -> Box<dyn Iterator<Item = FileEntry> + Send> {
        match root {
            Root::Path(path) => below(path, filter, &left_out),
            Root::List(list) => match paths_of_list(&list) {
                Ok(paths) => {
                    let left_out = left_out.clone();
                    Box::new(paths.flat_map(move |entry| match entry {
                        Ok(FileEntry { path, error: None }) => below(path, filter, &left_out),
                        Ok(FileEntry { path, error }) => one(path, error),
                        Err(error) => one(list.clone(), Some(error)),
                    }))
                }
                Err(error) => one(list, Some(error)),
            },
        }
    });
    entries.filter(move |entry| shard.is_none_or(|shard| shard.contains(&entry.path)))
}

fn one(path: PathBuf, error: Option<io::Error>) -> Box<dyn Iterator<Item = FileEntry> + Send> {
    Box::new(std::iter::once(FileEntry { path, error }))
}

/// Iterator over the audio files of a folder, or the file itself.
fn below(
    path: PathBuf,
    filter: Filter,
    left_out: &Arc<LeftOut>,
) -> Box<dyn Iterator<Item = FileEntry> + Send> {
    if !path.is_dir() {
        return one(path, None);
    }
    let has_ignore_files = Arc::new(AtomicBool::new(false));
    let mut walk = walker(&path, filter.ignored);
    let (counts, noticed) = (left_out.clone(), has_ignore_files.clone());
    walk.filter_entry(move |entry| {
        let name = entry.file_name().to_string_lossy();
        if entry.depth() == 0 || !name.starts_with('.') {
            return true;
        }
        noticed.fetch_or(name == ".gitignore" || name == ".ignore", Ordering::Relaxed);
        // Resource forks that macOS writes next to each file on other file systems.
        if name.starts_with("._") {
            return false;
        }
        if !filter.hidden && holds_audio(entry.path()) {
            counts.hide(entry.path());
        }
        filter.hidden
    });
    let found = Arc::new(AtomicUsize::new(0));
    let (root, counts, count) = (path.clone(), left_out.clone(), found.clone());
    let files = walk.build().filter_map(move |entry| match entry {
        Ok(entry) => {
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            let kind = if is_file { kind_of(entry.path(), filter.video) } else { return None };
            match kind {
                FileKind::Audio => {
                    count.fetch_add(1, Ordering::Relaxed);
                    return Some(FileEntry { path: entry.into_path(), error: None });
                }
                FileKind::Video => counts.video.fetch_add(1, Ordering::Relaxed),
                FileKind::Other if is_known_companion(entry.path()) => 0,
                FileKind::Other => counts.other.fetch_add(1, Ordering::Relaxed),
            };
            None
        }
        Err(error) => walk_error(error, &root),
    });
    let left_out = left_out.clone();
    // Counting ignored files needs a second walk; only if there are ignore files.
    let ignored = std::iter::once_with(move || {
        if has_ignore_files.load(Ordering::Relaxed) && !filter.ignored {
            let all = walker(&path, true)
                .filter_entry(move |entry| {
                    entry.depth() == 0
                        || filter.hidden
                        || !entry.file_name().to_string_lossy().starts_with('.')
                })
                .build()
                .flatten()
                .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
                .filter(|entry| matches!(kind_of(entry.path(), filter.video), FileKind::Audio))
                .count();
            left_out.ignored.fetch_add(all.saturating_sub(found.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
        None
    });
    Box::new(files.chain(ignored.flatten()))
}

fn walker(path: &Path, ignored: bool) -> WalkBuilder {
    let mut walk = WalkBuilder::new(path);
    // Hidden entries are filtered separately, because they are counted.
    walk.follow_links(true).sort_by_file_name(Ord::cmp).hidden(false);
    if ignored {
        walk.ignore(false).git_ignore(false).git_global(false).git_exclude(false).parents(false);
    }
    walk
}

/// True for a file with an audio extension, or a folder with one up to two levels deep.
fn holds_audio(path: &Path) -> bool {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().take(HIDDEN_ENTRIES);
    if !path.is_dir() {
        return has_audio_name(path);
    }
    entries(path).any(|entry| {
        has_audio_name(&entry.path())
            || (entry.file_type().is_ok_and(|kind| kind.is_dir())
                && entries(&entry.path()).any(|entry| has_audio_name(&entry.path())))
    })
}

enum FileKind {
    Audio,
    Video,
    Other,
}

fn kind_of(path: &Path, video: bool) -> FileKind {
    if has_ending(path, &VIDEO) {
        return if video { FileKind::Audio } else { FileKind::Video };
    }
    if looks_like_audio(path) { FileKind::Audio } else { FileKind::Other }
}

/// True for files that accompany audio files: correction files, cue sheets, covers, texts.
fn is_known_companion(path: &Path) -> bool {
    has_ending(
        path,
        &["wvc", "cue", "log", "jpg", "jpeg", "png", "webp", "txt", "nfo", "lrc", "m3u", "m3u8", "pls"],
    )
}

/// Converts an error of the walk to an entry; loops of links are ignored.
fn walk_error(error: ignore::Error, root: &Path) -> Option<FileEntry> {
    fn take_apart(error: &ignore::Error, path: &mut Option<PathBuf>, is_loop: &mut bool) {
        match error {
            ignore::Error::WithPath { path: at, err } => {
                *path = Some(at.clone());
                take_apart(err, path, is_loop);
            }
            ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
                take_apart(err, path, is_loop);
            }
            ignore::Error::Loop { .. } => *is_loop = true,
            _ => {}
        }
    }
    let (mut path, mut is_loop) = (None, false);
    take_apart(&error, &mut path, &mut is_loop);
    if is_loop {
        return None;
    }
    let path = path.unwrap_or_else(|| root.to_path_buf());
    // A broken link is reported only if it has an audio extension.
    let dangling = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    if dangling && !has_audio_name(&path) {
        return None;
    }
    let error = error.into_io_error().unwrap_or_else(|| io::Error::other("the folder cannot be read"));
    Some(FileEntry { path, error: Some(error) })
}

/// True for a name with the extension of an audio file.
pub(super) fn has_audio_name(path: &Path) -> bool {
    has_ending(path, &AUDIO)
}

/// Detects audio by extension, else by content.
fn looks_like_audio(path: &Path) -> bool {
    if has_audio_name(path) {
        return true;
    }
    // WavPack correction files have the same magic number as WavPack.
    if is_known_companion(path) {
        return false;
    }
    let mut start = Vec::with_capacity(PROBE_BYTES);
    let read = File::open(path).and_then(|file| file.take(PROBE_BYTES as u64).read_to_end(&mut start));
    read.is_ok() && begins_like_audio(&start)
}

/// Detects unambiguous audio formats; containers that may have video are detected by extension only.
fn begins_like_audio(start: &[u8]) -> bool {
    let at = |place: usize, magic: &[u8]| start.get(place..place + magic.len()) == Some(magic);
    let riff = (at(0, b"RIFF") || at(0, b"RF64") || at(0, b"RIFX")) && at(8, b"WAVE");
    let form = at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC"));
    let mp4 = at(4, b"ftyp") && (at(8, b"M4A ") || at(8, b"M4B "));
    // The first page of an Ogg file begins with the name of its codec.
    let ogg = at(0, b"OggS")
        && [&b"\x01vorbis"[..], b"OpusHead", b"\x7fFLAC", b"Speex   "].iter().any(|codec| at(28, codec));
    let plain = [&b"ID3"[..], b"fLaC", b"caff", b"wvpk", b"MAC ", b"TTA1"].iter().any(|magic| at(0, magic));
    riff || form || mp4 || ogg || plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path, filter: Filter) -> Vec<String> {
        files(vec![Root::Path(root.to_path_buf())], filter, None, &Arc::default())
            .map(|entry| entry.path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"))
            .collect()
    }

    #[test]
    fn folders_give_their_audio_files_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("b/song.mp3")).unwrap();
        for name in
            ["b/2.FLAC", "b/10.wav", "b/song.mp3/in.ogg", "a.mp3", ".hidden.mp3", "ignored.mp3", "cover.jpg"]
        {
            fs::write(at(name), "x").unwrap();
        }
        fs::write(at("no ending"), b"fLaC and so on").unwrap();
        fs::write(at(".ignore"), "ignored.mp3\n").unwrap();
        let plain = ["a.mp3", "b/10.wav", "b/2.FLAC", "b/song.mp3/in.ogg", "no ending"];
        assert_eq!(names(folder.path(), Filter::default()), plain);
        let all = names(folder.path(), Filter { hidden: true, ignored: true, video: false });
        assert_eq!(all.len(), 7, "{all:?}");
    }

    #[test]
    fn files_left_out_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("...And Justice for All")).unwrap();
        fs::create_dir_all(at(".config")).unwrap();
        for name in [
            "...And Justice for All/1.mp3",
            ".config/x",
            "a.mp3",
            "._a.mp3",
            "a.wvc",
            "film.mkv",
            "b.mp3",
            "thesis.doc",
        ] {
            fs::write(at(name), "x").unwrap();
        }
        fs::write(at("a.wvc"), "wvpk").unwrap();
        fs::write(at(".ignore"), "b.mp3\n").unwrap();
        let walk = |filter| {
            let left_out = Arc::new(LeftOut::default());
            let count = files(vec![Root::Path(folder.path().into())], filter, None, &left_out).count();
            (count, left_out)
        };
        let (count, left_out) = walk(Filter::default());
        assert_eq!(count, 1);
        assert_eq!(left_out.counts().map(|(_, count)| count), [1, 1, 1, 1]);
        let sentence = left_out.sentence().unwrap();
        assert!(sentence.contains("1 hidden (...And Justice for All;"), "{sentence}");
        let (count, left_out) = walk(Filter { hidden: true, ignored: true, video: true });
        assert_eq!((count, left_out.counts().map(|(_, count)| count)), (4, [0, 0, 0, 3]));
    }

    #[test]
    fn playlists_name_files_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cd")).unwrap();
        fs::write(folder.path().join("cd/1.mp3"), "x").unwrap();
        let list = folder.path().join("list.m3u8");
        fs::write(&list, "\u{feff}#EXTM3U\r\n#EXTINF:1,One\r\ncd\\1.mp3\r\ncd/1.mp3\r\ngone.mp3\r\n")
            .unwrap();
        let found: Vec<PathBuf> = files(vec![Root::List(list)], Filter::default(), None, &Arc::default())
            .map(|entry| entry.path)
            .collect();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(found, [at("cd/1.mp3"), at("cd/1.mp3"), at("gone.mp3")]);
    }

    #[test]
    fn lists_in_utf16_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.txt");
        for encode in [u16::to_le_bytes, u16::to_be_bytes] {
            let text = "\u{feff}a.mp3\r\n\u{1f3b5} \u{e9}.mp3\r\n";
            fs::write(&list, text.encode_utf16().flat_map(encode).collect::<Vec<u8>>()).unwrap();
            let roots = vec![Root::List(list.clone())];
            let found: Vec<FileEntry> = files(roots, Filter::default(), None, &Arc::default()).collect();
            let paths: Vec<&Path> = found.iter().map(|entry| &*entry.path).collect();
            assert_eq!(paths, [Path::new("a.mp3"), Path::new("\u{1f3b5} \u{e9}.mp3")]);
        }
        // Half a surrogate pair, half a character, more than is converted.
        let large = [b"\xff\xfe".to_vec(), vec![b'a'; 64 << 20]].concat();
        for text in [&b"\xff\xfea\0\0\xd8"[..], b"\xff\xfea\0b", &large] {
            fs::write(&list, text).unwrap();
            let found =
                files(vec![Root::List(list.clone())], Filter::default(), None, &Arc::default()).next();
            let found = found.unwrap();
            assert!(found.path == list && found.error.is_some(), "{found:?}");
        }
    }

    #[test]
    fn addresses_in_lists_are_files_or_errors() {
        let folder = tempfile::tempdir().unwrap();
        let track = folder.path().join("one two.mp3");
        fs::write(&track, "x").unwrap();
        let path = track.to_str().unwrap().replace('\\', "/").replace(' ', "%20");
        let address = format!("file://{}{path}", if cfg!(windows) { "/" } else { "" });
        let list = folder.path().join("list.m3u");
        fs::write(&list, format!("{address}\nhttp://radio.example/stream\nfile://elsewhere/a.mp3\n"))
            .unwrap();
        let found: Vec<FileEntry> =
            files(vec![Root::List(list)], Filter::default(), None, &Arc::default()).collect();
        assert_eq!(found.len(), 3);
        assert!(found[0].path == track && found[0].error.is_none(), "{found:?}");
        for (entry, name) in found[1..].iter().zip(["http://radio.example/stream", "file://elsewhere/a.mp3"])
        {
            assert_eq!(entry.path, Path::new(name));
            assert!(
                entry.error.as_ref().is_some_and(|error| error.to_string().contains("expected")),
                "{entry:?}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn loops_of_links_end() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("a")).unwrap();
        fs::write(at("a/leaf.mp3"), "x").unwrap();
        symlink("..", at("a/up")).unwrap();
        symlink("a/leaf.mp3", at("link.mp3")).unwrap();
        symlink("gone.mp3", at("dangling.mp3")).unwrap();
        symlink("round.txt", at("round.txt")).unwrap();
        let found: Vec<FileEntry> =
            files(vec![Root::Path(folder.path().into())], Filter::default(), None, &Arc::default()).collect();
        let good: Vec<_> = found.iter().filter(|entry| entry.error.is_none()).collect();
        assert_eq!(good.len(), 2, "{found:?}");
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().any(|entry| entry.error.is_some() && entry.path.ends_with("dangling.mp3")));
    }

    #[test]
    fn shards_share_out_every_path_once() {
        let shards: Vec<Shard> = (0..3).map(|i| format!("{i}/3").parse().unwrap()).collect();
        let mut sizes = [0; 3];
        for i in 0..300 {
            let path = PathBuf::from(format!("{i}.mp3"));
            let owners: Vec<_> = (0..3).filter(|&place| shards[place].contains(&path)).collect();
            assert_eq!(owners.len(), 1);
            sizes[owners[0]] += 1;
        }
        assert!(sizes.iter().all(|&size| size > 70), "{sizes:?}");
        for wrong in ["3/3", "1", "0/0", "-1/2", "a/b", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn lists_end_in_newlines_or_nul() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        let read = |bytes: &[u8]| -> Vec<Vec<u8>> {
            fs::write(&list, bytes).unwrap();
            let found = files(vec![Root::List(list.clone())], Filter::default(), None, &Arc::default());
            found.map(|entry| entry.path.as_os_str().as_bytes().to_vec()).collect()
        };
        assert_eq!(read(b"a.mp3\r\n\n-b \xff.mp3\nc"), [&b"a.mp3"[..], b"-b \xff.mp3", b"c"]);
        assert_eq!(read(b"a\nb\r.mp3\r\0c\0"), [&b"a\nb\r.mp3\r"[..], b"c"]);
        assert_eq!(read(b""), Vec::<Vec<u8>>::new());
        let missing =
            files(vec![Root::List("no such list".into())], Filter::default(), None, &Arc::default())
                .next()
                .unwrap();
        assert!(missing.error.is_some());
    }

    #[test]
    fn audio_is_known_by_its_beginning() {
        for start in [&b"ID3\x04"[..], b"RIFF\0\0\0\0WAVEfmt ", b"FORM\0\0\0\0AIFC", b"\0\0\0\x20ftypM4A "] {
            assert!(begins_like_audio(start), "{start:?}");
        }
        for start in [&b""[..], b"RIFF\0\0\0\0AVI ", b"\x89PNG", b"\0\0\0\x20ftypisom", b"OggS"] {
            assert!(!begins_like_audio(start), "{start:?}");
        }
    }
}
