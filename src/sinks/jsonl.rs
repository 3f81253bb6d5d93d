//! JSON Lines output.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use serde_json::{Map, Value, json};

use super::file::with_path;
use super::merge::{LatestRows, Merged, check_schema, open};
use super::read::{ReadRow, ReadValues, encoded_path};
use super::{
    AtomicFile, ClipPrediction, Format, Layout, LineFormat, Row, SCHEMA, Sink, Values, path_bytes,
    six_decimals,
};

/// JSON Lines.
pub const JSON_LINES: LineFormat = LineFormat {
    name: "jsonl",
    sink: |writer| Box::new(Jsonl::new(writer)),
    continued: |writer| Box::new(Jsonl::new(writer)),
};

pub(super) static FORMAT: Format = Format {
    title: "One JSON object per line",
    holds_tags: true,
    holds_features: true,
    layout: Layout::Lines(JSON_LINES),
    merge: Some(merge),
    read: Some(read),
};

/// Sink with one object per line: `schema`, `path` (or `path_bytes` in base64 if it is not UTF-8), then the prediction
/// or `error`.
pub(super) struct Jsonl<W>(W);

impl<W: Write> Jsonl<W> {
    pub(super) fn new(writer: W) -> Jsonl<W> {
        Jsonl(writer)
    }
}

impl<W: Write> Sink for Jsonl<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let mut line = serde_json::to_vec(&object(row))?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        self.0.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn object(row: &Row) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.into(), value);
    put("schema", SCHEMA.into());
    match row.path.to_str() {
        Some(path) => put("path", path.into()),
        None => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(path_bytes(&row.path));
            put("path_bytes", encoded.into())
        }
    };
    match &row.outcome {
        Ok(found) => {
            put("model", found.model.as_str().into());
            put("compat", found.compat.into());
            put("device", found.device.as_str().into());
            put("decoder", found.decoder.as_str().into());
            put("clip_start_s", six_decimals(found.clip_start_s).into());
            if let Some(track_s) = found.track_s {
                put("track_s", six_decimals(track_s).into());
            }
            if found.clip_count != 1 {
                put("clip_count", found.clip_count.into());
            }
            if let Values::Tap { name, .. } = &found.values {
                put("tap", name.as_str().into());
            }
            put(key(&found.values), values(&found.values));
            if !found.clips.is_empty() {
                let clip = |clip: &ClipPrediction| json!({ "start_s": six_decimals(clip.start_s), key(&clip.values): values(&clip.values) });
                put("clips", found.clips.iter().map(clip).collect());
            }
            put("warnings", found.warnings.clone().into());
        }
        Err(failure) => {
            put("error", json!({ "kind": failure.kind.as_str(), "message": failure.message }));
        }
    }
    object
}

fn key(values: &Values) -> &'static str {
    match values {
        Values::Tags(_) => "tags",
        Values::Embedding(_) => "embedding",
        Values::Tap { .. } => "features",
    }
}

fn values(values: &Values) -> Value {
    match values {
        Values::Tags(tags) => tags
            .iter()
            .map(|tag| json!({ "tag": tag.label, "score": six_decimals(tag.score.into()) }))
            .collect(),
        Values::Embedding(features) | Values::Tap { features, .. } => {
            features.iter().map(|&value| six_decimals(value.into())).collect()
        }
    }
}

/// File and settings of a line.
fn of_line(row: &Value) -> Option<(Vec<u8>, Option<String>)> {
    let word = |key: &str| row.get(key).and_then(|value| value.as_str());
    let path = match word("path") {
        Some(path) => [b"text ", path.as_bytes()].concat(),
        None => [b"bytes ", word("path_bytes")?.as_bytes()].concat(),
    };
    let made = word("model").map(|model| {
        format!("{model} {} {}", word("compat").unwrap_or_default(), word("tap").unwrap_or_default())
    });
    Some((path, made))
}

