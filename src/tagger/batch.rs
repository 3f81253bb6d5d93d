//! Pipeline for many sources: decoded on several threads, run in batches of clips, delivered in order.
//!
//! ```text
//! sources -> feeder -> decoder threads -> collector -> one thread per device -> collector -> caller
//! ```

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::decode::{ClipPermits, DecodeEvent, Decoders, TrackInfo};
use super::runner::{self, BatchQueue, ClipBatch, ClipOutput, IN_FLIGHT};
use super::{ClipResult, Grouping, Tagger, Track, check_finite};
use crate::audio::Source;
use crate::error::Error;

/// Minimum number of sources that may be read ahead of the oldest unfinished one; bounds the number of results that
/// wait for delivery.
const MIN_WINDOW: usize = 64;
/// Standard deviation of a spectrogram, in dB, below which a clip is silent.
const SILENCE_DB: f32 = 1e-5;
/// Interval at which the collector checks for stalled decoders.
const TICK: Duration = Duration::from_millis(250);

/// Event for the collector.
pub(super) enum Event {
    /// Event of decoder thread `.0`.
    Decoded(usize, DecodeEvent),
    /// Total number of sources.
    Fed(usize),
    Completed(Vec<ClipOutput>),
    /// A whole batch with clips of these sources failed.
    Failed(Vec<usize>, Arc<Error>),
}

/// Sliding window of sources being processed: limits how far reading runs ahead of delivery.
struct SourceWindow {
    state: Mutex<WindowState>,
    moved: Condvar,
}

struct WindowState {
    /// Number of delivered sources.
    finished: usize,
    is_closed: bool,
    /// Number of sources that may be ahead of the oldest unfinished one.
    window: usize,
}

impl SourceWindow {
    fn new(window: usize) -> SourceWindow {
        SourceWindow {
            state: Mutex::new(WindowState { finished: 0, is_closed: false, window }),
            moved: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, WindowState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, count: usize) {
        self.lock().finished = count;
        self.moved.notify_all();
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.moved.notify_all();
    }

    fn window(&self) -> usize {
        self.lock().window
    }

    /// Extends the window by `sources`.
    fn widen(&self, sources: usize) {
        let mut state = self.lock();
        state.window = state.window.saturating_add(sources);
        self.moved.notify_all();
    }

    /// Waits until source `index` is inside the window; `false` once the window is closed.
    fn wait_for(&self, index: usize) -> bool {
        let mut state = self.lock();
        while !state.is_closed && index >= state.finished.saturating_add(state.window) {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_closed
    }
}

/// Shuts down all worker threads on drop, also when unwinding.
struct ShutdownGuard<'a> {
    window: &'a SourceWindow,
    batches: &'a BatchQueue,
}

impl Drop for ShutdownGuard<'_> {
    fn drop(&mut self) {
        self.window.close();
        self.batches.clear();
    }
}

/// Processes all sources and calls `each` with the result of every source, in order.
pub(super) fn run<I: Iterator<Item = Source> + Send>(
    tagger: &Tagger,
    sources: I,
    mut each: impl FnMut(usize, Result<Track, Error>),
) {
    // Taken by the feeder thread.
    let sources = Mutex::new(Some(sources));
    let Err((what, error)) = run_threads(tagger, &sources, &mut each) else { return };
    let sources = sources.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (index, _) in sources.into_iter().flatten().enumerate() {
        if tagger.decoding.cancel.is_cancelled() {
            return;
        }
        each(index, Err(Error::Threads { what, reason: error.to_string() }));
    }
}

