//! Downloads from a local test server that misbehaves.
#![cfg(feature = "keras")]
#![cfg(feature = "fetch")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tagwave::weights::{
    DownloadProgress, FetchError, FetchOptions, Fetched, ManifestFile, ProxyPolicy, Variant, WeightsError,
    fetch, sha256_hex,
};
use tagwave::{CancelToken, ErrorKind};

/// Test server; `answer` writes the response for the requested path.
struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                counter.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1)
                {
                    request.push(byte[0]);
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                // A client that goes away is what some tests are about.
                let _ = answer(request.split(' ').nth(1).unwrap_or(""), &mut stream);
            }
        });
        Server { address, requests }
    }

    /// Server that sends `body` with status 200 and its length.
    fn sending(body: Vec<u8>) -> Server {
        Server::start(move |_, stream| ok(stream, body.len(), &body))
    }
}

fn ok(stream: &mut TcpStream, length: usize, body: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}

/// Status 200 without a length: the body ends with the connection.
fn open_ended(stream: &mut TcpStream) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
}

fn body() -> Vec<u8> {
    (0..300_000u32).map(|i| (i % 251) as u8).collect()
}

fn entry(server: &Server) -> ManifestFile {
    ManifestFile {
        name: "weights.h5".to_string(),
        path: "data/weights.h5".to_string(),
        variant: Variant::Theano,
        url: format!("{}/data/weights.h5", server.address),
        size: body().len() as u64,
        sha256: sha256_hex(&body()),
    }
}

fn options() -> FetchOptions {
    FetchOptions { proxy: ProxyPolicy::Direct, ..FetchOptions::default() }
}

fn get(entry: &ManifestFile, directory: &Path, options: &FetchOptions) -> Result<Fetched, WeightsError> {
    fetch(entry, directory, options, &mut |_| {}, &CancelToken::new())
}

