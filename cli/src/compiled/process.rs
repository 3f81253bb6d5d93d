//! The compiling process and its output.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use super::compiler::MARK;
use super::nak::NakReader;
use super::radv::RadvReader;
use super::statistics::CodeStatistics;
use crate::{CliError, SOME_FAILED};

/// Most bytes of one line of a driver; the rest of a longer one is left out.
const LONGEST_LINE: u64 = 1 << 16;
/// Lines of the compiling process that are shown if it fails.
const SHOWN: usize = 8;

/// Kernel at the shape of a layer, and the statistics of its code.
#[derive(Clone, Debug)]
pub(crate) struct CompiledKernel {
    /// Adapter, layer, kernel and workgroups.
    mark: Map<String, Value>,
    pub(crate) statistics: CodeStatistics,
}

impl CompiledKernel {
    /// Text of a field.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.mark.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Fields of a record.
    pub(crate) fn record(&self) -> Map<String, Value> {
        let mut record = self.mark.clone();
        record.remove("code");
        record.extend(self.statistics.record());
        record
    }
}

/// Runs this program again as the compiling process, with `--compile-only` and the settings that make drivers print, and
/// reads its output. `wrapper` is a command that starts it, or empty.
///
/// # Errors
/// If it cannot be started or fails, or if the driver prints no statistics.
pub(crate) fn run(wrapper: &str) -> Result<Vec<CompiledKernel>, CliError> {
    let failed = |message: String| CliError { message, code: SOME_FAILED };
    let program =
        std::env::current_exe().map_err(|error| failed(format!("cannot find this program: {error}")))?;
    let mut words: Vec<OsString> = wrapper.split_whitespace().map(OsString::from).collect();
    words.push(program.into());
    words.extend(std::env::args_os().skip(1));
    words.push("--compile-only".into());
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .env("RADV_DEBUG", "shaders,shaderstats,nocache")
        .env("NAK_DEBUG", "print")
        .env("MESA_SHADER_CACHE_DISABLE", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot start {}: {error}", words[0].display())))?;
    let read = child.stderr.take().map(|output| read(BufReader::new(output))).transpose();
    let status = child.wait();
    let (kernels, rest) =
        read.map_err(|error| failed(format!("reading the compiler's output: {error}")))?.unwrap_or_default();
    if !status.is_ok_and(|status| status.success()) {
        return Err(failed(format!("the compiling process failed:\n{}", rest.join("\n"))));
    }
    match kernels.first() {
        Some(kernel) if !kernels.iter().any(|kernel| kernel.statistics.is_known()) => Err(failed(format!(
            "the driver of {} ({}) prints no statistics of compiled kernels: those of Mesa for AMD (RADV) and NVIDIA (NVK) do",
            kernel.text("adapter"),
            kernel.text("driver"),
        ))),
        _ => Ok(kernels),
    }
}

/// Reads the output of the compiling process: the kernels, and the last lines that belong to no driver.
fn read(mut output: impl BufRead) -> std::io::Result<(Vec<CompiledKernel>, Vec<String>)> {
    let mut kernels: Vec<CompiledKernel> = Vec::new();
    let mut by_code: HashMap<String, CodeStatistics> = HashMap::new();
    let mut rest: Vec<String> = Vec::new();
    let (mut radv, mut nak) = (RadvReader::default(), NakReader::default());
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if (&mut output).take(LONGEST_LINE).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end_matches(['\n', '\r']);
        let mark = line.strip_prefix(MARK).and_then(|text| serde_json::from_str(text).ok());
        if let Some(mark) = mark {
            kernels.push(CompiledKernel { mark, statistics: CodeStatistics::default() });
            continue;
        }
        let Some(kernel) = kernels.last_mut() else {
            remember(&mut rest, line);
            continue;
        };
        let code = kernel.text("code").to_string();
        let found = by_code.entry(code).or_default();
        if let Some(threads) = line.strip_prefix("workgroup_size: ") {
            found.threads = threads.split(", ").map(|extent| extent.parse::<u64>().ok()).product();
        } else if !radv.line(line, found) && !nak.line(line, found) {
            remember(&mut rest, line);
        }
    }
    for kernel in &mut kernels {
        kernel.statistics = by_code.get(kernel.text("code")).cloned().unwrap_or_default();
    }
    Ok((kernels, rest))
}

fn remember(rest: &mut Vec<String>, line: &str) {
    if rest.len() == SHOWN {
        rest.remove(0);
    }
    rest.push(line.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_equal_code_have_equal_statistics() {
        let text = "\
warning of the loader
tagwave-kernel {\"layer\":\"a\",\"code\":\"1\"}
workgroup_size: 16, 8, 1
*** SHADER STATS ***
VGPRs: 40
Instructions: 7
********************
tagwave-kernel {\"layer\":\"b\",\"code\":\"2\"}
other output
tagwave-kernel {\"layer\":\"c\",\"code\":\"1\"}
";
        let (kernels, rest) = read(text.as_bytes()).unwrap();
        let found: Vec<_> = kernels
            .iter()
            .map(|kernel| (kernel.text("layer"), kernel.statistics.registers, kernel.statistics.threads))
            .collect();
        assert_eq!(found, [("a", Some(40), Some(128)), ("b", None, None), ("c", Some(40), Some(128))]);
        assert_eq!(rest, ["warning of the loader", "other output"]);
        assert!(!kernels[0].record().contains_key("code"));
    }
}
