//! Device threads, one per device: batches in, results out, some batches in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use super::super::Tagger;
use super::super::clips::{self, ClipBatch, SubmittedClip};
use super::super::engine::{Engine, PendingBatch};
use super::event::Event;

/// Runs batches on a device until the queue is closed.
pub(super) fn run(tagger: &Tagger, engine: &Engine, batches: &Receiver<ClipBatch>, sender: &Sender<Event>) {
    let stats = &tagger.decoding.stats;
    let mut in_flight: VecDeque<(Vec<SubmittedClip>, PendingBatch)> = VecDeque::new();
    loop {
        while in_flight.len() < engine.in_flight() {
            let waits = Instant::now();
            let batch = if in_flight.is_empty() { batches.recv().ok() } else { batches.try_recv().ok() };
            stats.add(|times| times.model_waits += waits.elapsed());
            let Some(batch) = batch else { break };
            let start = Instant::now();
            let request = &tagger.decoding.request;
            let (clips, inputs) = match clips::stack(batch, request.rate_hz, request.length_samples) {
                Ok(stacked) => stacked,
                Err((clips, error)) => {
                    if sender.send(failed(&clips, error)).is_err() {
                        return;
                    }
                    continue;
                }
            };
            let count = clips.len() as u64;
            in_flight.push_back((clips, engine.submit(inputs)));
            stats.add(|times| {
                // Executors with one batch in flight may run it in the call.
                if engine.in_flight() > 1 {
                    times.upload += start.elapsed();
                } else {
                    times.model += start.elapsed();
                }
                times.batches += 1;
                times.clips += count;
            });
        }
        let Some((clips, batch)) = in_flight.pop_front() else { return };
        let start = Instant::now();
        let event = match engine.wait(batch) {
            Ok(outputs) => {
                let (tensors, device) = (&outputs.tensors, &outputs.device);
                let tap = tagger.tap.as_deref();
                Event::Completed(clips::split(engine.plan(), tap, &clips, tensors, device))
            }
            Err(error) => failed(&clips, error),
        };
        stats.add(|times| times.model += start.elapsed());
        if sender.send(event).is_err() {
            return;
        }
    }
}

fn failed(clips: &[SubmittedClip], error: crate::error::Error) -> Event {
    Event::Failed(clips.iter().map(|clip| clip.index).collect(), Arc::new(error))
}
