//! The element in pipelines: playback of a file, seeks, tearing down, and the plugin as GStreamer loads it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{LIMIT, Update, demo, has_gstreamer, pipeline, play, within};
use gst::ClockTime;
use gst::prelude::*;
use tagwave::tagger::{Device, StreamConfig, Tagger};

/// The pipeline of the documentation.
fn tagging(properties: &str) -> gst::Pipeline {
    pipeline(&format!(
        "filesrc location={} ! decodebin ! audioconvert ! audioresample ! tagwave name=tagwave {properties} ! fakesink name=sink",
        demo()
    ))
}

/// Audio that passes a pad: addresses of the buffers, bytes, format.
#[derive(Clone, Debug, Default, PartialEq)]
struct Passed {
    buffers: Vec<usize>,
    times: Vec<Option<ClockTime>>,
    bytes: Vec<u8>,
    format: Option<(u32, usize)>,
}

fn record(pad: &gst::Pad) -> Arc<Mutex<Passed>> {
    let passed = Arc::new(Mutex::new(Passed::default()));
    let record = passed.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let mut passed = record.lock().unwrap();
        let buffer = info.buffer().unwrap();
        passed.buffers.push(buffer.as_ptr() as usize);
        passed.times.push(buffer.pts());
        passed.bytes.extend_from_slice(&buffer.map_readable().unwrap());
        let info = gst_audio::AudioInfo::from_caps(&pad.current_caps().unwrap()).unwrap();
        assert_eq!(info.format(), gst_audio::AUDIO_FORMAT_F32);
        passed.format = Some((info.rate(), info.channels() as usize));
        gst::PadProbeReturn::Ok
    });
    passed
}

#[test]
fn the_demo_has_the_scores_of_the_library_and_passes_bit_for_bit() {
    if !has_gstreamer() {
        return;
    }
    let tagged = tagging("every-hop=true top=50");
    let element = tagged.by_name("tagwave").unwrap();
    let [before, after] = ["sink", "src"].map(|name| record(&element.static_pad(name).unwrap()));
    let messages = play(&tagged);
    let passed = before.lock().unwrap().clone();
    assert_eq!(passed, *after.lock().unwrap());

    // The same pipeline without the element.
    let description = "! decodebin ! audioconvert ! audioresample ! audio/x-raw, format=F32LE, layout=interleaved ! fakesink name=sink";
    let plain = pipeline(&format!("filesrc location={} {description}", demo()));
    let without = record(&plain.by_name("sink").unwrap().static_pad("sink").unwrap());
    play(&plain);
    let without = without.lock().unwrap();
    assert!(
        passed.bytes == without.bytes && passed.times == without.times && passed.format == without.format
    );

    let (rate_hz, channels) = passed.format.unwrap();
    assert_eq!((rate_hz, channels), (44_100, 2));
    let samples: Vec<f32> = passed.bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
    let tagger = Tagger::builder().device(Device::Cpu).build().unwrap();
    let config = StreamConfig::new(rate_hz, channels).every_hop(true).buffer_s(60.0);
    let (mut input, stream) = tagger.stream(config).unwrap();
    assert_eq!(input.push_interleaved(&samples), samples.len() / channels);
    drop(input);
    let expected: Vec<_> = stream.spawn().unwrap().map(Result::unwrap).collect();
    let updates: Vec<Update> = messages.iter().filter_map(|message| Update::of(message)).collect();
    assert!(updates.len() == expected.len() && updates.len() >= 32);
    for (update, expected) in updates.iter().zip(&expected) {
        let tags = tagwave::tags::select(
            tagger.vocabulary(),
            &expected.scores,
            tagwave::tags::TagSelection::Top(50),
        );
        let tags: Vec<(String, f32)> = tags.into_iter().map(|tag| (tag.label, tag.score)).collect();
        assert_eq!(update.tags, tags);
        let seconds = |time: ClockTime| time.nseconds() as f64 / 1e9;
        for (time, expected_s) in
            [(update.start, expected.start_s), (update.end, expected.end_s), (update.heard, expected.heard_s)]
        {
            assert!((seconds(time) - expected_s).abs() < 1e-4, "{time} {expected_s}");
        }
        assert_eq!((update.overruns, update.skipped), (0, 0));
    }
    // The sink makes the tag list known.
    let genres: Vec<String> = messages
        .iter()
        .filter_map(|message| match message.view() {
            gst::MessageView::Tag(tag) => Some(tag.tags()),
            _ => None,
        })
        .flat_map(|tags| {
            tags.iter_tag::<gst::tags::Genre>().map(|genre| genre.get().to_string()).collect::<Vec<_>>()
        })
        .collect();
    assert!(genres.contains(&"Electronic".to_string()), "{genres:?}");
}