/// Runs the pipeline. If a thread cannot be started, returns its purpose and the error before any source is taken.
fn run_threads<I: Iterator<Item = Source> + Send>(
    tagger: &Tagger,
    sources: &Mutex<Option<I>>,
    each: impl FnMut(usize, Result<Track, Error>),
) -> Result<(), (&'static str, io::Error)> {
    let lock = || sources.lock().unwrap_or_else(PoisonError::into_inner);
    let most = lock().as_ref().and_then(|sources| sources.size_hint().1);
    let batch = tagger.max_batch();
    let window = match tagger.grouping {
        // All clips of the call are one batch; clips beyond the device's limit are rejected as they come.
        Grouping::Call => usize::MAX,
        _ => MIN_WINDOW.max(4 * batch),
    };
    let window = SourceWindow::new(window);
    // Clips that depend on each other are batched in the order of their sources, which one thread keeps.
    let threads = match tagger.grouping {
        Grouping::Free => tagger.decode_threads.min(most.unwrap_or(usize::MAX)).max(1),
        Grouping::Clips(_) | Grouping::Call => 1,
    };
    let batches = BatchQueue::default();
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        let (queue, waiting) = channel();
        let permits = ClipPermits::new(batch * (IN_FLIGHT * tagger.engines.len() + 2));
        // Dropped first: shuts down all other threads.
        let decoders = Decoders::start(
            tagger.decoding.clone(),
            Arc::new(Mutex::new(waiting)),
            permits.clone(),
            sender.clone(),
            Event::Decoded,
            threads,
        );
        let _shutdown = ShutdownGuard { window: &window, batches: &batches };
        if let Some((0, reason)) = decoders.shortage() {
            return Err(("decoding", io::Error::other(reason)));
        }
        for engine in &tagger.engines {
            let (sender, batches) = (sender.clone(), &batches);
            let work = move || runner::run(tagger, engine, batches, &sender);
            thread::Builder::new().spawn_scoped(scope, work).map_err(|error| ("the model", error))?;
        }
        let fed = sender.clone();
        let window = &window;
        let work = move || {
            let sources = sources.lock().unwrap_or_else(PoisonError::into_inner).take();
            let count = sources.map_or(0, |sources| queue_sources(sources, window, &queue));
            // Fails if the collector has ended.
            let _ = fed.send(Event::Fed(count));
        };
        thread::Builder::new().spawn_scoped(scope, work).map_err(|error| ("the list of sources", error))?;
        if let Some((started, reason)) = decoders.shortage() {
            tagger
                .warnings
                .add(format!("only {started} of {threads} decoder threads could be started: {reason}"));
        }
        let collector = Collector {
            tagger,
            decoders,
            permits: &permits,
            batches: &batches,
            files: BTreeMap::new(),
            pending: Vec::new(),
            rejected: 0,
            in_flight: 0,
            decoded: 0,
            total: None,
            next: 0,
            each,
        };
        collector.collect(&receiver, window);
        Ok(())
    })
}

/// Sends sources to the decoder threads within the window, and returns their number.
fn queue_sources(
    sources: impl Iterator<Item = Source>,
    window: &SourceWindow,
    queue: &Sender<(usize, Source)>,
) -> usize {
    let mut sources = sources;
    let mut count = 0;
    while window.wait_for(count) {
        let Some(source) = sources.next() else { break };
        if queue.send((count, source)).is_err() {
            break;
        }
        count += 1;
    }
    count
}

/// State of a source that is being processed.
#[derive(Default)]
struct FileState {
    clips: Vec<ClipResult>,
    /// Number of clips that were read and have no result yet.
    waiting: usize,
    silent: usize,
    info: Option<Result<TrackInfo, Error>>,
    failure: Option<Error>,
}

/// Collects clips into batches and results into tracks.
struct Collector<'a, F> {
    tagger: &'a Tagger,
    decoders: Decoders<Event>,
    permits: &'a ClipPermits,
    batches: &'a BatchQueue,
    files: BTreeMap<usize, FileState>,
    pending: ClipBatch,
    /// Number of rejected clips: more than one batch of the device ([`Grouping::Call`]).
    rejected: usize,
    /// Number of batches in flight.
    in_flight: usize,
    /// Number of sources that were read to their end.
    decoded: usize,
    /// Total number of sources, once known.
    total: Option<usize>,
    /// Index of the next source to deliver.
    next: usize,
    each: F,
}

