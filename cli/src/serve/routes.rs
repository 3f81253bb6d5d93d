//! Requests and answers of the server.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::worker::{TagQueue, TagRequest};
use crate::library::{load_index, similar_objects};
use tagwave::ErrorKind;
use tagwave::search::TrackIndex;
use tagwave::sinks::Failure;
use tagwave::tags::TagSelection;

/// Description of the server for programs.
const OPENAPI: &str = include_str!("openapi.json");
/// Maximum size of a body in JSON, in bytes.
const MAX_JSON_BYTES: usize = 64 << 10;
/// Maximum number of similar tracks.
const MAX_SIMILAR: usize = 1000;

/// Settings and state that requests share.
pub(super) struct Shared {
    pub(super) queue: TagQueue,
    pub(super) model: String,
    pub(super) device: String,
    /// Folders whose files may be named, without links.
    pub(super) roots: Vec<PathBuf>,
    /// SHA-256 of the token.
    pub(super) token: Option<[u8; 32]>,
    pub(super) max_bytes: u64,
    pub(super) timeout: Duration,
    pub(super) index: Option<PathBuf>,
    pub(super) loaded: Mutex<Option<LoadedIndex>>,
}

/// Index in memory, and the time of its state.
pub(super) struct LoadedIndex {
    changed: Option<SystemTime>,
    index: Arc<TrackIndex>,
}

/// Answer to a request that failed.
struct RequestError(StatusCode, String);

impl RequestError {
    fn new(status: StatusCode, message: impl Into<String>) -> RequestError {
        RequestError(status, message.into())
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let mut response = (self.0, Json(json!({ "error": self.1 }))).into_response();
        if self.0 == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

/// All routes.
pub(super) fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/tag", post(tag))
        .route("/similar", get(similar))
        .route("/openapi.json", get(|| async { ([(header::CONTENT_TYPE, "application/json")], OPENAPI) }))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), authorise))
        // Monitoring needs no token.
        .route("/health", get(health))
        .method_not_allowed_fallback(|| async {
            let message = "this path has another method: see /openapi.json";
            RequestError::new(StatusCode::METHOD_NOT_ALLOWED, message)
        })
        .fallback(|| async { RequestError::new(StatusCode::NOT_FOUND, "unknown path: see /openapi.json") })
        .with_state(shared)
}

/// Lets requests with the token pass; without one, those that do not come from a web page.
async fn authorise(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_allowed = match shared.token {
        Some(expected) => {
            bearer(headers).is_some_and(|token| <[u8; 32]>::from(Sha256::digest(token)) == expected)
        }
        None => !headers.contains_key(header::ORIGIN),
    };
    if is_allowed {
        return next.run(request).await;
    }
    let message = match shared.token {
        Some(_) => "expected the header `Authorization: Bearer TOKEN`",
        None => "requests of web pages need a token: start the server with --token-file",
    };
    let status = if shared.token.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
    RequestError::new(status, message).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let body = json!({
        "status": "ok", "version": env!("CARGO_PKG_VERSION"), "model": shared.model, "device": shared.device,
    });
    Json(body).into_response()
}

/// Selection of tags.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct SelectionQuery {
    top: Option<usize>,
    threshold: Option<f32>,
}

impl SelectionQuery {
    fn selection(self) -> TagSelection {
        self.threshold.map_or(TagSelection::Top(self.top.unwrap_or(5)), TagSelection::Threshold)
    }
}

#[derive(Deserialize)]
struct PathBody {
    path: PathBuf,
}

async fn tag(
    State(shared): State<Arc<Shared>>,
    Query(selection): Query<SelectionQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, RequestError> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"application/json"));
    let late = |_| RequestError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
    let (path, received) = if is_json {
        (timeout(shared.timeout, named_file(&shared, body)).await.map_err(late)??, None)
    } else {
        let file = timeout(shared.timeout, received_file(&shared, body)).await.map_err(late)??;
        (PathBuf::from("-"), Some(file))
    };
    let (reply, answer) = oneshot::channel();
    if !shared.queue.put(TagRequest { path, received, selection: selection.selection(), reply }) {
        return Err(RequestError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many songs are waiting: try again",
        ));
    }
    let late = |_| RequestError::new(StatusCode::GATEWAY_TIMEOUT, "the song was not tagged in time");
    let gone = |_| RequestError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping");
    match timeout(shared.timeout, answer).await.map_err(late)?.map_err(gone)? {
        Ok(row) => Ok(([(header::CONTENT_TYPE, "application/json")], row).into_response()),
        Err(failure) => Err(refusal_of(&failure)),
    }
}

