//! Thread that tags what the server receives, behind a bounded queue.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use tempfile::TempPath;
use tokio::sync::oneshot;

use crate::error::failure;
use crate::job::prediction;
use tagwave::audio::Source;
use tagwave::sinks::{Failure, JSON_LINES, Row, Values};
use tagwave::tagger::Tagger;
use tagwave::tags::TagSelection;

/// Song to tag.
pub(super) struct TagRequest {
    /// Path that the row states.
    pub(super) path: PathBuf,
    /// File that was received, instead of the path; removed afterwards.
    pub(super) received: Option<TempPath>,
    pub(super) selection: TagSelection,
    /// Takes the row as JSON, or the failure.
    pub(super) reply: oneshot::Sender<Result<String, Failure>>,
}

/// Queue of the worker.
pub(super) struct TagQueue(SyncSender<TagRequest>);

impl TagQueue {
    /// Makes a queue for at most `capacity` songs.
    pub(super) fn new(capacity: usize) -> (TagQueue, Receiver<TagRequest>) {
        let (sender, receiver) = sync_channel(capacity);
        (TagQueue(sender), receiver)
    }

    /// Puts a song into the queue; false if it is full.
    pub(super) fn put(&self, request: TagRequest) -> bool {
        !matches!(self.0.try_send(request), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)))
    }
}

/// Tags until the queue is closed and empty. What is waiting forms one batch.
pub(super) fn work(tagger: &Tagger, queue: Receiver<TagRequest>) {
    while let Ok(first) = queue.recv() {
        let waiting = queue.try_iter().take(tagger.max_batch().saturating_sub(1));
        let mut batch: Vec<Option<TagRequest>> = std::iter::once(first)
            .chain(waiting)
            // Nobody waits for the others any more.
            .filter(|request| !request.reply.is_closed())
            .map(Some)
            .collect();
        let source = |request: &Option<TagRequest>| {
            request.as_ref().map(|request| match &request.received {
                Some(file) => Source::path(file),
                None => Source::path(&request.path),
            })
        };
        let sources: Vec<Source> = batch.iter().filter_map(source).collect();
        tagger.tag_each(sources, |index, result| {
            let Some(request) = batch.get_mut(index).and_then(Option::take) else { return };
            let outcome = result
                .map(|track| {
                    let values = Values::Tags(tagger.tags(&track, request.selection));
                    row_text(&Row {
                        path: request.path.clone(),
                        key: None,
                        outcome: Ok(prediction(tagger, &track, values, Vec::new())),
                    })
                })
                .map_err(|error| failure(&error));
            // The client may have gone.
            let _ = request.reply.send(outcome);
        });
    }
}

/// Row as `tagwave tag` prints it.
fn row_text(row: &Row) -> String {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = JSON_LINES.sink(&mut bytes).row(row);
    String::from_utf8_lossy(&bytes).into_owned()
}
