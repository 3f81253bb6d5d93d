//! `tagwave serve`: tags over HTTP for media servers and other programs. docs/library.md has examples.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use super::clips::ClipArgs;
use super::inputs::FileArgs;
use super::job::Job;
use super::library::IndexArgs;
use super::progress::ProgressArgs;
use super::{CliError, ModelArgs, SOME_FAILED};

mod accept;
mod routes;
mod worker;

use accept::Listening;
use routes::Shared;
use worker::TagQueue;

/// Interval of asking whether the program was told to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(50);
/// Minimum length of a token in bytes.
const MIN_TOKEN: usize = 16;

/// Arguments of `tagwave serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "POST /tag with audio as the body, or {\"path\": ...} as JSON; GET /similar?path=..., /health, \
                        /openapi.json. SIGTERM or Ctrl-C ends the server after the requests in work."
)]
pub(super) struct ServeArgs {
    /// Address; other than loopback it needs --token-file
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7433", conflicts_with = "socket")]
    listen: SocketAddr,

    /// Unix socket instead of an address, for this user only
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// File with a token of at least 16 bytes, which requests must have: Authorization: Bearer TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Folder whose files requests may name; may be repeated. Without it only audio is accepted
    #[arg(long, value_name = "FOLDER")]
    root: Vec<PathBuf>,

    /// Maximum size of audio in a request
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    max_bytes: u64,

    /// Maximum time of receiving a song, and of tagging it, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,

    /// Maximum number of songs that wait; further ones are answered with 503
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    queue: u16,

    #[command(flatten)]
    index: IndexArgs,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    clips: ClipArgs,

    #[command(flatten)]
    progress: ProgressArgs,
}

/// Runs the server until it is told to stop.
pub(super) fn serve(args: &ServeArgs) -> Result<u8, CliError> {
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    if token.is_none() && args.socket.is_none() && !args.listen.ip().is_loopback() {
        let message = format!("--listen {}: other programs can reach it: add --token-file FILE", args.listen);
        return Err(CliError::usage(message));
    }
    let real = |root: &PathBuf| {
        std::fs::canonicalize(root)
            .map_err(|error| CliError::usage(format!("--root {}: {error}", root.display())))
    };
    let roots = args.root.iter().map(real).collect::<Result<_, _>>()?;
    let files = FileArgs::of_paths(&[]);
    let job = Job::new(&files, &args.progress, &args.model, &args.clips, |builder| builder)?;
    let tagger = job.tagger();
    tagger.warm_up()?;
    let (queue, waiting) = TagQueue::new(args.queue.into());
    let shared = Arc::new(Shared {
        queue,
        model: tagger.model().name().into(),
        device: tagger.device_name(),
        roots,
        token,
        max_bytes: args.max_bytes,
        timeout: Duration::from_secs(args.timeout),
        index: args.index.folder().ok(),
        loaded: Mutex::new(None),
    });
    let failed =
        |error: std::io::Error| CliError { message: format!("cannot serve: {error}"), code: SOME_FAILED };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    std::thread::scope(|scope| {
        scope.spawn(move || worker::work(tagger, waiting));
        let stop = async || {
            while !job.is_cancelled() {
                tokio::time::sleep(STOP_INTERVAL).await;
            }
        };
        // The queue is closed with the last of `shared`, which ends the worker.
        let result: Result<bool, CliError> = runtime.block_on(async {
            let listening = match &args.socket {
                Some(path) => Listening::unix(path)
                    .map_err(|error| CliError::usage(format!("--socket {}: {error}", path.display())))?,
                None => Listening::Tcp(
                    TcpListener::bind(args.listen)
                        .await
                        .map_err(|error| CliError::usage(format!("--listen {}: {error}", args.listen)))?,
                ),
            };
            say!("tagwave: listening on {}", listening.address());
            Ok(accept::serve(listening, routes::routes(shared), stop()).await)
        });
        // Connections that are still open go with the runtime.
        drop(runtime);
        let is_complete = result?;
        say!("tagwave: stopped{}", if is_complete { "" } else { "; some requests were not finished" });
        Ok(if is_complete { 0 } else { SOME_FAILED })
    })
}

/// Reads a token; returns its digest.
fn read_token(path: &Path) -> Result<[u8; 32], CliError> {
    let named = |message: String| CliError::usage(format!("{}: {message}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    let token = text.trim();
    if token.len() < MIN_TOKEN {
        return Err(named(format!("{} bytes, expected a token of at least {MIN_TOKEN}", token.len())));
    }
    Ok(Sha256::digest(token).into())
}
