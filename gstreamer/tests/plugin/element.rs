//! The element by itself: formats, times, flushes, gaps, ends, settings.

use std::time::Duration;

use crate::common::{Tagged, Update, has_gstreamer, music, within};
use gst::ClockTime;
use gst::prelude::*;
use tagwave::tagger::{StreamConfig, Tagger};

fn ms(milliseconds: u64) -> ClockTime {
    ClockTime::from_mseconds(milliseconds)
}

/// Time of `seconds` after `start`, to the nanosecond that an update rounds to.
fn is_near(time: ClockTime, expected: ClockTime) -> bool {
    time.absdiff(expected) < ClockTime::from_useconds(100)
}

/// Scores of a stream of the library for the same samples.
fn expected(
    samples: &[f32],
    rate_hz: u32,
    channels: usize,
    config: impl Fn(StreamConfig) -> StreamConfig,
) -> Vec<Vec<f32>> {
    let tagger = Tagger::builder().device(tagwave::tagger::Device::Cpu).build().unwrap();
    let config = config(StreamConfig::new(rate_hz, channels).every_hop(true).buffer_s(60.0));
    let (mut input, stream) = tagger.stream(config).unwrap();
    assert_eq!(input.push_interleaved(samples), samples.len() / channels);
    drop(input);
    stream.spawn().unwrap().map(|update| update.unwrap().scores).collect()
}

fn sorted(scores: &[f32]) -> Vec<f32> {
    let mut scores = scores.to_vec();
    scores.sort_by(|a, b| b.total_cmp(a));
    scores
}

fn scores(update: &Update) -> Vec<f32> {
    update.tags.iter().map(|(_, score)| *score).collect()
}

#[test]
fn updates_have_the_scores_of_the_library() {
    if !has_gstreamer() {
        return;
    }
    let samples = music(3.3, 44_100, 2);
    let mut tagged = Tagged::new(&[("every-hop", &true), ("top", &50u32)], 44_100, 2);
    tagged.push(&samples, ClockTime::ZERO);
    let updates = tagged.end();
    let expected = expected(&samples, 44_100, 2, |config| config);
    assert_eq!((updates.len(), expected.len()), (3, 3));
    for (index, (update, expected)) in updates.iter().zip(&expected).enumerate() {
        assert_eq!(scores(update), sorted(expected));
        let end = ClockTime::from_seconds(index as u64 + 1);
        assert!(is_near(update.end, end) && is_near(update.heard, end) && update.start == ClockTime::ZERO);
        assert_eq!((update.is_silent, update.skipped, update.overruns), (false, 0, 0));
    }
}

#[test]
fn formats_have_the_same_scores() {
    if !has_gstreamer() {
        return;
    }
    // Values that 16 bits hold.
    let integers: Vec<i16> = music(1.0, 48_000, 3).iter().map(|sample| (sample * 32_767.0) as i16).collect();
    let floats: Vec<f32> = integers.iter().map(|&sample| f32::from(sample) / 32_768.0).collect();
    let mut tagged = Tagged::new(&[("every-hop", &true), ("top", &50u32)], 48_000, 3);
    tagged.push(&floats, ClockTime::ZERO);
    let interleaved = tagged.end();
    assert_eq!(interleaved.len(), 1);

    let mut tagged = Tagged::new(&[("every-hop", &true), ("top", &50u32)], 48_000, 3);
    tagged.set_format("S16LE", "interleaved", 48_000, 3);
    tagged.push_bytes(bytemuck::cast_slice(&integers).to_vec(), Some(ClockTime::ZERO)).unwrap();
    assert_eq!(tagged.end(), interleaved);

    let mut tagged = Tagged::new(&[("every-hop", &true), ("top", &50u32)], 48_000, 3);
    tagged.set_format("F32LE", "non-interleaved", 48_000, 3);
    for block in floats.chunks(3 * 4800) {
        let planes: Vec<f32> =
            (0..3).flat_map(|channel| block.iter().skip(channel).step_by(3).copied()).collect();
        let mut buffer = gst::Buffer::from_slice(bytemuck::cast_slice(&planes).to_vec());
        let info = gst_audio::AudioInfo::builder(gst_audio::AUDIO_FORMAT_F32, 48_000, 3)
            .layout(gst_audio::AudioLayout::NonInterleaved)
            .positions(&[gst_audio::AudioChannelPosition::None; 3])
            .build()
            .unwrap();
        gst_audio::AudioMeta::add(buffer.make_mut(), &info, block.len() / 3, &[]).unwrap();
        assert_eq!(tagged.harness.push(buffer), Ok(gst::FlowSuccess::Ok));
    }
    assert_eq!(tagged.end(), interleaved);
}

