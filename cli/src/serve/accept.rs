//! Connections: from a TCP address or a Unix socket, bounded in number, each with a time limit for its head.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

/// Maximum number of connections at a time; others wait in the queue of the system.
const MAX_CONNECTIONS: usize = 256;
/// Time for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time for requests in work when the server stops.
const STOP_TIME: Duration = Duration::from_secs(60);

/// Source of connections.
pub(super) enum Listening {
    Tcp(TcpListener),
    /// A socket, and its path, which is removed at the end.
    #[cfg(unix)]
    Unix(UnixListener, PathBuf),
}

impl Listening {
    /// Opens a Unix socket; one that a killed server left is replaced.
    ///
    /// # Errors
    /// A socket in use, or an I/O error.
    #[cfg(unix)]
    pub(super) fn unix(path: &std::path::Path) -> io::Result<Listening> {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};
        if let Ok(found) = path.symlink_metadata() {
            if !found.file_type().is_socket() {
                return Err(io::Error::other("exists and is not a socket"));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::other("another server is listening"));
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Listening::Unix(listener, path.to_path_buf()))
    }

    #[cfg(not(unix))]
    pub(super) fn unix(_path: &std::path::Path) -> io::Result<Listening> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Address for people.
    pub(super) fn address(&self) -> String {
        match self {
            Listening::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "http".into(), |address| format!("http://{address}"))
            }
            #[cfg(unix)]
            Listening::Unix(_, path) => format!("unix socket {}", path.display()),
        }
    }
}

/// Answers connections until `stop` is done, then waits for requests in work. Returns false if some were not done in time.
pub(super) async fn serve(listening: Listening, app: Router, stop: impl Future<Output = ()>) -> bool {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            () = &mut stop => break,
        };
        let Ok(permit) = permit else { break };
        let accepted: io::Result<Box<dyn Connection>> = tokio::select! {
            accepted = accept(&listening) => accepted,
            () = &mut stop => break,
        };
        let Ok(stream) = accepted else {
            // Out of file descriptors, for example: others will be closed.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let app = app.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let app = app.clone();
            async move { Ok::<_, Infallible>(answered(app, request).await) }
        });
        let mut builder = Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away is no error of the server.
            let _ = connection.await;
            drop(permit);
        });
    }
    #[cfg(unix)]
    if let Listening::Unix(_, path) = &listening {
        let _ = std::fs::remove_file(path);
    }
    drop(listening);
    timeout(STOP_TIME, graceful.shutdown()).await.is_ok()
}

async fn answered(app: Router, request: hyper::Request<Incoming>) -> axum::response::Response {
    match app.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Byte stream of a client.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

async fn accept(listening: &Listening) -> io::Result<Box<dyn Connection>> {
    match listening {
        Listening::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        #[cfg(unix)]
        Listening::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
    }
}
