//! The audio thread's calls of a stream allocate and free nothing.
#![cfg(all(feature = "cpu", feature = "small"))]

#[path = "common/allocations.rs"]
mod allocations;

use allocations::{COUNT, LIVE};
use tagwave::tagger::{Device, StreamConfig, Tagger};

#[test]
fn the_audio_thread_allocates_nothing() {
    let tagger = Tagger::builder().device(Device::Cpu).build().unwrap();
    let (mut input, stream) = tagger.stream(StreamConfig::new(48_000, 2).hop_s(0.05)).unwrap();
    let worker = stream.spawn().unwrap();
    let (samples, integers, channel) = ([0.1; 1024], [99; 1024], [0.2; 512]);
    let before = (COUNT.get(), LIVE.get());
    for _block in 0..2_000 {
        // More than fits at times: overruns allocate nothing either.
        input.push_interleaved(&samples);
        input.push_interleaved_i16(&integers);
        input.push_planar(&[&channel, &channel]);
        input.reset();
    }
    let overrun = input.overrun_frames();
    assert_eq!((COUNT.get(), LIVE.get()), before);
    assert!(overrun > 0 && input.free_frames() <= 4 * 48_000);
    // The counters count.
    let vector = std::hint::black_box(vec![0u8; 9]);
    assert_eq!((COUNT.get(), LIVE.get()), (before.0 + 1, before.1 + 9));
    drop((vector, worker));
}
