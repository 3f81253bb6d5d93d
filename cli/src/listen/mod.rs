//! `tagwave listen`: live audio from a pipe.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::job::tagger_builder;
use super::tag::score;
use super::{CliError, INTERRUPTED, ModelArgs, SOME_FAILED, stop_on_interrupt, write_failed};
use input::{AudioInput, RawArgs};
use tagwave::CancelToken;
use tagwave::error::Error;
use tagwave::sinks::{SCHEMA, six_decimals};
use tagwave::tagger::{StreamConfig, StreamUpdate, Tagger};
use tagwave::tags::{self, Tag, TagSelection};

mod input;

/// Time between two looks at Ctrl-C.
const PAUSE: Duration = Duration::from_millis(100);

/// Arguments of `tagwave listen`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ffmpeg -loglevel error -re -i song.mp3 -f wav - | tagwave listen
  arecord -q -f S16_LE -r 44100 -c 2 | tagwave listen
  parec --format=float32le --rate=48000 --channels=2 | tagwave listen --raw f32 --rate 48000 --channels 2")]
pub(super) struct ListenArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    raw: RawArgs,

    /// Seconds between updates, 0.05 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    hop: f64,

    /// Seconds of audio that an update describes, at most one clip of the model [default: one clip, 29 s]
    #[arg(long, value_name = "SECONDS")]
    window: Option<f64>,

    /// Time constant of exponential smoothing of the scores in seconds; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    smoothing: f64,

    /// Number of tags per update
    #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "threshold")]
    top: usize,

    /// Return tags with at least this score, 0 to 1
    #[arg(long, value_name = "SCORE", value_parser = score)]
    threshold: Option<f32>,

    /// Output format [default: text on a terminal, else jsonl]
    #[arg(long, value_enum)]
    format: Option<ListenFormat>,

    /// Print results and errors only
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum ListenFormat {
    /// One line of tags per update
    Text,
    /// One JSON object per update
    Jsonl,
}

/// Tags standard input until it ends, and writes an update for each hop.
pub(super) fn listen(args: &ListenArgs) -> Result<u8, CliError> {
    if io::stdin().is_terminal() {
        let message = "listen reads audio from standard input: pipe it in, for example `arecord -f S16_LE -r 44100 -c 2 | tagwave listen`";
        return Err(CliError::usage(message));
    }
    let cancel = CancelToken::new();
    stop_on_interrupt(cancel.clone());
    let (builder, _) = tagger_builder(&args.model, 1, args.quiet)?;
    let tagger = builder.build()?;
    let print_warnings = || {
        let warnings = tagger.take_warnings();
        warnings.iter().filter(|_| !args.quiet).for_each(|warning| say!("tagwave: {warning}"));
    };
    print_warnings();
    let mut audio = AudioInput::open(&args.raw)?;
    let config = StreamConfig::new(audio.rate_hz(), audio.channels())
        .hop_s(args.hop)
        .buffer_s(args.hop.max(1.0) * 4.0)
        .smoothing_s(args.smoothing)
        .every_hop(true);
    let config = args.window.into_iter().fold(config, StreamConfig::window_s);
    let (input, stream) = tagger.stream(config)?;
    // Reading blocks, so it has a thread of its own, which ends with the program.
    let reader = thread::spawn(move || audio.read_into(input));
    let updates = stream.spawn()?;
    let mut code = 0;
    while !updates.has_ended() {
        if cancel.is_cancelled() {
            return Ok(INTERRUPTED);
        }
        let update = updates.next_timeout(PAUSE).transpose();
        if let Some(Err(_)) = update {
            code = SOME_FAILED;
        }
        update.map_or(Ok(()), |update| print(args, &tagger, update)).map_err(|error| write_failed(&error))?;
        print_warnings();
    }
    drop(updates);
    match reader.join() {
        Ok(Ok(())) => Ok(code),
        Ok(Err(error)) => Err(error),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn print(args: &ListenArgs, tagger: &Tagger, update: Result<StreamUpdate, Error>) -> io::Result<()> {
    let selection = args.threshold.map_or(TagSelection::Top(args.top), TagSelection::Threshold);
    let shown = if io::stdout().is_terminal() { ListenFormat::Text } else { ListenFormat::Jsonl };
    let tags = |update: &StreamUpdate| tags::select(tagger.vocabulary(), &update.scores, selection);
    let line = match (args.format.unwrap_or(shown), update) {
        (ListenFormat::Text, Ok(update)) => text(&update, &tags(&update)),
        (ListenFormat::Text, Err(error)) => format!("error: {error}"),
        (ListenFormat::Jsonl, Ok(update)) => {
            let model = tagger.model().name();
            Value::Object(object(model, &update, &tags(&update))).to_string()
        }
        (ListenFormat::Jsonl, Err(error)) => {
            let error = json!({ "kind": error.kind().as_str(), "message": error.to_string() });
            json!({ "schema": SCHEMA, "error": error }).to_string()
        }
    };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn text(update: &StreamUpdate, tags: &[Tag]) -> String {
    let tags: Vec<String> = tags.iter().map(|tag| format!("{} {:.3}", tag.label, tag.score)).collect();
    let tags = match (update.is_silent, tags.is_empty()) {
        (true, _) => "silence".to_string(),
        (_, true) => "no tag reaches the threshold".to_string(),
        _ => tags.join("  "),
    };
    format!("{:>8.1} s  {tags}", update.end_s)
}

fn object(model: &str, update: &StreamUpdate, tags: &[Tag]) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.into(), value);
    put("schema", SCHEMA.into());
    put("model", model.into());
    put("device", update.device.as_ref().into());
    put("start_s", six_decimals(update.start_s).into());
    put("end_s", six_decimals(update.end_s).into());
    put("heard_s", six_decimals(update.heard_s).into());
    let tag = |tag: &Tag| json!({ "tag": tag.label, "score": six_decimals(tag.score.into()) });
    put("tags", tags.iter().map(tag).collect());
    put("silent", update.is_silent.into());
    object
}