/// Fetches, expects a failure that leaves nothing behind, and returns it.
fn failure(entry: &ManifestFile, options: &FetchOptions) -> FetchError {
    let directory = tempfile::tempdir().unwrap();
    let error = get(entry, directory.path(), options).unwrap_err();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{error}");
    assert_eq!(error.kind(), ErrorKind::Resource, "{error}");
    println!("{error}");
    match error {
        WeightsError::Fetch { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn a_good_file_arrives_once() {
    let server = Server::sending(body());
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("new/store");
    let mut seen: Vec<DownloadProgress> = Vec::new();
    let fetched =
        fetch(&entry(&server), &target, &options(), &mut |now| seen.push(now), &CancelToken::new()).unwrap();
    assert_eq!(fetched, Fetched::Downloaded(target.join("weights.h5")));
    assert_eq!(fs::read(fetched.path()).unwrap(), body());
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    assert!(seen.is_sorted_by_key(|progress| progress.received));
    assert_eq!(*seen.last().unwrap(), DownloadProgress { received: 300_000, size: 300_000 });

    let again = get(&entry(&server), &target, &options()).unwrap();
    assert_eq!(again, Fetched::AlreadyThere(target.join("weights.h5")));
    let offline = FetchOptions { offline: true, ..options() };
    assert_eq!(get(&entry(&server), &target, &offline).unwrap(), again);
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[cfg(unix)]
#[test]
fn a_fetched_file_is_as_readable_as_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::sending(body());
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    fs::write(&plain, b"").unwrap();
    let fetched = get(&entry(&server), directory.path(), &options()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(fetched.path()), mode(&plain));
}

#[test]
fn another_file_of_the_name_is_replaced_only_by_the_right_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights.h5");
    // Of the right size, so that only the digest tells.
    fs::write(&path, vec![7; body().len()]).unwrap();
    let mut damaged = body();
    damaged[123_456] ^= 1;
    let bad = Server::sending(damaged);
    assert!(get(&entry(&bad), directory.path(), &options()).is_err());
    assert_eq!(fs::read(&path).unwrap(), vec![7; body().len()]);
    let good = Server::sending(body());
    assert_eq!(get(&entry(&good), directory.path(), &options()).unwrap(), Fetched::Downloaded(path.clone()));
    assert_eq!(fs::read(&path).unwrap(), body());
}

#[test]
fn a_damaged_byte_is_found() {
    let mut damaged = body();
    damaged[123_456] ^= 1;
    let found = sha256_hex(&damaged);
    let server = Server::sending(damaged);
    let expected = sha256_hex(&body());
    assert_eq!(failure(&entry(&server), &options()), FetchError::Digest { expected, found });
}

#[test]
fn a_file_cut_off_is_found() {
    // The server announces the whole and hangs up half-way.
    let server = Server::start(|_, stream| ok(stream, body().len(), &body()[..100_000]));
    assert!(matches!(failure(&entry(&server), &options()), FetchError::Network { .. }));
    // It announces nothing, so that the end looks like one.
    let server = Server::start(|_, stream| {
        open_ended(stream)?;
        stream.write_all(&body()[..100_000])
    });
    let expected = FetchError::Size { expected: 300_000, found: 100_000, more: false };
    assert_eq!(failure(&entry(&server), &options()), expected);
    // It announces less.
    let server = Server::sending(body()[..100_000].to_vec());
    assert_eq!(failure(&entry(&server), &options()), expected);
}

#[test]
fn too_long_a_file_is_stopped_at_once() {
    let server = Server::sending([body(), vec![0]].concat());
    let expected = FetchError::Size { expected: 300_000, found: 300_001, more: false };
    assert_eq!(failure(&entry(&server), &options()), expected);
    // One that never ends.
    let server = Server::start(|_, stream| {
        open_ended(stream)?;
        loop {
            stream.write_all(&[0; 4096])?;
        }
    });
    match failure(&entry(&server), &options()) {
        FetchError::Size { found, more: true, .. } => assert!(found < 400_000, "{found}"),
        other => panic!("{other}"),
    }
}

#[test]
fn silence_and_trickles_are_given_up() {
    let options = FetchOptions { stall: Duration::from_millis(300), stall_bytes: 1000, ..options() };
    // Silent from the start, silent in the middle, and a byte now and then.
    let silent = Server::start(|_, _| {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    let half = Server::start(|_, stream| {
        ok(stream, body().len(), &body()[..100_000])?;
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    let trickle = Server::start(|_, stream| {
        ok(stream, body().len(), &[])?;
        for byte in body() {
            stream.write_all(&[byte])?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    });
    for (server, least) in [(silent, 0), (half, 100_000), (trickle, 1)] {
        let start = Instant::now();
        match failure(&entry(&server), &options) {
            FetchError::Stalled { received, .. } => assert!(received >= least, "{received} of {least}"),
            other => panic!("{other}"),
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

#[test]
fn the_whole_transfer_has_a_limit() {
    let options = FetchOptions { overall: Duration::from_millis(400), ..options() };
    let server = Server::start(|_, stream| {
        ok(stream, body().len(), &[])?;
        for piece in body().chunks(2000) {
            stream.write_all(piece)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
    let start = Instant::now();
    assert!(matches!(failure(&entry(&server), &options), FetchError::TimedOut { millis: 400, .. }));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_cancellation_is_heard_in_silence() {
    let server = Server::start(|_, stream| {
        ok(stream, body().len(), &body()[..1000])?;
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    let directory = tempfile::tempdir().unwrap();
    let (start, cancel) = (Instant::now(), CancelToken::new());
    // At the first bytes.
    let mut progress = |_: DownloadProgress| cancel.cancel();
    let error = fetch(&entry(&server), directory.path(), &options(), &mut progress, &cancel);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn other_answers_are_named() {
    for status in [204, 206, 304, 403, 404, 500] {
        let server = Server::start(move |_, stream| {
            write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        });
        assert_eq!(failure(&entry(&server), &options()), FetchError::Status { status });
    }
    let server = Server::start(|_, stream| stream.write_all(b"220 mail.example.org ESMTP\r\n"));
    assert!(matches!(failure(&entry(&server), &options()), FetchError::Network { .. }));
}

fn redirect(stream: &mut TcpStream, location: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

#[test]
fn redirects_are_followed_within_limits() {
    let server = Server::start(|path, stream| match path {
        "/there" => ok(stream, body().len(), &body()),
        _ => redirect(stream, "/there"),
    });
    let directory = tempfile::tempdir().unwrap();
    assert!(get(&entry(&server), directory.path(), &options()).is_ok());
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);

    let server = Server::start(|path, stream| redirect(stream, path));
    let limited = FetchOptions { max_redirects: 3, ..options() };
    assert_eq!(failure(&entry(&server), &limited), FetchError::Redirects { limit: 3 });
    assert_eq!(server.requests.load(Ordering::SeqCst), 4);

    let location = "http://192.0.2.1/weights.h5".to_string();
    let elsewhere = location.clone();
    let server = Server::start(move |_, stream| redirect(stream, &elsewhere));
    assert_eq!(failure(&entry(&server), &options()), FetchError::Redirect { location });
}

#[test]
fn without_a_network_the_error_helps() {
    let server = Server::sending(body());
    let directory = tempfile::tempdir().unwrap();
    let offline = FetchOptions { offline: true, ..options() };
    let text = get(&entry(&server), directory.path(), &offline).unwrap_err().to_string();
    let place = directory.path().display().to_string();
    for part in ["offline", "\"weights.h5\"", &place, &entry(&server).url, "300000 bytes"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);

    // Nobody listens at an address just given back.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/weights.h5", listener.local_addr().unwrap());
    drop(listener);
    let text = failure(&ManifestFile { url, ..entry(&server) }, &options()).to_string();
    assert!(text.contains("the connection failed: ") && text.contains("by hand and put it into"), "{text}");

    // Not TLS at all: the handshake is tried, and fails as an error.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/weights.h5", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 16];
        let _ = stream.read(&mut hello);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let text = failure(&ManifestFile { url, ..entry(&server) }, &options()).to_string();
    assert!(text.contains("the connection failed: ") && !text.contains("without a result"), "{text}");

    let plain = ManifestFile { url: "http://example.org/weights.h5".to_string(), ..entry(&server) };
    assert_eq!(failure(&plain, &options()), FetchError::Scheme);
    let escape = ManifestFile { name: "../weights.h5".to_string(), ..entry(&server) };
    assert!(matches!(get(&escape, directory.path(), &options()), Err(WeightsError::Manifest { .. })));
}
