//! Programs under limits of time and memory.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(5);

/// Result of a program: status (`None` where the time was over), both outputs, and how long it ran.
pub struct Ran {
    pub status: Option<ExitStatus>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub time: Duration,
}

/// `command` with an address space of at most so many bytes; without `prlimit`, as it is.
pub fn with_memory(program: &std::path::Path, bytes: u64) -> Command {
    let has_prlimit = Command::new("prlimit").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has_prlimit {
        return Command::new(program);
    }
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={bytes}")).arg("--").arg(program);
    command
}

/// Runs a program and ends it when the time is over.
pub fn run(command: &mut Command, limit: Duration) -> Result<Ran, String> {
    let start = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is the output.
            let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
            bytes
        })
    };
    let stdout = read(out.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let stderr = read(err.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>));
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break Some(status),
            None if start.elapsed() > limit => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => thread::sleep(POLL),
        }
    };
    let joined = |reader: thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    let stderr = String::from_utf8_lossy(&joined(stderr)).into_owned();
    Ok(Ran { status, stdout: joined(stdout), stderr, time: start.elapsed() })
}
