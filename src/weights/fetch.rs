//! Download of published weight files, verified against the manifest.
//!
//! The transfer runs on a separate thread, so that a silent server delays neither cancellation nor timeouts.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use ureq::http::Uri;

use super::error::{FetchError, WeightsError};
use super::file::{hex, read_file, sha256_hex};
use super::manifest::ManifestFile;
use crate::atomic_file::{create_beside, publish};
use crate::cancel::CancelToken;

/// Size of a block in bytes.
const BLOCK_BYTES: usize = 64 << 10;
/// Maximum number of queued blocks.
const QUEUED_BLOCKS: usize = 8;

/// Polling interval for cancellation.
const TICK: Duration = Duration::from_millis(50);

/// Options of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// Do not use the network: fail if the file is missing.
    pub offline: bool,
    /// Timeout of the whole transfer. Default: 30 minutes.
    pub overall: Duration,
    /// Window in which at least [`FetchOptions::stall_bytes`] must arrive. Default: 30 seconds.
    pub stall: Duration,
    /// Minimum number of bytes per window. Default: 1024.
    pub stall_bytes: u64,
    /// Maximum number of redirects. Default: 5.
    pub max_redirects: u32,
    /// Use of a proxy.
    pub proxy: ProxyPolicy,
}

impl Default for FetchOptions {
    fn default() -> FetchOptions {
        FetchOptions {
            offline: false,
            overall: Duration::from_secs(30 * 60),
            stall: Duration::from_secs(30),
            stall_bytes: 1024,
            max_redirects: 5,
            proxy: ProxyPolicy::default(),
        }
    }
}

/// Use of a proxy for downloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyPolicy {
    /// Proxy from the environment: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.
    #[default]
    Environment,
    /// No proxy.
    Direct,
}

/// Progress of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownloadProgress {
    /// Bytes received.
    pub received: u64,
    /// Bytes expected.
    pub size: u64,
}

/// Result of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The file existed already, with the published digest.
    AlreadyThere(PathBuf),
    /// The file was downloaded, and replaced an older one.
    Downloaded(PathBuf),
}

impl Fetched {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Fetched::AlreadyThere(path) | Fetched::Downloaded(path) => path,
        }
    }
}

/// Downloads `entry` to `directory`, which is created if missing.
///
/// The file is written atomically after its digest was verified; on failure an existing file is kept. `progress` is
/// called from this thread after each block; `cancel` is polled at least every 50 ms.
///
/// # Errors
/// [`WeightsError::Offline`], [`WeightsError::Fetch`] with a [`FetchError`], [`WeightsError::Io`],
/// [`WeightsError::Cancelled`], [`WeightsError::Manifest`] for an invalid entry.
pub fn fetch(
    entry: &ManifestFile,
    directory: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(DownloadProgress),
    cancel: &CancelToken,
) -> Result<Fetched, WeightsError> {
    if let Some(reason) = entry.defect() {
        return Err(WeightsError::Manifest { reason });
    }
    let target = directory.join(&entry.name);
    if is_published(&target, entry) {
        return Ok(Fetched::AlreadyThere(target));
    }
    if options.offline {
        return Err(WeightsError::Offline {
            file: entry.name.clone(),
            dir: directory.to_path_buf(),
            url: entry.url.clone(),
            size: entry.size,
        });
    }
    let failed = |source| WeightsError::Fetch { url: entry.url.clone(), source };
    allowed(&entry.url, None).map_err(failed)?;
    std::fs::create_dir_all(directory).map_err(WeightsError::io("create", directory))?;
    let mut temp = create_beside(&target).map_err(WeightsError::io("create", &target))?;

    let (sender, receiver) = sync_channel(QUEUED_BLOCKS);
    let job = Transfer { url: entry.url.clone(), size: entry.size, options: options.clone() };
    let spawned =
        std::thread::Builder::new().name("weights fetch".to_string()).spawn(move || job.run(&sender));
    spawned.map_err(WeightsError::io("start a download for", &target))?;

    let mut digest = Sha256::new();
    let mut watch = TransferWatchdog::new(entry.size, options);
    while let Some(block) = watch.next(&receiver, cancel).map_err(|stop| match stop {
        Stop::Cancelled => WeightsError::Cancelled,
        Stop::Failed(FetchError::Network { reason, .. }) => {
            failed(FetchError::Network { reason, dir: directory.display().to_string() })
        }
        Stop::Failed(error) => failed(error),
    })? {
        digest.update(&block);
        temp.write_all(&block).map_err(WeightsError::io("write", &target))?;
        progress(DownloadProgress { received: watch.received, size: entry.size });
    }
    if watch.received != entry.size {
        return Err(failed(FetchError::Size { expected: entry.size, found: watch.received, more: false }));
    }
    let found = hex(&digest.finalize());
    if found != entry.sha256 {
        return Err(failed(FetchError::Digest { expected: entry.sha256.clone(), found }));
    }
    publish(temp, &target).map_err(WeightsError::io("write", &target))?;
    Ok(Fetched::Downloaded(target))
}