#[test]
fn samples_need_not_be_aligned() {
    if !has_gstreamer() {
        return;
    }
    let samples = music(1.0, 8000, 1);
    let mut tagged = Tagged::new(&[("every-hop", &true)], 8000, 1);
    tagged.push(&samples, ClockTime::ZERO);
    let aligned = tagged.end();
    let mut tagged = Tagged::new(&[("every-hop", &true)], 8000, 1);
    let mut bytes = vec![0];
    bytes.extend_from_slice(bytemuck::cast_slice(&samples));
    let whole = gst::Buffer::from_slice(bytes);
    let part = whole.copy_region(gst::BufferCopyFlags::MEMORY, 1..).unwrap();
    assert_eq!(tagged.harness.push(part), Ok(gst::FlowSuccess::Ok));
    assert_eq!(tagged.end(), aligned);
}

#[test]
fn the_end_comes_after_the_last_update() {
    if !has_gstreamer() {
        return;
    }
    // Less than a hop.
    let mut tagged = Tagged::new(&[], 48_000, 2);
    tagged.push(&music(0.3, 48_000, 2), ms(5000));
    let updates = tagged.end();
    assert_eq!(updates.len(), 1);
    assert!(updates[0].start == ms(5000) && is_near(updates[0].end, ms(5300)));
    assert!(is_near(updates[0].heard, ms(300)));
    // None at all.
    let mut tagged = Tagged::new(&[], 48_000, 2);
    assert!(tagged.end().is_empty());
    // Twice, with audio after it, as a new stream.
    assert!(
        tagged.push_event(gst::event::FlushStart::new())
            && tagged.push_event(gst::event::FlushStop::new(true))
    );
    assert!(tagged.end().is_empty());
}

