//! Tests of the CPU executor on other processors, in QEMU's user mode: `cargo xtask emulate`.
//!
//! Unit tests of the executor and of the reference implementation, all test cases of the ops, and the golden layers and
//! scores of the default model. Runners and linkers are taken from cargo's own variables where they are set.

use std::env;

use crate::targets::{cargo_for, has_program};
use crate::{cargo, run};

struct Processor {
    name: &'static str,
    architecture: &'static str,
    emulator: &'static str,
    /// Options of the emulator: the processor, or the folder of the C library on Debian.
    options: &'static str,
    linker: &'static str,
    packages: &'static str,
}

const PROCESSORS: [Processor; 2] = [
    Processor {
        name: "x86-64 without AVX2",
        architecture: "x86_64",
        emulator: "qemu-x86_64",
        options: "-cpu Nehalem",
        linker: "x86_64-linux-gnu-gcc",
        packages: "qemu-user",
    },
    Processor {
        name: "aarch64",
        architecture: "aarch64",
        emulator: "qemu-aarch64",
        options: "-L /usr/aarch64-linux-gnu",
        linker: "aarch64-linux-gnu-gcc",
        packages: "qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    },
];

const BINARIES: [&str; 7] = ["--lib", "--test", "kernels", "--test", "overflow", "--test", "small"];
/// Parts of the names of tests.
const NAMES: [&str; 7] =
    ["cpu::", "reference::", "audio::", "the_cpu_executor", "the_cpu_hides", "golden_layers", "the_demo"];

pub fn test() -> Result<(), String> {
    let mut count = 0;
    for processor in PROCESSORS {
        match processor.command() {
            Ok(mut command) => {
                println!("emulated: {}", processor.name);
                run(&mut command)?;
                count += 1;
            }
            Err(missing) => println!("not run: {}: {missing}", processor.name),
        }
    }
    if count > 0 { Ok(()) } else { Err("no processor can be emulated here".into()) }
}

impl Processor {
    fn command(&self) -> Result<std::process::Command, String> {
        let target = format!("{}-unknown-linux-gnu", self.architecture);
        let variable =
            |name: &str| format!("CARGO_TARGET_{}_{name}", target.to_uppercase().replace('-', "_"));
        let missing = |program: &str| format!("no {program} on PATH (Debian: {})", self.packages);
        let tests = [&["test", "--all-features"][..], &BINARIES].concat();
        let is_native = env::consts::OS == "linux" && env::consts::ARCH == self.architecture;
        let mut command = if is_native { cargo(&tests) } else { cargo_for(&target, &tests)? };
        let mut default = |name: &str, program: &str, options: &str| {
            let name = variable(name);
            if env::var_os(&name).is_some() {
                return Ok(());
            }
            if !has_program(program) {
                return Err(missing(program));
            }
            command.env(name, format!("{program} {options}").trim_end());
            Ok(())
        };
        default("RUNNER", self.emulator, self.options)?;
        if !is_native {
            default("LINKER", self.linker, "")?;
        }
        // Software drivers of the host are not the subject, and slow under emulation.
        command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
        command.env_remove("REQUIRE_GPU");
        command.arg("--").arg("--nocapture").args(NAMES);
        Ok(command)
    }
}
