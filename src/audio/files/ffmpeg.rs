//! External decoder: formats without a built-in decoder are decoded by `ffmpeg`.
//!
//! The path is passed as an argument without a shell, with a prefix so that it cannot be taken for an option or a URL.
//! Samples are read from a pipe, mixed to mono and kept in an unnamed temporary file, because the length of a track
//! must be known to find its middle.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::audio::decoded::DecodedTrack;
use crate::audio::error::AudioError;
use crate::audio::heartbeat::Heartbeat;
use crate::audio::level::MixPower;
use crate::audio::limits::{MAX_CHANNELS, SPOOL_LIMIT_BYTES};
use crate::audio::mix::mix;
use crate::audio::request::check_rate;

/// Maximum time without output.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Polling interval of the watchdog.
const TICK: Duration = Duration::from_millis(50);
/// Polling interval for the exit after the output has ended.
const EXIT_TICK: Duration = Duration::from_millis(1);
/// Samples of all channels per block.
const BLOCK_SAMPLES: usize = 1 << 14;
/// Maximum number of bytes of messages that are kept.
const MESSAGE_BYTES: u64 = 64 << 10;
/// Maximum number of messages that become warnings.
const MAX_MESSAGES: usize = 3;
/// Maximum length of a message in characters.
const MESSAGE_CHARS: usize = 200;

/// Encoded input of `ffmpeg`.
pub(super) enum Encoded<'a> {
    Path(&'a Path),
    File(File),
    /// DTS stream without a container.
    Dts(File),
}

/// Decodes a whole track.
///
/// # Errors
/// [`AudioError::NoFfmpeg`] if it is not installed, [`AudioError::Ffmpeg`] with its message,
/// [`AudioError::Rate`] or [`AudioError::Channels`] for unsupported samples, or [`AudioError::Spool`].
pub(super) fn decode(encoded: Encoded<'_>, heartbeat: &Heartbeat) -> Result<DecodedTrack, AudioError> {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-nostdin",
        "-hide_banner",
        "-nostats",
        "-v",
        "level+info",
        "-protocol_whitelist",
        "file,pipe",
    ]);
    if matches!(encoded, Encoded::Dts(_)) {
        command.args(["-f", "dts"]);
    }
    command.arg("-i");
    match encoded {
        Encoded::Path(path) => {
            let mut name = OsString::from("file:");
            name.push(path);
            command.arg(name).stdin(Stdio::null());
        }
        Encoded::File(file) | Encoded::Dts(file) => {
            command.arg("pipe:0").stdin(file);
        }
    }
    command.args(["-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-bitexact", "-threads", "1"]);
    command.args(["-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]);
    detach(&mut command);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| {
            match error.kind() {
                io::ErrorKind::NotFound => AudioError::NoFfmpeg,
                _ => AudioError::Ffmpeg { reason: error.to_string() },
            }
        })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let guard = ChildGuard::watch(child, heartbeat.clone())?;
    // Read on a thread: a full pipe would block ffmpeg.
    let said = thread::Builder::new().spawn(move || {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = (&mut stderr).take(MESSAGE_BYTES).read_to_end(&mut said);
            let _ = io::copy(&mut stderr, &mut io::sink());
        }
        String::from_utf8_lossy(&said).into_owned()
    });
    let said = said.map_err(no_thread)?;
    let decoded = match stdout.ok_or(AudioError::NoFfmpeg).and_then(|stdout| keep(stdout, &guard)) {
        Err(AudioError::Empty) => None,
        // Dropping the guard kills the process.
        decoded => Some(decoded?),
    };
    let ended = guard.wait();
    let said = said.join().unwrap_or_default();
    let messages = errors(&said);
    match (decoded, ended) {
        (_, ChildExit::Killed) if heartbeat.cancel.is_cancelled() => Err(AudioError::Cancelled),
        (_, ChildExit::Killed) => {
            Err(AudioError::Ffmpeg { reason: format!("no output for {} s", TIMEOUT.as_secs()) })
        }
        // Its samples until then are not the track.
        (_, ChildExit::Interrupted) => Err(AudioError::FfmpegInterrupted),
        (Some(decoded), ChildExit::ByItself) if decoded.frames > 0 => {
            let messages = messages.into_iter().take(MAX_MESSAGES).collect();
            Ok(DecodedTrack { messages, stated_s: duration_s(&said), ..decoded })
        }
        (_, ChildExit::ByItself) => {
            let reason = messages.into_iter().next().unwrap_or_else(|| "no samples decoded".into());
            Err(AudioError::Ffmpeg { reason })
        }
    }
}