/// Answer for a song that cannot be tagged.
fn refusal_of(failure: &Failure) -> RequestError {
    let status = match failure.kind {
        ErrorKind::Input | ErrorKind::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Resource => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    RequestError::new(status, failure.message.clone())
}

/// File that a body in JSON names, in one of the folders of --root.
async fn named_file(shared: &Shared, body: Body) -> Result<PathBuf, RequestError> {
    let bytes = axum::body::to_bytes(body, MAX_JSON_BYTES)
        .await
        .map_err(|_| RequestError::new(StatusCode::PAYLOAD_TOO_LARGE, "expected at most 64 KiB of JSON"))?;
    let PathBody { path } = serde_json::from_slice(&bytes).map_err(|error| {
        RequestError::new(StatusCode::BAD_REQUEST, format!("expected {{\"path\": ...}}: {error}"))
    })?;
    inside(shared, path).await
}

/// Checks that a path is a file in one of the folders of --root.
async fn inside(shared: &Shared, path: PathBuf) -> Result<PathBuf, RequestError> {
    let roots = shared.roots.clone();
    let found = tokio::task::spawn_blocking(move || {
        let real = std::fs::canonicalize(&path).ok();
        real.filter(|real| roots.iter().any(|root| real.starts_with(root)) && real.is_file())
    });
    let found = found
        .await
        .map_err(|_| RequestError::new(StatusCode::INTERNAL_SERVER_ERROR, "cannot look for the file"))?;
    // The same answer for all, so that nothing about other folders is told.
    found.ok_or_else(|| RequestError::new(StatusCode::NOT_FOUND, "no such file in the folders of --root"))
}

/// Writes a body to a temporary file.
async fn received_file(shared: &Shared, mut body: Body) -> Result<tempfile::TempPath, RequestError> {
    let full = |error: std::io::Error| RequestError::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string());
    let (file, path) = tempfile::NamedTempFile::new().map_err(full)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| RequestError::new(StatusCode::BAD_REQUEST, "the body ends early"))?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len() as u64;
        if size > shared.max_bytes {
            let message = format!("expected at most {} bytes: --max-bytes", shared.max_bytes);
            return Err(RequestError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        file.write_all(&data).await.map_err(full)?;
    }
    file.flush().await.map_err(full)?;
    if size == 0 {
        return Err(RequestError::new(
            StatusCode::BAD_REQUEST,
            "expected audio, or JSON with the header content-type",
        ));
    }
    Ok(path)
}

#[derive(Deserialize)]
struct SimilarQuery {
    path: PathBuf,
    n: Option<usize>,
    #[serde(rename = "where")]
    condition: Option<String>,
}

async fn similar(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<SimilarQuery>,
) -> Result<Response, RequestError> {
    let count = query.n.unwrap_or(20).min(MAX_SIMILAR);
    let found = tokio::task::spawn_blocking(move || {
        let index = shared.current_index()?;
        similar_objects(&index, &query.path, count, query.condition.as_deref())
            .map_err(|message| RequestError::new(StatusCode::BAD_REQUEST, message))
    });
    let failed = |_| RequestError::new(StatusCode::INTERNAL_SERVER_ERROR, "the search failed");
    Ok(Json(json!({ "similar": found.await.map_err(failed)?? })).into_response())
}

impl Shared {
    /// The index, read again if it has changed.
    fn current_index(&self) -> Result<Arc<TrackIndex>, RequestError> {
        let none = || RequestError::new(StatusCode::NOT_FOUND, "no index: run `tagwave index FOLDER`");
        let folder: &Path = self.index.as_deref().ok_or_else(none)?;
        let changed = std::fs::metadata(folder.join("current")).and_then(|found| found.modified()).ok();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = loaded.as_ref().filter(|found| found.changed == changed && changed.is_some()) {
            return Ok(found.index.clone());
        }
        let index =
            load_index(folder).map_err(|message| RequestError::new(StatusCode::NOT_FOUND, message))?;
        let index = Arc::new(index);
        *loaded = Some(LoadedIndex { changed, index: index.clone() });
        Ok(index)
    }
}
