//! Many good and bad files in one process: `cargo xtask soak [FILES]`. Memory and open files are read from /proc each
//! second and must not grow.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Growth of memory that is allowed between the first and the last third of a run, in MiB: allocators keep some.
const MAX_GROWTH_MIB: f64 = 48.0;
const MAX_GROWTH_FILES: usize = 4;
/// Seconds of music in a file.
const SECONDS: usize = 3;
const RATE_HZ: u32 = 12_000;

pub fn run(tagwave: &Path, arguments: &[String]) -> Result<(), String> {
    let count: usize = match arguments {
        [] => 20_000,
        [count] => count.parse().map_err(|_| format!("{count:?}: expected a number of files"))?,
        _ => return Err("usage: cargo xtask soak [FILES]".into()),
    };
    let folder = std::env::temp_dir().join(format!("tagwave-soak-{}", std::process::id()));
    let result = soak(tagwave, &folder, count);
    let _ = fs::remove_dir_all(&folder);
    result
}

/// Files of a few kinds, each linked to as often as is needed.
fn inputs(folder: &Path, count: usize) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("music"))?;
    let demo = crate::root().join("assets/demo.ogg");
    let ogg = fs::read(&demo)?;
    let good = wav();
    let mut changed = good.clone();
    changed.iter_mut().skip(20).step_by(7).take(5).for_each(|byte| *byte ^= 0x55);
    let kinds: Vec<(&str, Vec<u8>)> = vec![
        ("wav", good.clone()),
        ("wav", good[..good.len() / 2].to_vec()),
        ("wav", changed),
        ("ogg", ogg[..ogg.len() / 8].to_vec()),
        ("ogg", [&ogg[..5000], &ogg[9000..20_000]].concat()),
        ("mp3", b"no music at all".repeat(99)),
        ("flac", Vec::new()),
        ("m4a", good[..30].to_vec()),
    ];
    for (number, (ending, bytes)) in kinds.iter().enumerate() {
        fs::write(folder.join(format!("kind{number}.{ending}")), bytes)?;
    }
    for number in 0..count {
        let kind = number % kinds.len();
        let ending = kinds[kind].0;
        let from = folder.join(format!("kind{kind}.{ending}"));
        fs::hard_link(from, folder.join("music").join(format!("{number:06}.{ending}")))?;
    }
    Ok(())
}

fn wav() -> Vec<u8> {
    let length = SECONDS * RATE_HZ as usize;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + 2 * length as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend([RATE_HZ, RATE_HZ * 2].into_iter().flat_map(u32::to_le_bytes));
    file.extend(b"\x02\0\x10\0data");
    file.extend((2 * length as u32).to_le_bytes());
    file.extend((0..length).flat_map(|i| (((i as f64 * 0.2).sin() * 9e3) as i16).to_le_bytes()));
    file
}

/// Resident memory in MiB and number of open files of a process.
fn measure(process: u32) -> Option<(f64, usize)> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    Some((kib / 1024.0, fs::read_dir(format!("/proc/{process}/fd")).ok()?.count()))
}

fn soak(tagwave: &Path, folder: &Path, count: usize) -> Result<(), String> {
    inputs(folder, count).map_err(|error| format!("{}: {error}", folder.display()))?;
    let output = folder.join("rows.jsonl");
    let mut command = Command::new(tagwave);
    command.args(["tag", "--model", "small", "--device", "cpu", "--no-ffmpeg", "-o"]).arg(&output);
    let mut child = command
        .arg(folder.join("music"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let mut measured = Vec::new();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            break status;
        }
        measured.extend(measure(child.id()));
        std::thread::sleep(Duration::from_secs(1));
    };
    let rows = fs::read_to_string(&output).map_err(|error| error.to_string())?;
    let (lines, errors) =
        (rows.lines().count(), rows.lines().filter(|row| row.contains("\"error\":{")).count());
    if status.code() != Some(1) || lines != count {
        return Err(format!("ended with {status}, {lines} rows of {count}"));
    }
    let third = measured.len() / 3;
    if third == 0 {
        return Err("too short to be measured: name more files".into());
    }
    let most = |part: &[(f64, usize)]| {
        part.iter().fold((0.0f64, 0), |(memory, files), next| (memory.max(next.0), files.max(next.1)))
    };
    let ((first_mib, first_files), (last_mib, last_files)) =
        (most(&measured[..third]), most(&measured[measured.len() - third..]));
    println!(
        "{lines} files, {errors} errors, {} s; memory at most {first_mib:.0} MiB in the first third and {last_mib:.0} MiB in the \
         last, open files {first_files} and {last_files}",
        measured.len()
    );
    if last_mib > first_mib + MAX_GROWTH_MIB || last_files > first_files + MAX_GROWTH_FILES {
        return Err("memory or open files grew".into());
    }
    Ok(())
}