/// Detaches `ffmpeg` from the terminal: Ctrl-C stops this program after the files in work, of which `ffmpeg` decodes one.
#[cfg(unix)]
fn detach(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

/// Detaches `ffmpeg` from the console, so that Ctrl-C does not reach it; without a console it would open a window.
#[cfg(windows)]
fn detach(command: &mut Command) {
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    std::os::windows::process::CommandExt::creation_flags(command, CREATE_NO_WINDOW);
}

#[cfg(not(any(unix, windows)))]
fn detach(_command: &mut Command) {}

fn no_thread(error: io::Error) -> AudioError {
    AudioError::Ffmpeg { reason: format!("cannot start a watchdog thread: {error}") }
}

/// Error messages, each once, without the addresses that they begin with, which change from run to run. Control
/// characters are replaced.
fn errors(said: &str) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for line in said.lines() {
        // `[component @ address] [level] message`
        let Some((_, message)) =
            ["[error] ", "[fatal] ", "[panic] "].iter().find_map(|level| line.split_once(level))
        else {
            continue;
        };
        let message = message.trim().trim_start_matches("file:").replace(char::is_control, "\u{fffd}");
        let message: String = message.chars().take(MESSAGE_CHARS).collect();
        if !message.is_empty() && !messages.contains(&message) {
            messages.push(message);
        }
    }
    messages
}

/// Stated length in seconds, if it is not an estimate from the bitrate.
fn duration_s(said: &str) -> Option<f64> {
    if said.contains("Estimating duration from bitrate") {
        return None;
    }
    let stated = said.lines().find_map(|line| line.split_once("Duration: "))?.1;
    let mut fields = stated.split(',').next()?.trim().splitn(3, ':');
    let mut field = || fields.next()?.parse::<f64>().ok();
    let (hours, minutes, seconds) = (field()?, field()?, field()?);
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

/// Copies the samples of a WAV stream into a temporary file.
fn keep(stream: impl Read, guard: &ChildGuard) -> Result<DecodedTrack, AudioError> {
    let mut stream = BufReader::with_capacity(BLOCK_SAMPLES * 4, stream);
    let (channels, rate_hz) = header(&mut stream)?;
    check_rate(rate_hz)?;
    if channels == 0 || channels > MAX_CHANNELS {
        return Err(AudioError::Channels { found: channels });
    }
    let file = tempfile::tempfile().map_err(AudioError::Spool)?;
    let mut writer = BufWriter::new(&file);
    let mut bytes = vec![0; BLOCK_SAMPLES / channels * channels * 4];
    let (mut samples, mut mono) = (Vec::new(), Vec::new());
    let (mut frames, mut power) = (0u64, MixPower::default());
    loop {
        let read = fill(&mut stream, &mut bytes).map_err(AudioError::Io)?;
        guard.alive();
        samples.clear();
        samples.extend(bytes[..read].as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)));
        samples.truncate(samples.len() / channels * channels);
        mix(&samples, channels, &mut mono);
        power.add(MixPower::of(&samples, channels, &mono));
        for sample in &mono {
            writer.write_all(&sample.to_le_bytes()).map_err(AudioError::Spool)?;
        }
        frames += mono.len() as u64;
        if frames * 4 > SPOOL_LIMIT_BYTES {
            return Err(AudioError::SpoolLimit { limit_bytes: SPOOL_LIMIT_BYTES });
        }
        if read < bytes.len() {
            break;
        }
    }
    writer.flush().map_err(AudioError::Spool)?;
    drop(writer);
    Ok(DecodedTrack { file, frames, rate_hz, power, messages: Vec::new(), stated_s: None })
}