/// True if the file at `path` is the published one.
fn is_published(path: &Path, entry: &ManifestFile) -> bool {
    let same_size = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == entry.size);
    same_size && read_file(path).is_ok_and(|bytes| sha256_hex(&bytes) == entry.sha256)
}

/// Event of a transfer: a block, or the end.
enum TransferEvent {
    Block(Vec<u8>),
    End(Result<(), FetchError>),
}

enum Stop {
    Cancelled,
    Failed(FetchError),
}

/// Receiver of a transfer that enforces its limits.
struct TransferWatchdog<'a> {
    size: u64,
    options: &'a FetchOptions,
    start: Instant,
    received: u64,
    window_start: Instant,
    window_received: u64,
}

impl TransferWatchdog<'_> {
    fn new(size: u64, options: &FetchOptions) -> TransferWatchdog<'_> {
        let now = Instant::now();
        TransferWatchdog { size, options, start: now, received: 0, window_start: now, window_received: 0 }
    }

    /// Receives the next block, or `None` after the last one.
    fn next(
        &mut self,
        receiver: &Receiver<TransferEvent>,
        cancel: &CancelToken,
    ) -> Result<Option<Vec<u8>>, Stop> {
        loop {
            if cancel.is_cancelled() {
                return Err(Stop::Cancelled);
            }
            let message = match receiver.recv_timeout(TICK) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Stop::Failed(network("the download ended without a result")));
                }
            };
            match message {
                Some(TransferEvent::End(Ok(()))) => return Ok(None),
                Some(TransferEvent::End(Err(error))) => return Err(Stop::Failed(error)),
                Some(TransferEvent::Block(block)) => {
                    self.received += block.len() as u64;
                    if self.received > self.size {
                        let (expected, found) = (self.size, self.received);
                        return Err(Stop::Failed(FetchError::Size { expected, found, more: true }));
                    }
                    self.in_time().map_err(Stop::Failed)?;
                    return Ok(Some(block));
                }
                None => self.in_time().map_err(Stop::Failed)?,
            }
        }
    }

    fn in_time(&mut self) -> Result<(), FetchError> {
        let (received, size) = (self.received, self.size);
        if self.start.elapsed() >= self.options.overall {
            let millis = self.options.overall.as_millis() as u64;
            return Err(FetchError::TimedOut { received, size, millis });
        }
        if self.window_start.elapsed() >= self.options.stall {
            if received - self.window_received < self.options.stall_bytes {
                let (minimum, millis) = (self.options.stall_bytes, self.options.stall.as_millis() as u64);
                return Err(FetchError::Stalled { received, size, minimum, millis });
            }
            (self.window_start, self.window_received) = (Instant::now(), received);
        }
        Ok(())
    }
}

/// Transfer on its own thread. It ends at the next read after the receiver was dropped.
struct Transfer {
    url: String,
    size: u64,
    options: FetchOptions,
}

impl Transfer {
    fn run(self, sender: &SyncSender<TransferEvent>) {
        let result = self.transfer(sender);
        // Fails after a cancellation or timeout, when the receiver is dropped.
        let _ = sender.send(TransferEvent::End(result));
    }

