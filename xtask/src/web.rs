//! The package and the page for browsers: `web/dist/`, a server for it, and its tests in Chromium.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Outcome, built, cargo, root, run, target_folder, targets};

const TARGET: &str = "wasm32-unknown-unknown";
/// Packages of the tests; a browser of their own is not needed.
const PYTHON_PACKAGES: [&str; 2] = ["playwright>=1.50", "pytest>=8"];

/// Builds the site, and does what the arguments say.
pub fn run_command(arguments: &[String]) -> Outcome {
    match arguments {
        [] => build().map(|()| println!("web/dist: cargo xtask web --serve")),
        [flag] if flag == "--serve" => build().and_then(|()| serve()),
        [flag, rest @ ..] if flag == "--test" => test(rest),
        _ => Err("usage: cargo xtask web [--serve | --test [ARGUMENTS OF PYTEST]]".into()),
    }
}

/// Format and clippy.
pub fn check() -> Outcome {
    run(package("fmt").args(["--all", "--check"]))?;
    match targets::cargo_for(TARGET, &["clippy", "--manifest-path", "web/Cargo.toml"]) {
        Ok(mut command) => run(in_target_folder(&mut command).args(["--", "-D", "warnings"])),
        Err(reason) => missing(&reason),
    }
}

/// Tests of the site in Chromium, if there is one.
pub fn test(arguments: &[String]) -> Outcome {
    let Some(chromium) = chromium() else { return missing("no chromium (Debian: chromium)") };
    if let Err(reason) = targets::cargo_for(TARGET, &["build"]) {
        return missing(&reason);
    }
    let python = match python() {
        Ok(python) => python,
        Err(reason) => return missing(&reason),
    };
    build()?;
    let mut command = Command::new(python);
    command.args(["-m", "pytest", "-q", "-rP", "web/tests"]).args(arguments).current_dir(root());
    command.env("TAGWAVE_WEB_DIST", dist()).env("TAGWAVE_CHROMIUM", chromium);
    command.env("TAGWAVE_PROGRAM", built("tagwave")?);
    run(&mut command)
}

fn missing(reason: &str) -> Outcome {
    if env::var_os("REQUIRE_BROWSER").is_some() {
        return Err(format!("REQUIRE_BROWSER is set: {reason}"));
    }
    println!("not run: web: {reason}");
    Ok(())
}

fn package(command: &str) -> Command {
    let mut command = cargo(&[command, "--manifest-path", "web/Cargo.toml"]);
    in_target_folder(&mut command);
    command
}

/// A folder of its own, because the flags below are those of the whole build.
fn in_target_folder(command: &mut Command) -> &mut Command {
    command
        .env("CARGO_TARGET_DIR", target_folder().join("web"))
        .env("RUSTFLAGS", "-C target-feature=+simd128")
}

fn dist() -> PathBuf {
    root().join("web/dist")
}

/// Makes `web/dist/`: the page, the package beside it, and the demo track.
fn build() -> Outcome {
    let arguments = ["build", "--release", "--manifest-path", "web/Cargo.toml"];
    run(in_target_folder(&mut targets::cargo_for(TARGET, &arguments)?))?;
    let package_folder = dist().join("package");
    if dist().exists() {
        fs::remove_dir_all(dist()).map_err(|error| format!("{}: {error}", dist().display()))?;
    }
    fs::create_dir_all(&package_folder).map_err(|error| format!("{}: {error}", package_folder.display()))?;
    let module = target_folder().join("web").join(TARGET).join("release/tagwave_web.wasm");
    let mut tool =
        cargo(&["run", "--quiet", "--manifest-path", "web/Cargo.toml", "-p", "tagwave-web-build", "--"]);
    tool.env("CARGO_TARGET_DIR", target_folder().join("web"));
    run(tool.arg(&module).arg(&package_folder))?;
    copy_files(&root().join("web/package"), &package_folder)?;
    copy_files(&root().join("web/page"), &dist())?;
    copy_file(&root().join("assets/demo.ogg"), &dist().join("demo.ogg"))
}

fn copy_files(from: &Path, to: &Path) -> Outcome {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        copy_file(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Outcome {
    fs::copy(from, to).map(|_| ()).map_err(|error| format!("{}: {error}", from.display()))
}

/// Serves the site on loopback until it is stopped.
fn serve() -> Outcome {
    let mut server = Command::new("python3");
    server.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(dist()).arg("8000");
    println!("http://127.0.0.1:8000/  (Ctrl-C ends it)");
    run(&mut server)
}

fn chromium() -> Option<PathBuf> {
    let named = env::var_os("TAGWAVE_CHROMIUM").map(PathBuf::from);
    let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    named.into_iter().chain(usual.map(PathBuf::from)).find(|path| path.exists())
}

/// Python with the packages of the tests, in an environment below the target folder.
fn python() -> Result<PathBuf, String> {
    let folder = target_folder().join("web/python");
    let python = folder.join("bin/python");
    let has_packages = |python: &Path| {
        let mut command = Command::new(python);
        command.args(["-c", "import playwright, pytest"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !has_packages(&python) {
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        made.map_err(|_| "no Python environment (Debian: python3-venv)".to_string())?;
        let mut install = Command::new(&python);
        install
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PYTHON_PACKAGES);
        run(&mut install).map_err(|_| "playwright and pytest could not be installed".to_string())?;
    }
    Ok(python)
}
