//! Many sources at once: decoded on several threads, run in batches of clips, given back in order.
//!
//! ```text
//! sources -> feeder -> decoding threads -> collector -> one thread per device -> collector -> the caller
//! ```

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::decode::{Decoded, Decoders, Ending, Room};
use super::runner::{self, Batch, Feed, IN_FLIGHT, Ran};
use super::{ClipResult, Grouping, Tagger, Track, check};
use crate::audio::Source;
use crate::error::Error;

/// Sources that may be ahead of the oldest unfinished one, or more where a batch is large: bounds what waits
/// for its turn.
const LEAST_WINDOW: usize = 64;
/// A spectrogram whose values deviate less than this, in dB, is silence.
const SILENCE_DB: f32 = 1e-5;
/// How often the collector looks around when nothing happens.
const TICK: Duration = Duration::from_millis(250);

/// What the collector hears.
pub(super) enum Message {
    /// From decoding thread `.0`.
    Decoded(usize, Decoded),
    /// There are so many sources.
    Fed(usize),
    Ran(Vec<Ran>),
    /// A batch with clips of these sources failed as a whole.
    Failed(Vec<usize>, Arc<Error>),
}

/// How far sources were taken and given back.
struct Progress {
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    /// Sources that were given back.
    finished: usize,
    is_closed: bool,
    /// Sources that may be ahead of the oldest unfinished one.
    window: usize,
}

impl Progress {
    fn new(window: usize) -> Progress {
        Progress { state: Mutex::new(State { finished: 0, is_closed: false, window }), moved: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
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

    /// Lets `sources` more be ahead of the oldest unfinished one.
    fn widen(&self, sources: usize) {
        let mut state = self.lock();
        state.window = state.window.saturating_add(sources);
        self.moved.notify_all();
    }

    /// Waits until source `index` is not too far ahead; `false` once nothing more is wanted.
    fn wait_for(&self, index: usize) -> bool {
        let mut state = self.lock();
        while !state.is_closed && index >= state.finished.saturating_add(state.window) {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_closed
    }
}

/// Ends everything however the collector ends, a panic of the caller's among the ways.
struct Closing<'a> {
    progress: &'a Progress,
    feed: &'a Feed,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.progress.close();
        self.feed.clear();
    }
}

/// Calls `each` with the result of every source, in order.
pub(super) fn run<I: Iterator<Item = Source> + Send>(
    tagger: &Tagger,
    sources: I,
    mut each: impl FnMut(usize, Result<Track, Error>),
) {
    // Taken by the thread that hands them out, once there is one.
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

/// [`run`] where all threads can be started; otherwise says for what one could not, before any source is taken.
fn run_threads<I: Iterator<Item = Source> + Send>(
    tagger: &Tagger,
    sources: &Mutex<Option<I>>,
    each: impl FnMut(usize, Result<Track, Error>),
) -> Result<(), (&'static str, io::Error)> {
    let lock = || sources.lock().unwrap_or_else(PoisonError::into_inner);
    let most = lock().as_ref().and_then(|sources| sources.size_hint().1);
    let batch = tagger.max_batch();
    let window = match tagger.grouping {
        // The batch ends with the call; what does not fit the device is refused as it comes.
        Grouping::Call => usize::MAX,
        _ => LEAST_WINDOW.max(4 * batch),
    };
    let progress = Progress::new(window);
    // Clips that depend on each other are batched in the order of their sources: one thread keeps it.
    let threads = match tagger.grouping {
        Grouping::Free => tagger.decode_threads.min(most.unwrap_or(usize::MAX)).max(1),
        Grouping::Clips(_) | Grouping::Call => 1,
    };
    let feed = Feed::default();
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        let (jobs, waiting) = channel();
        let room = Room::new(batch * (IN_FLIGHT * tagger.engines.len() + 2));
        // Dropped first, whatever happens: all other threads end by it.
        let decoders = Decoders::start(
            tagger.decoding.clone(),
            Arc::new(Mutex::new(waiting)),
            room.clone(),
            sender.clone(),
            Message::Decoded,
            threads,
        );
        let _closing = Closing { progress: &progress, feed: &feed };
        if let Some((0, reason)) = decoders.shortage() {
            return Err(("decoding", io::Error::other(reason)));
        }
        for engine in &tagger.engines {
            let (sender, feed) = (sender.clone(), &feed);
            let work = move || runner::run(tagger, engine, feed, &sender);
            thread::Builder::new().spawn_scoped(scope, work).map_err(|error| ("the model", error))?;
        }
        let fed = sender.clone();
        let progress = &progress;
        let work = move || {
            let sources = sources.lock().unwrap_or_else(PoisonError::into_inner).take();
            let count = sources.map_or(0, |sources| feed_sources(sources, progress, &jobs));
            // Nobody listens when the collector is gone.
            let _ = fed.send(Message::Fed(count));
        };
        thread::Builder::new().spawn_scoped(scope, work).map_err(|error| ("the list of sources", error))?;
        if let Some((started, reason)) = decoders.shortage() {
            tagger.notes.add(format!("{started} threads decode instead of {threads}: {reason}"));
        }
        let collector = Collector {
            tagger,
            decoders,
            room: &room,
            feed: &feed,
            files: BTreeMap::new(),
            pending: Vec::new(),
            refused: 0,
            flying: 0,
            decoded: 0,
            total: None,
            next: 0,
            each,
        };
        collector.collect(&receiver, progress);
        Ok(())
    })
}

