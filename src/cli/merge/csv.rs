//! Merging of CSV; the lines of a file are consecutive and kept together.

use std::io;
use std::path::{Path, PathBuf};

use super::{Counts, LatestRows, open};
use crate::sinks::AtomicFile;

/// Joins files with the same header.
pub(super) fn merge(files: &[PathBuf], output: &Path) -> io::Result<Counts> {
    let mut headers: Option<csv::StringRecord> = None;
    for path in files {
        let found = csv::Reader::from_reader(open(path)?).headers()?.clone();
        match &headers {
            Some(headers) if *headers != found => {
                return Err(io::Error::other(format!(
                    "{}: columns differ from those of the first file",
                    path.display()
                )));
            }
            _ => headers = Some(found),
        }
    }
    let headers = headers.unwrap_or_default();
    let column = |name: &str| {
        let place = headers.iter().position(|header| header == name);
        place.ok_or_else(|| io::Error::other(format!("{}: no column {name}", files[0].display())))
    };
    let of = [column("path")?, column("path_bytes")?, column("model")?, column("reading")?];
    let made = |record: &csv::StringRecord| {
        let [path, bytes, model, reading] = of.map(|column| record.get(column).unwrap_or(""));
        let path = format!("{path}\0{bytes}").into_bytes();
        (path, (!model.is_empty()).then(|| format!("{model} {reading}")))
    };
    let (mut all, mut kept) = (0, 0);
    let mut last = LatestRows::default();
    let groups = |row: &mut dyn FnMut(&csv::StringRecord, bool) -> io::Result<()>| -> io::Result<()> {
        for path in files {
            let mut before = None;
            for record in csv::Reader::from_reader(open(path)?).records() {
                // A truncated last line has too few columns.
                let Ok(record) = record else { continue };
                let subject = made(&record);
                let begins = before.as_ref() != Some(&subject);
                row(&record, begins)?;
                before = Some(subject);
            }
        }
        Ok(())
    };
    groups(&mut |record, begins| {
        if begins {
            all += 1;
            let (path, made) = made(record);
            last.record(&path, made.as_deref());
        }
        Ok(())
    })?;
    let file = AtomicFile::create(output)?;
    let mut writer = csv::Writer::from_writer(file.writer()?);
    writer.write_record(&headers)?;
    let (mut place, mut is_latest) = (0u64, false);
    groups(&mut |record, begins| {
        if begins {
            let (path, made) = made(record);
            is_latest = last.is_latest(place, &path, made.as_deref());
            place += 1;
            kept += u64::from(is_latest);
        }
        if is_latest { writer.write_record(record).map_err(io::Error::from) } else { Ok(()) }
    })?;
    writer.flush()?;
    drop(writer);
    file.finish()?;
    Ok((kept, all - kept))
}