#[test]
fn the_tag_list_comes_before_the_end() {
    if !has_gstreamer() {
        return;
    }
    let tag_lists = |each_hop: bool| {
        let mut tagged =
            Tagged::new(&[("every-hop", &true), ("tags-each-hop", &each_hop), ("top", &50u32)], 48_000, 2);
        tagged.push(&music(4.0, 48_000, 2), ClockTime::ZERO);
        let updates = tagged.end();
        let events: Vec<_> = std::iter::from_fn(|| tagged.harness.try_pull_event()).collect();
        assert_eq!(events.last().map(|event| event.type_()), Some(gst::EventType::Eos));
        let lists: Vec<gst::TagList> = events
            .iter()
            .filter_map(|event| match event.view() {
                gst::EventView::Tag(tag) => Some(tag.tag_owned()),
                _ => None,
            })
            .collect();
        (updates, lists)
    };
    let (updates, lists) = tag_lists(false);
    assert_eq!((updates.len(), lists.len()), (4, 1));
    // Means, weighted by the audio heard: 1 to 4 s.
    let mean = |label: &str| {
        let of = |update: &Update| {
            update.tags.iter().find(|(found, _)| found == label).map_or(0.0, |tag| f64::from(tag.1))
        };
        updates.iter().zip(1..).map(|(update, heard_s)| f64::from(heard_s) * of(update)).sum::<f64>() / 10.0
    };
    for genre in lists[0].iter_tag::<gst::tags::Genre>() {
        let label = genre.get().to_lowercase();
        assert!(mean(&label) >= 0.2, "{label}: {}", mean(&label));
    }
    assert!(lists[0].n_tags() > 0);
    let (_, each) = tag_lists(true);
    assert!(each.len() > lists.len() && each.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(each.contains(&lists[0]));
}

#[test]
fn a_flush_begins_again() {
    if !has_gstreamer() {
        return;
    }
    let mut tagged = Tagged::new(&[("every-hop", &true), ("top", &50u32)], 48_000, 1);
    let samples = music(1.0, 48_000, 1);
    tagged.push(&music(2.7, 44_100, 1), ClockTime::ZERO);
    assert!(tagged.push_event(gst::event::FlushStart::new()));
    assert!(tagged.push_event(gst::event::FlushStop::new(true)));
    let before = tagged.updates();
    assert!(before.iter().all(|update| update.end < ms(2500)));
    let mut segment = gst::FormattedSegment::<ClockTime>::new();
    segment.set_start(ms(60_000));
    segment.set_time(ms(60_000));
    assert!(tagged.push_event(gst::event::Segment::new(&segment)));
    tagged.push(&samples, ms(60_000));
    let updates = tagged.end();
    assert_eq!(updates.len(), 1);
    assert!(updates[0].start == ms(60_000) && is_near(updates[0].end, ms(61_000)));
    assert_eq!(scores(&updates[0]), sorted(&expected(&samples, 48_000, 1, |config| config)[0]));
}

#[test]
fn times_are_those_of_the_media() {
    if !has_gstreamer() {
        return;
    }
    let mut tagged = Tagged::new(&[("every-hop", &true)], 48_000, 1);
    let mut segment = gst::FormattedSegment::<ClockTime>::new();
    segment.set_start(ms(100_000));
    segment.set_time(ms(7000));
    assert!(tagged.push_event(gst::event::Segment::new(&segment)));
    tagged.push(&music(1.0, 48_000, 1), ms(100_000));
    let updates = tagged.end();
    assert!(updates[0].start == ms(7000) && is_near(updates[0].end, ms(8000)));
}

#[test]
fn a_change_of_format_loses_nothing() {
    if !has_gstreamer() {
        return;
    }
    let mut tagged = Tagged::new(&[("every-hop", &true), ("top", &50u32)], 44_100, 2);
    let (first, second) = (music(1.7, 44_100, 2), music(1.0, 48_000, 1));
    tagged.push(&first, ClockTime::ZERO);
    tagged.set_format("F32LE", "interleaved", 48_000, 1);
    tagged.push(&second, ms(1700));
    let mut updates = tagged.end();
    updates.sort_by_key(|update| update.end);
    let ends: Vec<u64> = updates.iter().map(|update| (update.end + ms(1)).mseconds() / 100).collect();
    assert_eq!(ends, [10, 17, 27]);
    let expected =
        [expected(&first, 44_100, 2, |config| config), expected(&second, 48_000, 1, |config| config)]
            .concat();
    for (update, expected) in updates.iter().zip(&expected) {
        assert_eq!(scores(update), sorted(expected));
    }
    // The same format again changes nothing; many changes do not wait forever.
    within(Duration::from_secs(60), || {
        let mut tagged = Tagged::new(&[], 48_000, 1);
        for index in 0..40 {
            tagged.set_format("F32LE", "interleaved", 8000 + 1000 * (index % 3), 1);
            tagged.push(&music(0.1, tagged.rate_hz(), 1), ms(100 * index));
        }
        assert!(tagged.end().len() <= 40);
    });
}

#[test]
fn gaps_are_silence_and_jumps_begin_again() {
    if !has_gstreamer() {
        return;
    }
    let second = music(1.0, 48_000, 1);
    let mut tagged = Tagged::new(&[("every-hop", &true), ("top", &50u32)], 48_000, 1);
    tagged.push(&second, ClockTime::ZERO);
    assert!(tagged.push_event(gst::event::Gap::builder(ms(1000)).duration(ms(1000)).build()));
    tagged.push(&second, ms(2000));
    let updates = tagged.end();
    let joined = [&second[..], &vec![0.0; 48_000], &second].concat();
    let expected = expected(&joined, 48_000, 1, |config| config);
    assert_eq!(updates.len(), 3);
    for (update, expected) in updates.iter().zip(&expected) {
        assert_eq!(scores(update), sorted(expected));
    }
    // Only silence is said to be silent.
    let mut tagged = Tagged::new(&[("every-hop", &true)], 48_000, 1);
    assert!(tagged.push_event(gst::event::Gap::builder(ms(0)).duration(ms(1200)).build()));
    let updates = tagged.end();
    assert!(updates.len() == 1 && updates[0].is_silent);
    assert!(tagged.tag_lists().is_empty());
    // A gap without a length, one of an hour, and a jump backwards.
    let mut tagged = Tagged::new(&[("every-hop", &true)], 48_000, 1);
    assert!(tagged.push_event(gst::event::Gap::builder(ms(0)).build()));
    tagged.push(&second, ClockTime::ZERO);
    assert!(
        tagged.push_event(gst::event::Gap::builder(ms(1000)).duration(ClockTime::from_seconds(3600)).build())
    );
    tagged.push(&music(1.2, 48_000, 1), ClockTime::from_seconds(3601));
    tagged.push(&second, ms(500));
    let updates = tagged.end();
    let last = updates.last().unwrap();
    assert!(last.start == ms(500) && is_near(last.end, ms(1500)));
    // Buffers without timestamps.
    let mut tagged = Tagged::new(&[("every-hop", &true)], 48_000, 1);
    for block in second.chunks(4800) {
        tagged.push_bytes(bytemuck::cast_slice(block).to_vec(), None).unwrap();
    }
    let updates = tagged.end();
    assert!(updates.len() == 1 && is_near(updates[0].end, ms(1000)));
}

#[test]
fn reverse_playback_is_not_tagged() {
    if !has_gstreamer() {
        return;
    }
    let mut tagged = Tagged::new(&[], 48_000, 1);
    let mut segment = gst::FormattedSegment::<ClockTime>::new();
    segment.set_rate(-1.0);
    segment.set_stop(ms(5000));
    assert!(tagged.push_event(gst::event::Segment::new(&segment)));
    tagged.push(&music(1.5, 48_000, 1), ClockTime::ZERO);
    assert!(tagged.end().is_empty());
}

#[test]
fn a_sample_that_is_not_a_number_is_a_warning() {
    if !has_gstreamer() {
        return;
    }
    let mut tagged = Tagged::new(&[("every-hop", &true), ("window", &0.5), ("hop", &0.5)], 48_000, 1);
    let mut samples = music(3.0, 48_000, 1);
    samples[36_000] = f32::NAN;
    tagged.push(&samples, ClockTime::ZERO);
    assert!(tagged.push_event(gst::event::Eos::new()));
    let messages = tagged.messages();
    let warnings: Vec<String> = messages
        .iter()
        .filter_map(|message| match message.view() {
            gst::MessageView::Warning(warning) => Some(warning.error().to_string()),
            gst::MessageView::Error(error) => panic!("{error:?}"),
            _ => None,
        })
        .collect();
    assert!(warnings.len() == 1 && warnings[0].contains("36000"), "{warnings:?}");
    assert_eq!(messages.iter().filter_map(|message| Update::of(message)).count(), 5);
}

#[test]
fn thresholds_and_numbers_select_tags() {
    if !has_gstreamer() {
        return;
    }
    let tags = |properties: &[(&str, &dyn ToValue)]| {
        let all: Vec<(&str, &dyn ToValue)> =
            [("every-hop", &true as &dyn ToValue)].into_iter().chain(properties.iter().copied()).collect();
        let mut tagged = Tagged::new(&all, 48_000, 1);
        tagged.push(&music(1.0, 48_000, 1), ClockTime::ZERO);
        tagged.end()[0].tags.clone()
    };
    let all = tags(&[("top", &50u32)]);
    assert!(all.len() == 50 && all.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    assert_eq!(tags(&[]), all[..5]);
    assert_eq!(tags(&[("top", &0u32)]), []);
    assert_eq!(tags(&[("top", &50u32), ("threshold", &all[2].1)]), all[..3]);
}

/// Text of the error message at the change to PAUSED; the change fails.
fn refusal(element: &gst::Element) -> String {
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    assert!(element.set_state(gst::State::Paused).is_err());
    let error = bus.pop_filtered(&[gst::MessageType::Error]).expect("no error message");
    let gst::MessageView::Error(error) = error.view() else { unreachable!() };
    element.set_state(gst::State::Null).unwrap();
    error.error().to_string()
}

#[test]
fn bad_settings_are_errors_at_the_change_to_paused() {
    if !has_gstreamer() {
        return;
    }
    let element = gst::ElementFactory::make("tagwave").build().unwrap();
    let bad = [
        ("model", "nonesuch", "nonesuch"),
        ("model", "/nonexistent/model.safetensors", "/nonexistent/model.safetensors"),
        ("device", "", "device"),
        ("device", "none", "none"),
        ("device", "no such adapter", if cfg!(feature = "gpu") { "no such adapter" } else { "`gpu`" }),
        ("weights", "/nonexistent", "/nonexistent"),
    ];
    for (name, value, expected) in bad {
        element.set_property(name, value);
        if name == "weights" {
            element.set_property("model", "crnn");
        }
        let text = refusal(&element);
        assert!(text.contains(expected), "{name}={value}: {text}");
        element.set_property(name, None::<&str>);
    }
    // It recovers.
    element.set_property("model", "small");
    element.set_state(gst::State::Paused).unwrap();
    element.set_state(gst::State::Null).unwrap();
    let numbers = [
        ("hop", 0.0, "0.05 to 3600"),
        ("hop", 5000.0, "0.05 to 3600"),
        ("window", -1.0, "window"),
        ("smoothing", -1.0, "smoothing"),
        ("threshold", 1.5, "threshold"),
        ("eos-timeout", -1.0, "0 to 3600"),
        ("eos-timeout", 1e300, "0 to 3600"),
    ];
    for (name, value, expected) in numbers {
        let element = gst::ElementFactory::make("tagwave").build().unwrap();
        let value = value.to_value().transform_with_type(element.property_type(name).unwrap()).unwrap();
        element.set_property_from_value(name, &value);
        let text = refusal(&element);
        assert!(text.contains(expected), "{name}: {text}");
    }
    // A value that turns bad while the pipeline runs.
    let mut tagged = Tagged::new(&[("eos-timeout", &0.0)], 48_000, 1);
    tagged.element.set_property("eos-timeout", f64::MIN);
    assert!(tagged.push_event(gst::event::Eos::new()));
}

#[test]
fn defaults_of_the_properties_are_their_values() {
    if !has_gstreamer() {
        return;
    }
    let element = gst::ElementFactory::make("tagwave").build().unwrap();
    for property in element.list_properties().iter().filter(|p| p.owner_type() == element.type_()) {
        let value = element.property_value(property.name());
        let text = |value: &gst::glib::Value| format!("{value:?}");
        assert_eq!(text(&value), text(property.default_value()), "{}", property.name());
    }
}

#[test]
fn an_element_is_used_again() {
    if !has_gstreamer() {
        return;
    }
    let mut tagged = Tagged::new(&[("every-hop", &true)], 48_000, 1);
    tagged.push(&music(1.0, 48_000, 1), ClockTime::ZERO);
    let first = tagged.end();
    for state in [gst::State::Ready, gst::State::Null, gst::State::Ready] {
        tagged.element.set_state(state).unwrap();
    }
    let element = tagged.element.clone();
    drop(tagged);
    for _ in 0..3 {
        for state in [gst::State::Paused, gst::State::Ready, gst::State::Playing, gst::State::Null] {
            element.set_state(state).unwrap();
        }
    }
    assert_eq!(first.len(), 1);
}

/// The reference implementation is the slow device.
#[test]
fn a_slow_device_does_not_hold_the_audio_back() {
    if !has_gstreamer() {
        return;
    }
    within(Duration::from_secs(300), || {
        let mut tagged =
            Tagged::new(&[("device", &"reference"), ("eos-timeout", &0.05), ("hop", &0.1)], 48_000, 2);
        let samples = music(1.0, 48_000, 2);
        for second in 0..60 {
            tagged.push(&samples, ClockTime::from_seconds(second));
        }
        // Of 600 hops.
        assert!(tagged.updates().len() < 60);
        assert!(tagged.push_event(gst::event::Eos::new()));
        let messages = tagged.messages();
        assert!(messages.iter().any(|message| message.type_() == gst::MessageType::Warning));
        let overruns: u64 = tagged.element.property("overruns");
        assert!((48_000..=56 * 48_000).contains(&overruns), "{overruns}");
    });
}

#[test]
fn a_flush_and_a_change_of_state_end_the_wait_for_the_last_update() {
    if !has_gstreamer() {
        return;
    }
    for is_flush in [true, false] {
        within(Duration::from_secs(300), move || {
            let mut tagged = Tagged::new(&[("device", &"reference"), ("eos-timeout", &3600.0)], 48_000, 1);
            tagged.push(&music(1.1, 48_000, 1), ClockTime::ZERO);
            let element = tagged.element.clone();
            let other = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                if is_flush {
                    let sink = element.static_pad("sink").unwrap();
                    assert!(sink.send_event(gst::event::FlushStart::new()));
                } else {
                    element.set_state(gst::State::Null).unwrap();
                }
            });
            tagged.push_event(gst::event::Eos::new());
            other.join().unwrap();
            assert!(tagged.updates().is_empty());
        });
    }
}

#[test]
fn a_change_of_state_ends_the_wait_for_room() {
    if !has_gstreamer() {
        return;
    }
    within(Duration::from_secs(300), || {
        let mut tagged =
            Tagged::new(&[("device", &"reference"), ("every-hop", &true), ("hop", &0.1)], 48_000, 1);
        let element = tagged.element.clone();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            element.set_state(gst::State::Null).unwrap();
        });
        let bytes: Vec<u8> = bytemuck::cast_slice(&music(20.0, 48_000, 1)).to_vec();
        assert_eq!(tagged.push_bytes(bytes, Some(ClockTime::ZERO)), Err(gst::FlowError::Flushing));
        other.join().unwrap();
    });
}