#[test]
fn without_every_hop_the_pipeline_does_not_wait() {
    if !has_gstreamer() {
        return;
    }
    let tagged = tagging("");
    let element = tagged.by_name("tagwave").unwrap();
    let [before, after] = ["sink", "src"].map(|name| record(&element.static_pad(name).unwrap()));
    let messages = play(&tagged);
    let lost: u64 = element.property("overruns");
    let updates: Vec<Update> = messages.iter().filter_map(|message| Update::of(message)).collect();
    assert!(updates.last().unwrap().overruns <= lost);
    let (before, after) = (before.lock().unwrap(), after.lock().unwrap());
    assert!(*before == *after && before.bytes.len() >= 32 * 44_100 * 2 * 4);
}

#[test]
fn tags_follow_seeks() {
    if !has_gstreamer() {
        return;
    }
    let tagged = tagging("every-hop=true");
    let bus = tagged.bus().unwrap();
    tagged.set_state(gst::State::Paused).unwrap();
    assert!(tagged.state(LIMIT).0.is_ok());
    for (position_s, state) in [(20, gst::State::Paused), (25, gst::State::Playing), (5, gst::State::Playing)]
    {
        tagged.set_state(state).unwrap();
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        tagged.seek_simple(flags, ClockTime::from_seconds(position_s)).unwrap();
    }
    let mut updates = Vec::new();
    loop {
        let message = bus.timed_pop(LIMIT).expect("no end in time");
        assert_ne!(message.type_(), gst::MessageType::Error, "{message:?}");
        updates.extend(Update::of(&message));
        if message.type_() == gst::MessageType::Eos {
            break;
        }
    }
    // After the last seek: from 5 s on, to the end.
    let last = updates.last().unwrap();
    assert!(
        last.start >= ClockTime::from_seconds(5) && last.end > ClockTime::from_mseconds(31_400),
        "{last:?}"
    );
    let first = updates.iter().rposition(|update| update.heard < ClockTime::from_mseconds(1500)).unwrap();
    assert_eq!(updates[first].start.mseconds() / 100, 50, "{:?}", updates[first]);
    tagged.set_state(gst::State::Null).unwrap();
}

#[test]
fn segment_seeks_end_as_streams_do() {
    if !has_gstreamer() {
        return;
    }
    let tagged = tagging("every-hop=true");
    let bus = tagged.bus().unwrap();
    tagged.set_state(gst::State::Paused).unwrap();
    assert!(tagged.state(LIMIT).0.is_ok());
    let (start, stop) = (ClockTime::from_seconds(10), ClockTime::from_mseconds(12_700));
    let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE | gst::SeekFlags::SEGMENT;
    tagged.seek(1.0, flags, gst::SeekType::Set, start, gst::SeekType::Set, stop).unwrap();
    tagged.set_state(gst::State::Playing).unwrap();
    // The message of the end may come before the end has passed the element.
    loop {
        let message = bus.timed_pop(LIMIT).expect("no last update in time");
        assert_ne!(message.type_(), gst::MessageType::Error, "{message:?}");
        if let Some(update) = Update::of(&message)
            && update.end > ClockTime::from_mseconds(12_600)
        {
            assert_eq!(update.start, start);
            break;
        }
    }
    tagged.set_state(gst::State::Null).unwrap();
}