impl<F: FnMut(usize, Result<Track, Error>)> Collector<'_, F> {
    fn collect(mut self, receiver: &Receiver<Event>, window: &SourceWindow) {
        let mut last_check = Instant::now();
        while self.total.is_none_or(|total| self.next < total) {
            let event = receiver.recv_timeout(self.tick());
            if self.tagger.decoding.cancel.is_cancelled() {
                return self.stop(event.ok(), receiver, window);
            }
            let idle = match event {
                Ok(event) => {
                    self.handle(event);
                    false
                }
                Err(RecvTimeoutError::Timeout) => true,
                // Unreachable: the decoders hold a sender.
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if idle || last_check.elapsed() > TICK {
                last_check = Instant::now();
                self.replace_stalled();
            }
            for (index, error) in self.decoders.fail_queued() {
                self.end(index, Err(error));
            }
            // A partial batch is submitted when no more clips can arrive for it.
            let free = self.tagger.grouping == Grouping::Free;
            if self.total == Some(self.decoded)
                || free && (self.is_stalled(window) || idle && self.in_flight == 0)
            {
                self.submit_pending();
            } else if self.is_stalled(window) {
                // A batch of neighbours must not be split: the clips to fill it come after sources that failed.
                window.widen(MIN_WINDOW);
            }
            self.deliver(window);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Decoded(thread, decoded) => match decoded {
                DecodeEvent::Clip(..) if !self.decoders.is_current(thread) => self.permits.release(1),
                DecodeEvent::Done(..) if !self.decoders.is_current(thread) => {}
                DecodeEvent::Clip(index, clip) => {
                    self.files.entry(index).or_default().waiting += 1;
                    self.pending.push((index, clip));
                    self.submit_if_full();
                }
                DecodeEvent::Done(index, info) => self.end(index, info),
            },
            Event::Fed(total) => self.total = Some(total),
            Event::Completed(clips) => {
                self.completed(clips.len());
                clips.into_iter().for_each(|clip| self.accept(clip));
            }
            Event::Failed(indices, error) => {
                self.completed(indices.len());
                self.fail(indices, &error);
            }
        }
    }

    /// Records the end of a source, or its error.
    fn end(&mut self, index: usize, info: Result<TrackInfo, Error>) {
        self.decoded += 1;
        self.files.entry(index).or_default().info = Some(info);
    }

    /// Timeout of the next receive.
    fn tick(&self) -> Duration {
        // Without decoder threads no event arrives.
        if matches!(self.decoders.shortage(), Some((0, _))) { Duration::from_millis(1) } else { TICK }
    }

    fn completed(&mut self, clips: usize) {
        self.in_flight -= 1;
        self.permits.release(clips);
    }

    fn accept(&mut self, clip: ClipOutput) {
        let Some(file) = self.files.get_mut(&clip.index) else { return };
        file.waiting -= 1;
        file.silent += usize::from(clip.stats.get(2).is_some_and(|&deviation| deviation < SILENCE_DB));
        match check_finite(&clip.result, &clip.stats) {
            Ok(()) => file.clips.push(clip.result),
            Err(error) => file.failure = Some(error),
        }
    }

    fn fail(&mut self, indices: Vec<usize>, error: &Arc<Error>) {
        for index in indices {
            let Some(file) = self.files.get_mut(&index) else { continue };
            file.waiting -= 1;
            file.failure = Some(Error::Batch(error.clone()));
        }
    }

    /// Replaces stalled decoder threads; their sources fail.
    fn replace_stalled(&mut self) {
        let timeout_s = self.tagger.decoding.decoder_timeout.as_secs();
        for index in self.decoders.replace_stalled() {
            self.end(index, Err(Error::DecoderTimeout { timeout_s }));
        }
    }

    /// Submits the pending batch if it is complete.
    fn submit_if_full(&mut self) {
        let full = self.pending.len() >= self.tagger.max_batch();
        match self.tagger.grouping {
            Grouping::Free | Grouping::Clips(_) if full => self.submit_pending(),
            // The batch is too large, and a part of it would have other scores than the whole.
            Grouping::Call if self.pending.len() > self.tagger.max_batch() => {
                self.rejected += self.pending.len();
                self.submit_pending();
            }
            _ => {}
        }
    }

    /// True if the pipeline is stalled: the oldest source only waits for clips of the partial batch, and back-pressure
    /// blocks further reads.
    fn is_stalled(&self, window: &SourceWindow) -> bool {
        let waits = self.files.get(&self.next).is_some_and(|file| file.info.is_some() && file.waiting > 0);
        waits && self.in_flight == 0 && self.decoded >= self.next.saturating_add(window.window())
    }

    /// Submits the pending clips as one batch.
    fn submit_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.pending);
        if self.rejected > 0 {
            let most = self.tagger.max_batch();
            let error = Arc::new(self.tagger.engines[0].too_many(self.rejected.max(most + 1)));
            self.permits.release(batch.len());
            return self.fail(batch.into_iter().map(|(index, _)| index).collect(), &error);
        }
        self.in_flight += 1;
        self.batches.push(batch);
    }

    /// Delivers finished sources in order.
    fn deliver(&mut self, window: &SourceWindow) {
        while self.files.get(&self.next).is_some_and(FileState::is_done) {
            let Some(file) = self.files.remove(&self.next) else { return };
            (self.each)(self.next, track(self.tagger, file));
            self.next += 1;
            window.finish(self.next);
        }
    }

    /// Ends after a cancellation: waits for batches in flight and delivers finished sources, even after an unfinished
    /// one.
    fn stop(mut self, event: Option<Event>, receiver: &Receiver<Event>, window: &SourceWindow) {
        window.close();
        self.permits.close();
        self.in_flight -= self.batches.clear().len();
        event.into_iter().for_each(|event| self.handle_last(event));
        while self.in_flight > 0 {
            let Ok(event) = receiver.recv() else { break };
            self.handle_last(event);
        }
        for (index, file) in std::mem::take(&mut self.files) {
            if file.is_done() && !matches!(file.info, Some(Err(Error::Cancelled))) {
                (self.each)(index, track(self.tagger, file));
            }
        }
    }

    fn handle_last(&mut self, event: Event) {
        match event {
            Event::Decoded(thread, DecodeEvent::Clip(index, _)) => {
                if self.decoders.is_current(thread) {
                    self.files.entry(index).or_default().waiting += 1;
                }
            }
            event => self.handle(event),
        }
    }
}

