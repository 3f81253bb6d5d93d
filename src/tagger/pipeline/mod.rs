//! Pipeline for many sources: decoded on several threads, run in batches of clips, delivered in order.
//!
//! ```text
//! sources -> feeder -> decoder threads -> batcher -> device threads -> assembler -> caller
//! ```
//!
//! Batcher and assembler run on the calling thread. Stages are joined by channels; back-pressure comes from two
//! channels of tokens: one token per source that may be ahead of the oldest unfinished one, one per clip in memory.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::Tagger;
use super::clips::ClipBatch;
use super::results::Track;
use super::warnings::TaggerWarning;
use crate::audio::Source;
use crate::cancel::CancelToken;
use crate::error::{Cause, Error};
use assembler::Assembler;
use batcher::Batcher;
use decoders::Decoders;
use event::{DecodeEvent, Event};
use tokens::Tokens;

mod assembler;
mod batcher;
pub(super) mod decoders;
mod device;
mod event;
mod tokens;
mod watchdog;

/// Minimum number of sources that may be read ahead of the oldest unfinished one; bounds the number of results that
/// wait for delivery.
const MIN_WINDOW: usize = 64;
/// Interval at which stalled decoders are looked for.
const TICK: Duration = Duration::from_millis(250);
/// Number of batches per device for which clips may be in memory: one computes, another is uploaded or read back.
const BATCHES_PER_DEVICE: usize = 2;

/// Processes all sources and calls `each` with the result of every source, in order.
pub(super) fn run<I: Iterator<Item = Source> + Send>(
    tagger: &Tagger,
    sources: I,
    cancel: &CancelToken,
    mut each: impl FnMut(usize, Result<Track, Error>),
) {
    // Taken by the feeder thread.
    let sources = Mutex::new(Some(sources));
    let Err((what, error)) = run_threads(tagger, &sources, cancel, &mut each) else { return };
    let sources = sources.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (index, _) in sources.into_iter().flatten().enumerate() {
        if cancel.is_cancelled() {
            return;
        }
        each(index, Err(Cause::Threads { what, reason: error.to_string() }.into()));
    }
}

/// Runs the pipeline. If a thread cannot be started, returns its purpose and the error before any source is taken.
fn run_threads<I: Iterator<Item = Source> + Send>(
    tagger: &Tagger,
    sources: &Mutex<Option<I>>,
    cancel: &CancelToken,
    each: impl FnMut(usize, Result<Track, Error>),
) -> Result<(), (&'static str, io::Error)> {
    let lock = || sources.lock().unwrap_or_else(PoisonError::into_inner);
    let most = lock().as_ref().and_then(|sources| sources.size_hint().1);
    let batch = tagger.max_batch();
    let threads = tagger.decode_threads.min(most.unwrap_or(usize::MAX)).max(1);
    let window = MIN_WINDOW.max(4 * batch);
    thread::scope(|scope| {
        let (sender, receiver) = unbounded();
        let (queue, waiting) = unbounded();
        let (batches, submitted) = unbounded::<ClipBatch>();
        // The collector owns these ends and drops them, also when unwinding: then all other threads end.
        let (sources_ahead, window_tokens) = Tokens::new(window);
        let (clips_in_memory, clip_tokens) =
            Tokens::new(batch * (BATCHES_PER_DEVICE * tagger.engines.len() + 2));
        let decoders = Decoders::start(
            tagger.decoding.clone(),
            cancel.clone(),
            waiting,
            clip_tokens,
            sender.clone(),
            threads,
        );
        if let Some((0, reason)) = decoders.shortage() {
            return Err(("decoding", io::Error::other(reason)));
        }
        for engine in &tagger.engines {
            let (sender, submitted) = (sender.clone(), submitted.clone());
            let work = move || device::run(tagger, engine, &submitted, &sender);
            thread::Builder::new().spawn_scoped(scope, work).map_err(|error| ("the model", error))?;
        }
        let fed = sender;
        let work = move || {
            let sources = sources.lock().unwrap_or_else(PoisonError::into_inner).take();
            let count = sources.map_or(0, |sources| queue_sources(sources, &window_tokens, &queue));
            // Fails if the calling thread has ended.
            let _ = fed.send(Event::Fed(count));
        };
        thread::Builder::new().spawn_scoped(scope, work).map_err(|error| ("the list of sources", error))?;
        if let Some((started, reason)) = decoders.shortage() {
            let reason = reason.to_string();
            tagger.warnings.add(TaggerWarning::FewerThreads { started, wanted: threads, reason });
        }
        let collector = Collector {
            decoders,
            sources_ahead,
            window,
            clips_in_memory,
            batcher: Batcher::new(batch),
            batches,
            submitted,
            in_flight: 0,
            assembler: Assembler::new(tagger.aggregation),
            total: None,
            decoder_timeout: tagger.decoding.decoder_timeout,
            cancel,
            each,
        };
        collector.collect(&receiver);
        Ok(())
    })
}