/// Hands sources to the decoding threads, none too far ahead, and returns how many there were.
fn feed_sources(
    sources: impl Iterator<Item = Source>,
    progress: &Progress,
    jobs: &Sender<(usize, Source)>,
) -> usize {
    let mut sources = sources;
    let mut count = 0;
    while progress.wait_for(count) {
        let Some(source) = sources.next() else { break };
        if jobs.send((count, source)).is_err() {
            break;
        }
        count += 1;
    }
    count
}

/// A source on its way.
#[derive(Default)]
struct File {
    clips: Vec<ClipResult>,
    /// Clips that were read and have not been run.
    waiting: usize,
    silent: usize,
    ending: Option<Result<Ending, Error>>,
    failure: Option<Error>,
}

/// Gathers clips into batches and results into tracks.
struct Collector<'a, F> {
    tagger: &'a Tagger,
    decoders: Decoders<Message>,
    room: &'a Room,
    feed: &'a Feed,
    files: BTreeMap<usize, File>,
    pending: Batch,
    /// Clips of one call's batch that the device cannot take with the others.
    refused: usize,
    /// Batches that were handed on and have not come back.
    flying: usize,
    /// Sources that were read to their end.
    decoded: usize,
    /// Number of sources, once known.
    total: Option<usize>,
    next: usize,
    each: F,
}