impl FileState {
    fn is_done(&self) -> bool {
        self.info.is_some() && self.waiting == 0
    }
}

/// Assembles the result of a track.
fn track(tagger: &Tagger, file: FileState) -> Result<Track, Error> {
    let info = file.info.unwrap_or(Err(Error::Cancelled))?;
    if let Some(failure) = file.failure {
        return Err(failure);
    }
    let mut warnings = info.warnings;
    // The decoder may have warned already.
    if file.silent > 0 && !warnings.iter().any(|warning| warning == "silent") {
        warnings.push(match file.clips.len() {
            1 => "silent".to_string(),
            clips => format!("silent in {} of {clips} clips", file.silent),
        });
    }
    // Batches may complete out of order.
    let mut clips = file.clips;
    clips.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    let rows =
        |row: fn(&ClipResult) -> &Vec<f32>| clips.iter().map(|clip| row(clip).clone()).collect::<Vec<_>>();
    Ok(Track {
        scores: tagger.aggregation.apply(&rows(|clip| &clip.scores)),
        embedding: tagger.aggregation.apply(&rows(|clip| &clip.embedding)),
        tap: tagger.aggregation.apply(&rows(|clip| &clip.tap)),
        track_s: info.track_s,
        decoder: info.decoder,
        warnings,
        clips,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::models::{self, crnn};
    use crate::tagger::decode;
    use crate::tagger::{Device, TaggerBuilder};
    use crate::tags::Vocabulary;
    use crate::test_cases::fill_weight;
    use crate::weights::Weights;

    /// Makes a tagger whose decoder threads are started by `spawn`.
    fn tagger(builder: TaggerBuilder, spawn: decode::Spawn) -> Tagger {
        let mut model = models::find(models::DEFAULT).unwrap();
        model.architecture = Box::new(crnn::Config::tiny());
        let specs = model.architecture.tensors();
        let filled = specs
            .iter()
            .enumerate()
            .map(|(seed, spec)| (spec.name.clone(), fill_weight(&spec.name, spec.shape, seed)));
        let labels = Vocabulary::parse("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk").unwrap();
        let mut tagger = builder.labels(labels).build_from(model, &Weights::from_tensors(filled)).unwrap();
        Arc::get_mut(&mut tagger.decoding).unwrap().spawn = spawn;
        tagger
    }

    fn quiet() -> Source {
        Source::samples(vec![0.1; 9000], 12_000)
    }

    /// A reader that blocks forever.
    struct Hangs;

    impl Read for Hangs {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            thread::sleep(Duration::from_secs(3600));
            Ok(0)
        }
    }

    #[test]
    fn fewer_decoder_threads_than_requested_do_the_work() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let spawn: decode::Spawn = |builder, work| match STARTED.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => decode::spawn(builder, work),
            _ => Err(io::Error::other("no more")),
        };
        let tagger = tagger(Tagger::builder().device(Device::None).decode_threads(4), spawn);
        let results = tagger.tag_batch((0..100).map(|_| quiet()));
        assert!(results.iter().all(Result::is_ok));
        let warnings = tagger.take_warnings().join("\n");
        assert!(warnings.contains("only 2 of 4 decoder threads could be started: no more"), "{warnings}");
    }

    #[test]
    fn sources_fail_when_a_stalled_thread_cannot_be_replaced() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let spawn: decode::Spawn = |builder, work| match STARTED.fetch_add(1, Ordering::Relaxed) {
            0 => decode::spawn(builder, work),
            _ => Err(io::Error::other("no more")),
        };
        let builder = Tagger::builder().device(Device::None).decode_threads(1);
        let tagger = tagger(builder.decoder_timeout(Duration::from_millis(50)), spawn);
        // More sources than the window holds.
        let sources = [quiet(), Source::reader(Hangs)].into_iter().chain((0..300).map(|_| quiet()));
        let results = tagger.tag_batch(sources);
        assert!(results[0].is_ok(), "{:?}", results[0]);
        assert!(matches!(results[1], Err(Error::DecoderTimeout { .. })), "{:?}", results[1]);
        for result in &results[2..] {
            assert!(matches!(result, Err(Error::Threads { what: "decoding", .. })), "{result:?}");
        }
    }

    /// Set in the child process, in which threads with the default stack size cannot be started.
    const CHILD: &str = "TAGWAVE_TEST_WITHOUT_MODEL_THREADS";

    #[test]
    fn sources_fail_when_the_model_has_no_thread() {
        if std::env::var_os(CHILD).is_none() {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            let name = "tagger::batch::tests::sources_fail_when_the_model_has_no_thread";
            child.args(["--exact", name, "--test-threads=1", "--nocapture"]).env(CHILD, "1");
            let output = child.env("RUST_MIN_STACK", (1usize << 46).to_string()).output().unwrap();
            let said =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert!(output.status.success() && said[0].contains("5 errors"), "{said:?}");
            return;
        }
        let spawn: decode::Spawn = |builder, work| decode::spawn(builder.stack_size(1 << 20), work);
        let tagger = tagger(Tagger::builder().device(Device::None), spawn);
        let results = tagger.tag_batch((0..5).map(|_| quiet()));
        let is_right =
            |result: &Result<Track, Error>| matches!(result, Err(Error::Threads { what: "the model", .. }));
        assert!(results.iter().all(is_right), "{results:?}");
        println!("{} errors", results.len());
    }
}
