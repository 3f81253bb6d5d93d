//! The header, the exported symbols, and the C examples, compiled as C99 and C++ and run.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const NAME: &str = "tagwave_capi";

/// System libraries of the static library, as `rustc --print native-static-libs` lists them.
const SYSTEM_LIBRARIES: [&str; 5] = ["-lm", "-lpthread", "-ldl", "-lgcc_s", "-lc"];

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Folder of the built libraries. Tests do not make cargo build libraries for C, so this does; with the features of the
/// whole workspace, which a run of all tests has built already.
fn libraries() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let test = std::env::current_exe().unwrap();
        let folder = test.ancestors().nth(2).unwrap().to_path_buf();
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--workspace", "--all-features"]).current_dir(package());
        command.env("CARGO_TARGET_DIR", folder.parent().unwrap());
        // Build scripts of dependencies run again for another package's name.
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
            {
                command.env_remove(name);
            }
        }
        if folder.ends_with("release") {
            command.arg("--release");
        }
        succeeded(&mut command);
        folder
    };
    FOLDER.get_or_init(build).clone()
}

fn succeeded(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    output
}

/// `UPDATE_HEADER=1` writes the header anew.
#[test]
fn the_header_is_up_to_date() {
    let path = package().join("include/tagwave.h");
    let config = cbindgen::Config::from_file(package().join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(package().join("src/lib.rs"))
        .generate()
        .unwrap();
    let mut header = Vec::new();
    bindings.write(&mut header);
    // Notes on safety are for readers of the Rust source.
    let mut text = String::new();
    let mut is_safety = false;
    for line in String::from_utf8(header).unwrap().lines() {
        is_safety = line.contains("# Safety") || (is_safety && line.starts_with("//"));
        if !is_safety {
            text += line;
            text.push('\n');
        }
    }
    let text = text.replace("\n//\n", "\n").replace("///", "//");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "capi/include/tagwave.h is out of date: run with UPDATE_HEADER=1");
}

#[test]
fn only_these_symbols_are_exported() {
    let library = libraries().join(format!("lib{NAME}.so"));
    let output = succeeded(Command::new("nm").args(["-D", "--defined-only"]).arg(library));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    found.sort_unstable();
    let expected = [
        "tagwave_abi_version",
        "tagwave_cancel",
        "tagwave_clip_samples",
        "tagwave_device",
        "tagwave_embedding_len",
        "tagwave_free",
        "tagwave_label",
        "tagwave_label_count",
        "tagwave_last_error",
        "tagwave_new",
        "tagwave_open",
        "tagwave_sample_rate",
        "tagwave_set",
        "tagwave_set_log",
        "tagwave_set_model",
        "tagwave_stream_close",
        "tagwave_stream_end",
        "tagwave_stream_free_frames",
        "tagwave_stream_next",
        "tagwave_stream_open",
        "tagwave_stream_overrun_frames",
        "tagwave_stream_push",
        "tagwave_stream_push_i16",
        "tagwave_stream_reset",
        "tagwave_tag_file",
        "tagwave_tag_files",
        "tagwave_tag_samples",
        "tagwave_version",
    ];
    assert_eq!(found, expected);
    let header = std::fs::read_to_string(package().join("include/tagwave.h")).unwrap();
    let is_comment = |line: &&str| line.trim_start().starts_with(['/', '*']);
    for name in expected {
        let declarations = header.lines().filter(|line| !is_comment(line)).filter(|line| {
            let before = line.split(&format!("{name}(")).next().unwrap();
            before.len() < line.len() && before.ends_with([' ', '*'])
        });
        assert_eq!(declarations.count(), 1, "{name}");
    }
}

/// True if a tool is installed; under `REQUIRE_C_TOOLS=1` it must be.
fn has_tool(name: &str) -> bool {
    let is_there = Command::new(name).arg("--version").output().is_ok();
    if !is_there {
        assert!(std::env::var_os("REQUIRE_C_TOOLS").is_none(), "REQUIRE_C_TOOLS is set: no {name}");
        println!("not run: no {name}");
    }
    is_there
}

/// Compiles a program, with the shared or the static library.
fn compiled(source: &str, language: &str, is_static: bool, folder: &Path) -> PathBuf {
    let libraries = libraries();
    let program =
        folder.join(format!("{}-{language}-{is_static}", Path::new(source).file_stem().unwrap().display()));
    let compiler = if language == "c99" { "cc" } else { "c++" };
    let mut command = Command::new(compiler);
    command
        .args([&format!("-std={language}"), "-g", "-Wall", "-Wextra", "-Werror", "-pedantic"])
        .args(if language == "c99" { &[][..] } else { &["-x", "c++"] })
        .arg(package().join(source))
        .args(["-x", "none", "-I"])
        .arg(package().join("include"))
        .arg("-o")
        .arg(&program);
    if is_static {
        command.arg(libraries.join(format!("lib{NAME}.a"))).args(SYSTEM_LIBRARIES);
    } else {
        command.arg("-L").arg(&libraries).arg(format!("-l{NAME}")).arg("-lm");
        command.arg(format!("-Wl,-rpath,{}", libraries.display()));
    }
    succeeded(&mut command);
    program
}

/// Path of the demo and of a file that does not exist.
fn files() -> [PathBuf; 3] {
    let demo = package().join("../assets/demo.ogg");
    [demo.clone(), demo.with_file_name("missing.mp3"), demo]
}

#[test]
fn examples_run_as_c_and_as_cpp() {
    let folder = tempfile::tempdir().unwrap();
    for (language, is_static) in [("c99", false), ("c++11", false), ("c99", true)] {
        if language != "c99" && !has_tool("c++") {
            continue;
        }
        let program = compiled("../examples/c/tag.c", language, is_static, folder.path());
        let text = String::from_utf8(succeeded(Command::new(program).args(files())).stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("on cpu, 50 labels"), "{text}");
        assert!(lines[2].starts_with("file 0: electronic 0.4"), "{text}");
        assert!(lines[3].starts_with("file 1: cannot open"), "{text}");
        assert!(lines[4].starts_with("file 2: electronic 0.4") && lines.len() == 5, "{text}");
        let program = compiled("../examples/c/stream.c", language, is_static, folder.path());
        let text = String::from_utf8(succeeded(&mut Command::new(program)).stdout).unwrap();
        assert_eq!(text.lines().count(), 6, "{text}");
    }
}

/// Misuse is a status and a message, never a crash.
#[test]
fn misuse_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let program = compiled("tests/misuse.c", "c99", false, folder.path());
    succeeded(Command::new(program).arg(&files()[0]));
}

/// No leak and no invalid access, where valgrind is installed. The programs use one thread for computing: valgrind runs
/// one at a time.
#[test]
fn valgrind_finds_nothing() {
    if !has_tool("valgrind") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (source, arguments) in [("../examples/c/stream.c", &[][..]), ("tests/misuse.c", &files()[..1])] {
        let program = compiled(source, "c99", false, folder.path());
        let mut command = Command::new("valgrind");
        command.args([
            "--quiet",
            "--error-exitcode=9",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
        ]);
        // Threads of the pool that are still running hold their memory.
        command.args(["--show-leak-kinds=definite"]).arg(program).args(arguments);
        succeeded(&mut command);
    }
}