/// Sends sources to the decoder threads, one for each token, and returns their number.
fn queue_sources(
    mut sources: impl Iterator<Item = Source>,
    window: &tokens::Taker,
    queue: &Sender<(usize, Source)>,
) -> usize {
    let mut count = 0;
    while window.take() {
        let Some(source) = sources.next() else { break };
        if queue.send((count, source)).is_err() {
            break;
        }
        count += 1;
    }
    count
}

/// The calling thread: clips to batches, results to tracks.
struct Collector<'a, F> {
    decoders: Decoders,
    sources_ahead: Tokens,
    /// Number of sources that may be ahead of the oldest unfinished one.
    window: usize,
    clips_in_memory: Tokens,
    batcher: Batcher,
    batches: Sender<ClipBatch>,
    /// The other end of `batches`, to take back batches after a cancellation.
    submitted: Receiver<ClipBatch>,
    /// Number of batches in flight.
    in_flight: usize,
    assembler: Assembler,
    /// Total number of sources, once known.
    total: Option<usize>,
    decoder_timeout: Duration,
    cancel: &'a CancelToken,
    each: F,
}

impl<F: FnMut(usize, Result<Track, Error>)> Collector<'_, F> {
    fn collect(mut self, receiver: &Receiver<Event>) {
        let mut last_check = Instant::now();
        while self.total.is_none_or(|total| self.assembler.delivered() < total) {
            let event = receiver.recv_timeout(self.tick());
            if self.cancel.is_cancelled() {
                return self.stop(event.ok(), receiver);
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
                self.assembler.end(index, Err(error));
            }
            // A partial batch is submitted when no more clips can arrive for it.
            if self.total == Some(self.assembler.ended())
                || self.in_flight == 0 && (idle || self.is_stalled())
            {
                self.submit(None);
            }
            while let Some((index, result)) = self.assembler.next_done() {
                (self.each)(index, result);
                self.sources_ahead.put(1);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Decoded(thread, decoded) => match decoded {
                DecodeEvent::Clip(..) if !self.decoders.is_current(thread) => self.clips_in_memory.put(1),
                DecodeEvent::Done(..) if !self.decoders.is_current(thread) => {}
                DecodeEvent::Clip(index, clip) => {
                    self.assembler.expect(index);
                    let full = self.batcher.push(index, clip);
                    if full.is_some() {
                        self.submit(full);
                    }
                }
                DecodeEvent::Done(index, info) => self.assembler.end(index, info),
            },
            Event::Fed(total) => self.total = Some(total),
            Event::Completed(clips) => {
                self.completed(clips.len());
                clips.into_iter().for_each(|clip| self.assembler.accept(clip));
            }
            Event::Failed(indices, error) => {
                self.completed(indices.len());
                self.assembler.fail(&indices, &error);
            }
        }
    }

    /// Timeout of the next receive.
    fn tick(&self) -> Duration {
        // Without decoder threads no event arrives.
        if matches!(self.decoders.shortage(), Some((0, _))) { Duration::from_millis(1) } else { TICK }
    }

    fn completed(&mut self, clips: usize) {
        self.in_flight -= 1;
        self.clips_in_memory.put(clips);
    }

    /// Replaces stalled decoder threads; their sources fail.
    fn replace_stalled(&mut self) {
        let timeout_s = self.decoder_timeout.as_secs();
        for index in self.decoders.replace_stalled() {
            self.assembler.end(index, Err(Cause::DecoderTimeout { timeout_s }.into()));
        }
    }

    /// True if the pipeline is stalled: the oldest source only waits for clips of the partial batch, and back-pressure
    /// blocks further reads.
    fn is_stalled(&self) -> bool {
        let ahead = self.assembler.ended().saturating_sub(self.assembler.delivered());
        self.assembler.oldest_waits_for_results() && ahead >= self.window
    }

    /// Submits a full batch, or the partial one.
    fn submit(&mut self, full: Option<ClipBatch>) {
        if let Some(batch) = full.or_else(|| self.batcher.flush()) {
            self.in_flight += 1;
            // Cannot fail: this thread holds a receiver.
            let _ = self.batches.send(batch);
        }
    }

    /// Ends after a cancellation: waits for batches in flight and delivers finished sources, even after an unfinished
    /// one.
    fn stop(mut self, event: Option<Event>, receiver: &Receiver<Event>) {
        self.decoders.stop();
        self.in_flight -= self.submitted.try_iter().count();
        event.into_iter().for_each(|event| self.handle_last(event));
        while self.in_flight > 0 {
            let Ok(event) = receiver.recv() else { break };
            self.handle_last(event);
        }
        for (index, result) in self.assembler.take_done() {
            (self.each)(index, result);
        }
    }

    fn handle_last(&mut self, event: Event) {
        match event {
            Event::Decoded(thread, DecodeEvent::Clip(index, _)) => {
                if self.decoders.is_current(thread) {
                    self.assembler.expect(index);
                }
            }
            event => self.handle(event),
        }
    }
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Cause;
    use crate::lab::synthetic_weights;
    use crate::models::{Model, crnn};
    use crate::tagger::pipeline::decoders;
    use crate::tagger::{Device, TaggerBuilder};
    use crate::tags::Vocabulary;

    /// Makes a tagger whose decoder threads are started by `spawn`.
    fn tagger(builder: TaggerBuilder, spawn: decoders::Spawn) -> Tagger {
        let labels = Vocabulary::parse("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk").unwrap();
        let model = Model::new("tiny", crnn::Config::tiny(), labels);
        let weights = synthetic_weights(model.architecture(), 0);
        let mut tagger = builder.build_from(model, &weights).unwrap();
        std::sync::Arc::get_mut(&mut tagger.decoding).unwrap().spawn = spawn;
        tagger
    }

    fn cause(result: &Result<Track, Error>) -> Option<&Cause> {
        result.as_ref().err().map(Error::cause)
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
        let spawn: decoders::Spawn = |builder, work| match STARTED.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => decoders::spawn(builder, work),
            _ => Err(io::Error::other("no more")),
        };
        let tagger = tagger(Tagger::builder().device(Device::None).decode_threads(4), spawn);
        let results = tagger.tag_batch((0..100).map(|_| quiet()));
        assert!(results.iter().all(Result::is_ok));
        let warnings = tagger.take_warnings();
        assert!(
            matches!(&*warnings, [TaggerWarning::FewerThreads { started: 2, wanted: 4, .. }]),
            "{warnings:?}"
        );
    }

    #[test]
    fn sources_fail_when_a_stalled_thread_cannot_be_replaced() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let spawn: decoders::Spawn = |builder, work| match STARTED.fetch_add(1, Ordering::Relaxed) {
            0 => decoders::spawn(builder, work),
            _ => Err(io::Error::other("no more")),
        };
        let builder = Tagger::builder().device(Device::None).decode_threads(1);
        let tagger = tagger(builder.decoder_timeout(Duration::from_millis(50)), spawn);
        // More sources than the window holds.
        let sources = [quiet(), Source::reader(Hangs)].into_iter().chain((0..300).map(|_| quiet()));
        let results = tagger.tag_batch(sources);
        assert!(results[0].is_ok(), "{:?}", results[0]);
        assert!(matches!(cause(&results[1]), Some(Cause::DecoderTimeout { .. })), "{:?}", results[1]);
        for result in &results[2..] {
            assert!(matches!(cause(result), Some(Cause::Threads { what: "decoding", .. })), "{result:?}");
        }
    }

    /// Set in the child process, in which threads with the default stack size cannot be started.
    const CHILD: &str = "TAGWAVE_TEST_WITHOUT_MODEL_THREADS";

    #[test]
    fn sources_fail_when_the_model_has_no_thread() {
        if std::env::var_os(CHILD).is_none() {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            let name = "tagger::pipeline::tests::sources_fail_when_the_model_has_no_thread";
            child.args(["--exact", name, "--test-threads=1", "--nocapture"]).env(CHILD, "1");
            let output = child.env("RUST_MIN_STACK", (1usize << 46).to_string()).output().unwrap();
            let said =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert!(output.status.success() && said[0].contains("5 errors"), "{said:?}");
            return;
        }
        let spawn: decoders::Spawn = |builder, work| decoders::spawn(builder.stack_size(1 << 20), work);
        let tagger = tagger(Tagger::builder().device(Device::None), spawn);
        let results = tagger.tag_batch((0..5).map(|_| quiet()));
        let is_right = |result: &Result<Track, Error>| {
            matches!(cause(result), Some(Cause::Threads { what: "the model", .. }))
        };
        assert!(results.iter().all(is_right), "{results:?}");
        println!("{} errors", results.len());
    }
}
