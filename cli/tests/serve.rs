//! `tagwave serve`: answers, limits, load, slow and cut connections, the end. Requests are written by hand.
#![cfg(feature = "serve")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::command::{Home, word};
use common::library::{MODEL, library, rows};
use common::seeded;
use serde_json::Value;

/// A running server, killed at the end of its test.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server on a free port.
fn start(home: &Home, options: &[&str]) -> Server {
    let run = [&["serve", "--listen", "127.0.0.1:0"][..], &MODEL, options].concat();
    let mut child = home.command(&run).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines.by_ref().find_map(|line| {
        line.unwrap().split_once("listening on http://").map(|(_, address)| address.to_string())
    });
    // Later output is read and dropped, because a full pipe would block the server.
    std::thread::spawn(move || lines.for_each(drop));
    Server { child, address: address.unwrap() }
}

/// Status and body of an answer.
type Answer = (u16, String);

/// Sends a request and reads the answer; `None` if the connection ends without one.
fn send(address: &str, head: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let length = body.len();
    let head = format!("{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    // A server that refuses a body closes the connection before all of it is sent.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text.split_once("\r\n\r\n")?.1.to_string()))
}

fn get(server: &Server, path: &str) -> Answer {
    send(&server.address, &format!("GET {path} HTTP/1.1"), b"").unwrap()
}

fn post(server: &Server, path: &str, body: &[u8]) -> Answer {
    send(&server.address, &format!("POST {path} HTTP/1.1"), body).unwrap()
}

fn post_path(server: &Server, path: &str) -> Answer {
    let body = serde_json::json!({ "path": path }).to_string();
    send(&server.address, "POST /tag HTTP/1.1\r\nContent-Type: application/json", body.as_bytes()).unwrap()
}

fn tags(text: &str) -> Value {
    serde_json::from_str::<Value>(text).unwrap()["tags"].clone()
}

#[test]
fn answers_are_those_of_the_command() {
    let home = library(3);
    let expected =
        rows(&home.ok(&[&["tag", "music/00001.wav", "--format", "jsonl", "-q"][..], &MODEL].concat()));
    let server = start(&home, &["--root", "music"]);
    let song = home.path("music/00001.wav");
    let (status, text) = post(&server, "/tag", &fs::read(&song).unwrap());
    assert_eq!((status, tags(&text)), (200, expected[0]["tags"].clone()), "{text}");
    let (status, text) = post_path(&server, word(&song));
    assert_eq!((status, tags(&text)), (200, expected[0]["tags"].clone()), "{text}");
    let (_, text) = post(&server, "/tag?top=2", &fs::read(&song).unwrap());
    assert_eq!(tags(&text).as_array().unwrap().len(), 2);
    let (status, text) = get(&server, "/health");
    assert!(status == 200 && text.contains("\"status\":\"ok\"") && text.contains("compact"), "{text}");
    let (_, text) = get(&server, "/openapi.json");
    let paths = serde_json::from_str::<Value>(&text).unwrap()["paths"].clone();
    for path in paths.as_object().unwrap().keys() {
        assert_ne!(get(&server, path).0, 404, "{path} is described");
    }
}

#[test]
fn wrong_requests_are_refused() {
    let home = library(1);
    fs::write(home.path("secret.wav"), "secret").unwrap();
    let server = start(&home, &["--root", "music", "--max-bytes", "100000"]);
    assert_eq!(post(&server, "/tag", b"no music").0, 422);
    assert_eq!(post(&server, "/tag", b"").0, 400);
    assert_eq!(post(&server, "/tag", &vec![1; 3_000_000]).0, 413);
    for path in [home.path("secret.wav"), home.path("music/../secret.wav"), home.path("gone.wav")] {
        let (status, text) = post_path(&server, word(&path));
        assert!(status == 404 && text.contains("--root"), "{text}");
    }
    assert_eq!(get(&server, "/else").0, 404);
    assert_eq!(get(&server, "/tag").0, 405);
    assert_eq!(get(&server, "/similar?path=x").0, 404);
    let head = "POST /tag HTTP/1.1\r\nContent-Type: application/json";
    assert_eq!(send(&server.address, head, b"{").unwrap().0, 400);
    // A page of another site cannot use the server of this user.
    let head = "POST /tag HTTP/1.1\r\nOrigin: https://example.org";
    assert_eq!(send(&server.address, head, b"x").unwrap().0, 403);
    let without_root = start(&home, &[]);
    assert_eq!(post_path(&without_root, word(&home.path("music/00000.wav"))).0, 404);
}

#[test]
fn a_token_is_needed_beyond_loopback() {
    let home = library(1);
    let said = home.fails(2, &[&["serve", "--listen", "0.0.0.0:0"][..], &MODEL].concat());
    assert!(said.contains("--token-file"), "{said}");
    fs::write(home.path("short"), "abc").unwrap();
    let said = home.fails(2, &[&["serve", "--token-file", "short"][..], &MODEL].concat());
    assert!(said.contains("at least 16"), "{said}");
    fs::write(home.path("token"), "0123456789abcdef\n").unwrap();
    let server = start(&home, &["--token-file", "token"]);
    let song = fs::read(home.path("music/00000.wav")).unwrap();
    assert_eq!(post(&server, "/tag", &song).0, 401);
    let with = |token: &str| format!("POST /tag HTTP/1.1\r\nAuthorization: Bearer {token}");
    assert_eq!(send(&server.address, &with("0123456789abcdeX"), &song).unwrap().0, 401);
    assert_eq!(send(&server.address, &with("0123456789abcdef"), &song).unwrap().0, 200);
    assert_eq!(get(&server, "/health").0, 200);
}

#[test]
fn similar_tracks_of_an_index_that_changes() {
    let home = library(0);
    for seed in 0..6 {
        seeded::wav(&home.path(&format!("music/{seed}.wav")), 1.0, seed);
    }
    home.ok(&[&["index", "music", "-q"][..], &MODEL].concat());
    let server = start(&home, &[]);
    let path = format!("/similar?n=3&path={}", word(&home.path("music/0.wav")));
    let (status, text) = get(&server, &path);
    let found = serde_json::from_str::<Value>(&text).unwrap()["similar"].clone();
    assert_eq!((status, found.as_array().unwrap().len()), (200, 3), "{text}");
    assert_eq!(get(&server, &format!("{path}&where=polka")).0, 400);
    fs::copy(home.path("music/0.wav"), home.path("music/copy.wav")).unwrap();
    home.ok(&[&["index", "music", "-q"][..], &MODEL].concat());
    let (_, text) = get(&server, &path);
    let found = serde_json::from_str::<Value>(&text).unwrap()["similar"].clone();
    assert_eq!(found[0]["duplicate"], "file", "{text}");
}

/// Resident memory in MiB.
#[cfg(target_os = "linux")]
fn memory_mib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Many clients, some slow, some that go away: every request that is sent whole has an answer, and memory stays flat.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_lost_under_load() {
    const CLIENTS: usize = 24;
    const REQUESTS: usize = 12;
    let home = library(3);
    let server = start(&home, &["--queue", "4"]);
    let song = fs::read(home.path("music/00000.wav")).unwrap();
    let expected = tags(&post(&server, "/tag", &song).1);
    let (good, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let round = || {
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (song, server, good, busy, expected) = (&song, &server, &good, &busy, &expected);
                scope.spawn(move || {
                    for _ in 0..REQUESTS {
                        match post(server, "/tag", song) {
                            (200, text) => {
                                assert_eq!(tags(&text), *expected);
                                good.fetch_add(1, Ordering::Relaxed);
                            }
                            (503, _) => {
                                busy.fetch_add(1, Ordering::Relaxed);
                            }
                            other => panic!("{other:?}"),
                        }
                        // Clients that go away in the middle of a body, or before the answer.
                        let mut stream = TcpStream::connect(&server.address).unwrap();
                        let head = "POST /tag HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\nRIFF";
                        let _ = stream.write_all(head.as_bytes());
                        if client % 2 == 0 {
                            let _ = stream.shutdown(Shutdown::Both);
                        }
                    }
                });
            }
        });
    };
    // Slow clients hold connections meanwhile.
    let slow: Vec<TcpStream> = (0..32)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            stream.write_all(b"POST /tag HTTP/1.1\r\nHost: x\r\nContent-Le").unwrap();
            stream
        })
        .collect();
    round();
    let first = memory_mib(&server);
    round();
    let second = memory_mib(&server);
    drop(slow);
    let (good, busy) = (good.into_inner(), busy.into_inner());
    println!("{good} answered, {busy} refused with 503; {first} MiB after one round, {second} MiB after two");
    assert_eq!(good + busy, 2 * CLIENTS * REQUESTS);
    assert!(good > 0 && busy > 0);
    assert!(second < first + 24, "{first} MiB, then {second} MiB");
    assert_eq!(get(&server, "/health").0, 200);
}

#[cfg(unix)]
#[test]
fn requests_in_work_are_finished_before_the_end() {
    let home = library(3);
    let mut server = start(&home, &[]);
    let song = fs::read(home.path("music/00002.wav")).unwrap();
    let address = server.address.clone();
    // A body that is not complete when the signal comes.
    let mut stream = TcpStream::connect(&address).unwrap();
    let head = format!(
        "POST /tag HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        song.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&song[..1000]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let id = server.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    std::thread::sleep(Duration::from_millis(300));
    stream.write_all(&song[1000..]).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the server does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(&address).is_err());
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_for_this_user() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    let home = library(1);
    let path = home.path("socket");
    let run = [&["serve", "--socket", "socket"][..], &MODEL].concat();
    // Left by a killed server.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut server =
        Server { child: home.command(&run).stderr(Stdio::null()).spawn().unwrap(), address: String::new() };
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut stream = loop {
        if let Ok(stream) = UnixStream::connect(&path) {
            break stream;
        }
        assert!(Instant::now() < deadline && server.child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("\"status\":\"ok\""), "{text}");
    let said = home.fails(2, &run);
    assert!(said.contains("another server"), "{said}");
}