/// Reads until `bytes` is full or the stream ends.
fn fill(stream: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads the WAV header: number of channels and rate in Hz. The stream is then at its first sample.
fn header(stream: &mut impl Read) -> Result<(usize, u32), AudioError> {
    let mut head = [0; 12];
    let unreadable = |_| AudioError::Empty;
    stream.read_exact(&mut head).map_err(unreadable)?;
    let mut found = None;
    loop {
        let mut chunk = [0; 8];
        stream.read_exact(&mut chunk).map_err(unreadable)?;
        let size = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        match (&chunk[..4], found) {
            (b"data", Some(found)) => return Ok(found),
            (b"data", None) => return Err(AudioError::Empty),
            _ => {}
        }
        let mut body = Vec::new();
        stream.take(size.into()).read_to_end(&mut body).map_err(AudioError::Io)?;
        if let (b"fmt ", [_, _, c0, c1, r0, r1, r2, r3, ..]) = (&chunk[..4], &body[..]) {
            let channels = usize::from(u16::from_le_bytes([*c0, *c1]));
            found = Some((channels, u32::from_le_bytes([*r0, *r1, *r2, *r3])));
        }
    }
}

/// Exit of a child process.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ChildExit {
    ByItself,
    /// Ended by a signal or an exception before it was done.
    Interrupted,
    /// Killed by this program.
    Killed,
}

impl ChildExit {
    fn of(status: ExitStatus) -> ChildExit {
        match status.code() {
            // `ffmpeg` ends with 255 after a signal that it handles.
            None | Some(255) => ChildExit::Interrupted,
            // Status of an exception on Windows, such as an access violation.
            Some(code) if cfg!(windows) && code as u32 >> 16 == 0xc000 => ChildExit::Interrupted,
            Some(_) => ChildExit::ByItself,
        }
    }
}

/// Child process with a watchdog: killed on drop, on cancellation, and after [`TIMEOUT`] without output.
struct ChildGuard {
    state: Arc<Mutex<WatchedChild>>,
    heartbeat: Heartbeat,
}

struct WatchedChild {
    child: Child,
    /// Time without output, as ticks of the watchdog: they stop where this program is stopped.
    silent: Duration,
    ended: Option<ChildExit>,
}

impl ChildGuard {
    fn watch(child: Child, heartbeat: Heartbeat) -> Result<ChildGuard, AudioError> {
        let state = Arc::new(Mutex::new(WatchedChild { child, silent: Duration::ZERO, ended: None }));
        let (watched, stop) = (state.clone(), heartbeat.clone());
        let watcher = thread::Builder::new().spawn(move || {
            loop {
                thread::sleep(TICK);
                let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
                if watched.ended.is_some() {
                    return;
                }
                watched.silent += TICK;
                if stop.cancel.is_cancelled() || watched.silent > TIMEOUT {
                    watched.kill();
                    return;
                }
            }
        });
        let guard = ChildGuard { state, heartbeat };
        // Without a watchdog, dropping the guard kills the process.
        watcher.map_err(no_thread)?;
        Ok(guard)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, WatchedChild> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) {
        self.heartbeat.tick();
        self.lock().silent = Duration::ZERO;
    }

    /// Waits for the end of a process whose output has ended.
    fn wait(&self) -> ChildExit {
        loop {
            let mut watched = self.lock();
            if let Some(ended) = watched.ended {
                return ended;
            }
            if let Ok(Some(status)) = watched.child.try_wait() {
                return *watched.ended.insert(ChildExit::of(status));
            }
            drop(watched);
            thread::sleep(EXIT_TICK);
        }
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.lock().kill();
    }
}

impl WatchedChild {
    fn kill(&mut self) {
        // Both fail if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ended.get_or_insert(ChildExit::Killed);
    }
}
