//! The `tagwave` command; everything is in [`tagwave::cli`].

fn main() -> std::process::ExitCode {
    tagwave::cli::main()
}
