//! Checks and tests of the GStreamer element, which is a package of its own.
//!
//! Without GPUs, whose code is the library's; so nothing of wgpu is built again for other features.

use std::env;
use std::process::{Command, Stdio};

use crate::{Outcome, cargo, run, target_folder};

/// Libraries whose headers the package needs, by their names for pkg-config.
const LIBRARIES: [&str; 4] =
    ["gstreamer-1.0", "gstreamer-base-1.0", "gstreamer-audio-1.0", "gstreamer-check-1.0"];

/// Format and clippy.
pub fn check() -> Outcome {
    run(package("fmt").arg("--check"))?;
    if !has_headers()? {
        return Ok(());
    }
    run(package("clippy").args(["--no-default-features", "--all-targets", "--", "-D", "warnings"]))
}

pub fn test(arguments: &[String]) -> Outcome {
    if !has_headers()? {
        return Ok(());
    }
    run(package("test").arg("--no-default-features").args(arguments).args(["--", "--nocapture"]))
}

fn package(command: &str) -> Command {
    let mut command = cargo(&[command, "--manifest-path", "gstreamer/Cargo.toml"]);
    command.env("CARGO_TARGET_DIR", target_folder());
    command
}

/// True if GStreamer can be built against; under `REQUIRE_GSTREAMER` it must be.
fn has_headers() -> Result<bool, String> {
    let mut found = Command::new("pkg-config");
    found.arg("--exists").args(LIBRARIES).stdout(Stdio::null()).stderr(Stdio::null());
    if found.status().is_ok_and(|status| status.success()) {
        return Ok(true);
    }
    let missing = "no headers of GStreamer (Debian: pkg-config libgstreamer-plugins-base1.0-dev)";
    if env::var_os("REQUIRE_GSTREAMER").is_some() {
        return Err(format!("REQUIRE_GSTREAMER is set: {missing}"));
    }
    println!("not run: gstreamer: {missing}");
    Ok(false)
}