impl<F: FnMut(usize, Result<Track, Error>)> Collector<'_, F> {
    fn collect(mut self, receiver: &Receiver<Message>, progress: &Progress) {
        let mut looked = Instant::now();
        while self.total.is_none_or(|total| self.next < total) {
            let message = receiver.recv_timeout(self.tick());
            if self.tagger.decoding.cancel.is_cancelled() {
                return self.stop(message.ok(), receiver, progress);
            }
            let idle = match message {
                Ok(message) => {
                    self.take(message);
                    false
                }
                Err(RecvTimeoutError::Timeout) => true,
                // Cannot be: the decoders hold a sender.
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if idle || looked.elapsed() > TICK {
                looked = Instant::now();
                self.give_up_hung();
            }
            for (index, error) in self.decoders.refused() {
                self.end(index, Err(error));
            }
            // A source may wait for the rest of its batch only as long as others are still read.
            let free = self.tagger.grouping == Grouping::Free;
            if self.total == Some(self.decoded) || free && (self.stuck(progress) || idle && self.flying == 0)
            {
                self.run_pending();
            } else if self.stuck(progress) {
                // A batch of neighbours must not be cut: what fills it lies further ahead, behind sources that failed.
                progress.widen(LEAST_WINDOW);
            }
            self.give(progress);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Decoded(thread, decoded) => match decoded {
                Decoded::Clip(..) if !self.decoders.employs(thread) => self.room.give_back(1),
                Decoded::Done(..) if !self.decoders.employs(thread) => {}
                Decoded::Clip(index, clip) => {
                    self.files.entry(index).or_default().waiting += 1;
                    self.pending.push((index, clip));
                    self.run_full();
                }
                Decoded::Done(index, ending) => self.end(index, ending),
            },
            Message::Fed(total) => self.total = Some(total),
            Message::Ran(clips) => {
                self.landed(clips.len());
                clips.into_iter().for_each(|clip| self.keep(clip));
            }
            Message::Failed(indices, error) => {
                self.landed(indices.len());
                self.fail(indices, &error);
            }
        }
    }

    /// A source was read to its end, or never will be.
    fn end(&mut self, index: usize, ending: Result<Ending, Error>) {
        self.decoded += 1;
        self.files.entry(index).or_default().ending = Some(ending);
    }

    /// How long to wait for a message.
    fn tick(&self) -> Duration {
        // Without a decoding thread nobody sends one.
        if matches!(self.decoders.shortage(), Some((0, _))) { Duration::from_millis(1) } else { TICK }
    }

    fn landed(&mut self, clips: usize) {
        self.flying -= 1;
        self.room.give_back(clips);
    }

    fn keep(&mut self, clip: Ran) {
        let Some(file) = self.files.get_mut(&clip.index) else { return };
        file.waiting -= 1;
        file.silent += usize::from(clip.stats.get(2).is_some_and(|&deviation| deviation < SILENCE_DB));
        match check(&clip.result, &clip.stats) {
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

    /// Sources whose decoder hangs have failed; what was read of them does not count.
    fn give_up_hung(&mut self) {
        let patience_s = self.tagger.decoding.patience.as_secs();
        for index in self.decoders.abandon_hung() {
            self.end(index, Err(Error::Hung { patience_s }));
        }
    }

    /// Runs the batch if it is complete.
    fn run_full(&mut self) {
        let full = self.pending.len() >= self.tagger.max_batch();
        match self.tagger.grouping {
            Grouping::Free | Grouping::Clips(_) if full => self.run_pending(),
            // One clip too many: no part of the batch would get the tags that the whole would.
            Grouping::Call if self.pending.len() > self.tagger.max_batch() => {
                self.refused += self.pending.len();
                self.run_pending();
            }
            _ => {}
        }
    }

    /// Whether the oldest source waits for clips of this batch alone, and no other may be read before it is done.
    fn stuck(&self, progress: &Progress) -> bool {
        let waits = self.files.get(&self.next).is_some_and(|file| file.ending.is_some() && file.waiting > 0);
        waits && self.flying == 0 && self.decoded >= self.next.saturating_add(progress.window())
    }

    /// Hands the clips that are waiting to a device.
    fn run_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.pending);
        if self.refused > 0 {
            let most = self.tagger.max_batch();
            let error = Arc::new(self.tagger.engines[0].too_many(self.refused.max(most + 1)));
            self.room.give_back(batch.len());
            return self.fail(batch.into_iter().map(|(index, _)| index).collect(), &error);
        }
        self.flying += 1;
        self.feed.put(batch);
    }

    /// Gives away every finished source whose turn it is.
    fn give(&mut self, progress: &Progress) {
        while self.files.get(&self.next).is_some_and(File::is_done) {
            let Some(file) = self.files.remove(&self.next) else { return };
            (self.each)(self.next, track(self.tagger, file));
            self.next += 1;
            progress.finish(self.next);
        }
    }

    /// After a cancellation nothing new is begun: what is on a device is waited for and given away, also where
    /// an older source is not done.
    fn stop(mut self, message: Option<Message>, receiver: &Receiver<Message>, progress: &Progress) {
        progress.close();
        self.room.close();
        self.flying -= self.feed.clear().len();
        message.into_iter().for_each(|message| self.take_last(message));
        while self.flying > 0 {
            let Ok(message) = receiver.recv() else { break };
            self.take_last(message);
        }
        for (index, file) in std::mem::take(&mut self.files) {
            if file.is_done() && !matches!(file.ending, Some(Err(Error::Cancelled))) {
                (self.each)(index, track(self.tagger, file));
            }
        }
    }

    fn take_last(&mut self, message: Message) {
        match message {
            Message::Decoded(thread, Decoded::Clip(index, _)) => {
                if self.decoders.employs(thread) {
                    self.files.entry(index).or_default().waiting += 1;
                }
            }
            message => self.take(message),
        }
    }
}

