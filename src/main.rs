//! The `tagwave` command; everything is in [`tagwave::cli`].

fn main() -> std::process::ExitCode {
    with_runtime_folder();
    tagwave::cli::main()
}

/// Restarts the program with `XDG_RUNTIME_DIR` set if it is not, because a layer of Mesa's Vulkan driver prints errors
/// without it. Setting the variable in this process would not be safe.
#[cfg(unix)]
fn with_runtime_folder() {
    use std::os::unix::process::CommandExt;
    const NAME: &str = "XDG_RUNTIME_DIR";
    if std::env::var_os(NAME).is_none_or(|folder| folder.is_empty())
        && let Ok(program) = std::env::current_exe()
    {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| "tagwave".into());
        // Returns on failure only; the program then continues with those errors.
        let _ = std::process::Command::new(program)
            .arg0(name)
            .args(arguments)
            .env(NAME, std::env::temp_dir())
            .exec();
    }
}

#[cfg(not(unix))]
fn with_runtime_folder() {}