/// Joins files.
fn merge(files: &[PathBuf], output: &Path) -> io::Result<Merged> {
    let each = |row: &mut dyn FnMut(&Path, &str) -> io::Result<()>| -> io::Result<()> {
        for file in files {
            let mut reader = BufReader::new(open(file)?);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line)? > 0 {
                // A last line without a newline was truncated.
                row(file, std::str::from_utf8(&line).unwrap_or(""))?;
                line.clear();
            }
        }
        Ok(())
    };
    let mut last = LatestRows::default();
    let (mut all, mut kept) = (0, 0);
    each(&mut |file, line| {
        all += 1;
        let row = serde_json::from_str(line).unwrap_or_default();
        if let Some((path, made)) = of_line(&row) {
            check_schema(file, row.get("schema").and_then(Value::as_u64))?;
            last.record(&path, made.as_deref());
        }
        Ok(())
    })?;
    if all > 0 && last.rows == 0 {
        return Err(io::Error::other("no rows found in the input: expected JSON Lines written by tagwave"));
    }
    let file = AtomicFile::create(output)?;
    let mut writer = BufWriter::new(file.writer()?);
    let mut place = 0;
    each(&mut |_, line| {
        let Some((path, made)) = serde_json::from_str(line).ok().as_ref().and_then(of_line) else {
            return Ok(());
        };
        place += 1;
        if last.is_latest(place - 1, &path, made.as_deref()) {
            kept += 1;
            writer.write_all(line.trim_end().as_bytes())?;
            writer.write_all(b"\n")?;
        }
        Ok(())
    })?;
    writer.flush()?;
    drop(writer);
    file.finish()?;
    Ok(Merged { kept, dropped: all - kept })
}

/// Reads rows: the values of the track.
fn read(path: &Path, row: &mut dyn FnMut(ReadRow)) -> io::Result<u64> {
    let mut reader = BufReader::new(open(path)?);
    let (mut line, mut invalid, mut rows) = (Vec::new(), 0, 0);
    while reader.read_until(b'\n', &mut line)? > 0 {
        let value: Value = serde_json::from_slice(&line).unwrap_or_default();
        line.clear();
        let Some(found) = read_line(&value) else {
            invalid += 1;
            continue;
        };
        check_schema(path, value.get("schema").and_then(Value::as_u64))?;
        rows += 1;
        row(found);
    }
    if invalid > 0 && rows == 0 {
        let message = "no rows found: expected JSON Lines written by tagwave";
        return Err(with_path(path, &io::Error::other(message)));
    }
    Ok(invalid)
}

fn read_line(value: &Value) -> Option<ReadRow> {
    let word = |key: &str| value.get(key).and_then(Value::as_str);
    let path = match word("path") {
        Some(path) => path.to_string(),
        None => encoded_path(word("path_bytes")?),
    };
    let tag = |tag: &Value| Some((tag.get("tag")?.as_str()?.to_string(), tag.get("score")?.as_f64()?));
    let list = |key: &str| value.get(key).and_then(Value::as_array);
    let values = if let Some(error) = value.get("error") {
        ReadValues::Failed(error.get("message").and_then(Value::as_str).unwrap_or_default().to_string())
    } else if let Some(tags) = list("tags") {
        ReadValues::Tags(tags.iter().map(tag).collect::<Option<_>>()?)
    } else {
        let features = list("embedding").or(list("features"))?;
        ReadValues::Features(features.iter().map(Value::as_f64).collect::<Option<_>>()?)
    };
    let made = word("model").map(|model| (model.to_string(), word("compat").unwrap_or_default().to_string()));
    let track_s = value.get("track_s").and_then(Value::as_f64);
    Some(ReadRow { path, made, track_s, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_kind::ErrorKind;
    use crate::sinks::{Failure, Prediction};
    use crate::tags::Tag;

    fn line(row: &Row) -> String {
        let mut bytes = Vec::new();
        Jsonl::new(&mut bytes).row(row).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn tags_and_errors() {
        let found = Prediction {
            model: "crnn".into(),
            compat: "corrected",
            device: "llvmpipe".into(),
            decoder: "symphonia".into(),
            clip_start_s: 95.2,
            track_s: None,
            clip_count: 1,
            values: Values::Tags(vec![Tag { label: "jazz".into(), score: 0.892_100_04 }]),
            clips: vec![],
            warnings: vec![],
        };
        let row = Row { path: "a.mp3".into(), key: None, outcome: Ok(found) };
        assert_eq!(
            line(&row),
            "{\"schema\":2,\"path\":\"a.mp3\",\"model\":\"crnn\",\"compat\":\"corrected\",\"device\":\"llvmpipe\",\"decoder\":\"symphonia\",\
             \"clip_start_s\":95.2,\"tags\":[{\"tag\":\"jazz\",\"score\":0.8921}],\"warnings\":[]}\n"
        );
        let failure = Failure { kind: ErrorKind::Input, message: "empty".into() };
        let row = Row { path: "b\"\n.mp3".into(), key: None, outcome: Err(failure) };
        assert_eq!(
            line(&row),
            "{\"schema\":2,\"path\":\"b\\\"\\n.mp3\",\"error\":{\"kind\":\"input\",\"message\":\"empty\"}}\n"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_path_of_any_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let path = std::ffi::OsString::from_vec(vec![b'a', 0xff]).into();
        let failure = Failure { kind: ErrorKind::Input, message: String::new() };
        assert!(line(&Row { path, key: None, outcome: Err(failure) }).contains("\"path_bytes\":\"Yf8=\""));
    }
}