#[test]
fn pipelines_are_torn_down_at_any_time() {
    if !has_gstreamer() {
        return;
    }
    within(Duration::from_secs(240), || {
        for round in 0..16 {
            let every_hop = round % 2 == 0;
            let tagged = tagging(&format!("every-hop={every_hop} hop=0.1"));
            tagged.set_state(gst::State::Playing).unwrap();
            std::thread::sleep(Duration::from_millis(10 * round));
            if round % 3 == 0 {
                let _ = tagged.seek_simple(gst::SeekFlags::FLUSH, ClockTime::from_seconds(round));
            }
            if round % 5 == 0 {
                tagged.set_state(gst::State::Ready).unwrap();
                tagged.set_state(gst::State::Playing).unwrap();
            }
            tagged.set_state(gst::State::Null).unwrap();
        }
    });
}

#[test]
fn streams_follow_each_other() {
    if !has_gstreamer() {
        return;
    }
    // Two formats and two streams without an end between them.
    let tagged = pipeline(
        "concat name=all ! tagwave every-hop=true ! fakesink \
         audiotestsrc num-buffers=50 samplesperbuffer=1000 ! audio/x-raw,format=F32LE,rate=44100,channels=2 ! all. \
         audiotestsrc num-buffers=50 samplesperbuffer=1000 ! audio/x-raw,format=S16LE,rate=32000,channels=1 ! all.",
    );
    let updates: Vec<Update> = play(&tagged).iter().filter_map(|message| Update::of(message)).collect();
    assert_eq!(updates.len(), 3, "{updates:?}");
}

/// The plugin as cargo built it, alone in a folder.
fn plugin() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("{}gsttagwave{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().join(&name);
    let plugin = folder.path().join(&name);
    std::fs::copy(&built, &plugin).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    (folder, plugin)
}

fn with_plugin(program: &str, folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("GST_PLUGIN_PATH", folder).env("GST_REGISTRY", folder.join("registry"));
    let output = command.env("G_DEBUG", "fatal-criticals").env("GST_DEBUG", "2,tagwave:5").output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// True if a program of GStreamer is installed; under `REQUIRE_GSTREAMER=1` it must be.
fn has_tool(name: &str) -> bool {
    let is_there = Command::new(name).arg("--version").output().is_ok();
    if !is_there {
        assert!(std::env::var_os("REQUIRE_GSTREAMER").is_none(), "REQUIRE_GSTREAMER is set: no {name}");
        println!("not run: no {name} (gstreamer1.0-tools)");
    }
    is_there
}

#[test]
fn gstreamer_loads_and_runs_the_plugin() {
    if !has_gstreamer() || !has_tool("gst-inspect-1.0") || !has_tool("gst-launch-1.0") {
        return;
    }
    let (folder, _) = plugin();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let inspected = with_plugin("gst-inspect-1.0", folder.path(), &["tagwave"]);
    let (stdout, stderr) = (text(&inspected.stdout), text(&inspected.stderr));
    assert!(inspected.status.success(), "{stderr}");
    assert!(!has_complaint(&stderr), "{stderr}");
    let properties = [
        "model",
        "weights",
        "device",
        "hop",
        "window",
        "smoothing",
        "every-hop",
        "threshold",
        "top",
        "tags-each-hop",
        "eos-timeout",
        "overruns",
    ];
    for word in ["Filter/Analyzer/Audio", "GstBaseTransform", "non-interleaved"].iter().chain(&properties) {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
    let location = format!("location={}", demo());
    let elements =
        ["-m", "filesrc", &location, "!", "decodebin", "!", "audioconvert", "!", "audioresample", "!"];
    let tagged = ["tagwave", "every-hop=true", "!", "fakesink"];
    let launched = with_plugin("gst-launch-1.0", folder.path(), &[&elements[..], &tagged].concat());
    let (stdout, stderr) = (text(&launched.stdout), text(&launched.stderr));
    assert!(launched.status.success(), "{stdout}{stderr}");
    assert!(!has_complaint(&stderr) && !has_complaint(&stdout), "{stdout}{stderr}");
    assert!(stdout.matches("(element): tagwave, start=").count() >= 32, "{stdout}");
}

/// True for lines by which GLib and GStreamer tell mistakes of an element.
fn has_complaint(text: &str) -> bool {
    text.lines()
        .any(|line| line.contains("CRITICAL") || line.contains("WARNING **") || line.contains("tagwave WARN"))
}