    fn transfer(&self, sender: &SyncSender<TransferEvent>) -> Result<(), FetchError> {
        let agent = self.agent();
        let mut url = self.url.clone();
        for _ in 0..=self.options.max_redirects {
            let mut response = agent.get(&url).call().map_err(|error| network(&error.to_string()))?;
            match response.status().as_u16() {
                200 => {}
                301 | 302 | 303 | 307 | 308 => {
                    let location = response.headers().get("location").and_then(|value| value.to_str().ok());
                    url = redirected(&url, location.unwrap_or(""))?;
                    continue;
                }
                status => return Err(FetchError::Status { status }),
            }
            if let Some(found) = response.body().content_length().filter(|&length| length != self.size) {
                return Err(FetchError::Size { expected: self.size, found, more: false });
            }
            return relay(response.body_mut().as_reader(), sender);
        }
        Err(FetchError::Redirects { limit: self.options.max_redirects })
    }

    fn agent(&self) -> ureq::Agent {
        // The receiver enforces the limits; these timeouts only end this thread.
        let grace = Duration::from_secs(1);
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("tagwave/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(self.options.overall.saturating_add(grace)))
            .timeout_connect(Some(self.options.stall.saturating_add(grace)))
            .timeout_per_read(Some(self.options.stall.saturating_add(grace)));
        let config = match self.options.proxy {
            ProxyPolicy::Environment => config,
            ProxyPolicy::Direct => config.proxy(None),
        };
        config.build().into()
    }
}

/// Sends the blocks of `reader` until its end, or until the receiver is dropped.
fn relay(mut reader: impl Read, sender: &SyncSender<TransferEvent>) -> Result<(), FetchError> {
    loop {
        let mut block = vec![0; BLOCK_BYTES];
        match reader.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(length) => block.truncate(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(network(&error.to_string())),
        }
        if sender.send(TransferEvent::Block(block)).is_err() {
            return Ok(());
        }
    }
}

fn network(reason: &str) -> FetchError {
    FetchError::Network { reason: reason.to_string(), dir: String::new() }
}

/// Checks a URL: https, or http to localhost. No redirect from https to http.
fn allowed(url: &str, from: Option<&str>) -> Result<(), FetchError> {
    let uri: Uri = url.parse().map_err(|_| FetchError::Scheme)?;
    let loopback = uri.host().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    match uri.scheme_str() {
        Some("https") if uri.host().is_some() => Ok(()),
        Some("http") if loopback && from.is_none_or(|from| !from.starts_with("https:")) => Ok(()),
        _ => Err(FetchError::Scheme),
    }
}

/// Resolves a redirect from `url` to `location`, which is absolute or relative to the server's root.
fn redirected(url: &str, location: &str) -> Result<String, FetchError> {
    let refused = || FetchError::Redirect { location: location.chars().take(200).collect() };
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let next = match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) if location.starts_with('/') && !location.starts_with("//") => {
            format!("{scheme}://{authority}{location}")
        }
        _ => location.to_string(),
    };
    allowed(&next, Some(url)).map_err(|_| refused())?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine() {
        for url in
            ["https://example.org/a", "http://127.0.0.1:8000/a", "http://localhost/a", "http://[::1]:80/a"]
        {
            assert!(allowed(url, None).is_ok(), "{url}");
        }
        for url in [
            "http://example.org/a",
            "http://127.0.0.1.example.org/a",
            "http://localhost@example.org/a",
            "ftp://127.0.0.1/a",
            "file:///etc/passwd",
            "/a",
            "",
        ] {
            assert_eq!(allowed(url, None), Err(FetchError::Scheme), "{url}");
        }
    }

    #[test]
    fn redirects_never_leave_https() {
        let from = "https://example.org/a";
        assert_eq!(redirected(from, "/b?c").as_deref(), Ok("https://example.org/b?c"));
        assert_eq!(redirected(from, "https://cdn.example.org/b").as_deref(), Ok("https://cdn.example.org/b"));
        for location in
            ["http://example.org/b", "http://127.0.0.1/b", "//example.org/b", "b", "", "file:///b"]
        {
            assert!(matches!(redirected(from, location), Err(FetchError::Redirect { .. })), "{location}");
        }
        assert!(redirected("http://127.0.0.1:1/a", "http://example.org/b").is_err());
    }
}