impl File {
    fn is_done(&self) -> bool {
        self.ending.is_some() && self.waiting == 0
    }
}

/// A track from all that was gathered of it.
fn track(tagger: &Tagger, file: File) -> Result<Track, Error> {
    let ending = file.ending.unwrap_or(Err(Error::Cancelled))?;
    if let Some(failure) = file.failure {
        return Err(failure);
    }
    let mut warnings = ending.warnings;
    // The samples may have told it already.
    if file.silent > 0 && !warnings.iter().any(|warning| warning == "silent") {
        warnings.push(match file.clips.len() {
            1 => "silent".to_string(),
            clips => format!("silent in {} of {clips} clips", file.silent),
        });
    }
    // Batches may come back in another order than they went.
    let mut clips = file.clips;
    clips.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    let rows =
        |row: fn(&ClipResult) -> &Vec<f32>| clips.iter().map(|clip| row(clip).clone()).collect::<Vec<_>>();
    Ok(Track {
        scores: tagger.aggregation.apply(&rows(|clip| &clip.scores)),
        embedding: tagger.aggregation.apply(&rows(|clip| &clip.embedding)),
        tap: tagger.aggregation.apply(&rows(|clip| &clip.tap)),
        track_s: ending.track_s,
        decoder: ending.decoder,
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

    /// A tagger whose decoding threads are started by `spawn`.
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

    /// A reader that does not come back while a test runs.
    struct Hangs;

    impl Read for Hangs {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            thread::sleep(Duration::from_secs(3600));
            Ok(0)
        }
    }

    #[test]
    fn fewer_threads_than_wanted_do_the_work() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let spawn: decode::Spawn = |builder, work| match STARTED.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => decode::spawn(builder, work),
            _ => Err(io::Error::other("no more")),
        };
        let tagger = tagger(Tagger::builder().device(Device::None).decode_threads(4), spawn);
        let results = tagger.tag_batch((0..100).map(|_| quiet()));
        assert!(results.iter().all(Result::is_ok));
        let notes = tagger.take_notes().join("\n");
        assert!(notes.contains("2 threads decode instead of 4: no more"), "{notes}");
    }

    #[test]
    fn sources_fail_when_no_thread_replaces_one_that_hangs() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let spawn: decode::Spawn = |builder, work| match STARTED.fetch_add(1, Ordering::Relaxed) {
            0 => decode::spawn(builder, work),
            _ => Err(io::Error::other("no more")),
        };
        let builder = Tagger::builder().device(Device::None).decode_threads(1);
        let tagger = tagger(builder.patience(Duration::from_millis(50)), spawn);
        // More than may be ahead of the oldest one.
        let sources = [quiet(), Source::reader(Hangs)].into_iter().chain((0..300).map(|_| quiet()));
        let results = tagger.tag_batch(sources);
        assert!(results[0].is_ok(), "{:?}", results[0]);
        assert!(matches!(results[1], Err(Error::Hung { .. })), "{:?}", results[1]);
        for result in &results[2..] {
            assert!(matches!(result, Err(Error::Threads { what: "decoding", .. })), "{result:?}");
        }
    }

    /// Set for the process in which no thread of the default size can be started: no stack is so large.
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
