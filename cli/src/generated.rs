//! Texts that are made of the definition of the arguments: shell completions, man pages, and a guide for `tagwave tag` without
//! arguments.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Command};
use clap_complete::Shell;

use super::{CliError, SOME_FAILED, write_failed};
use tagwave::sinks::write_file;

/// First steps.
const GUIDE: &str = "\
tagwave: no files to tag: name some

  tagwave tag song.mp3                  the tags of a song
  tagwave tag ~/Music -o tags.jsonl     those of all songs in a folder, into a file
  tagwave write tags.jsonl              shows how they would be written into the songs
  tagwave tag --help                    all options
";

/// Arguments of `tagwave completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "bash: tagwave completions bash > ~/.local/share/bash-completion/completions/tagwave\n\
                  zsh: tagwave completions zsh > a file _tagwave in a folder of $fpath\n\
                  fish: tagwave completions fish > ~/.config/fish/completions/tagwave.fish"
)]
pub(super) struct CompletionsArgs {
    /// Shell
    shell: Shell,
}

/// Arguments of `tagwave man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Folder for tagwave.1, tagwave-tag.1 and so on
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Prints shell completions.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<u8, CliError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "tagwave", &mut text);
    io::stdout().lock().write_all(&text).map(|()| 0).map_err(|error| write_failed(&error))
}

/// Writes a man page per command.
pub(super) fn man(args: &ManArgs, command: Command) -> Result<u8, CliError> {
    let failed = |error: io::Error| CliError { message: format!("cannot write {error}"), code: SOME_FAILED };
    let mut command = command.disable_help_subcommand(true);
    command.build();
    std::fs::create_dir_all(&args.folder).map_err(|error| {
        failed(io::Error::new(error.kind(), format!("{}: {error}", args.folder.display())))
    })?;
    let mut pages = vec![("tagwave".to_string(), command.clone())];
    let of_command = |sub: &Command| {
        let name = format!("tagwave-{}", sub.get_name());
        (name.clone(), sub.clone().display_name(name))
    };
    pages.extend(command.get_subcommands().map(of_command));
    for (name, command) in pages {
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text).map_err(failed)?;
        write_file(&args.folder.join(format!("{name}.1")), &text).map_err(failed)?;
    }
    Ok(0)
}

/// Guide instead of an error, if `tagwave tag` was called without any argument.
pub(super) fn guide(error: &clap::Error, arguments: &[std::ffi::OsString]) -> Option<&'static str> {
    let is_bare = arguments.len() == 2 && arguments[1] == "tag";
    (error.kind() == ErrorKind::MissingRequiredArgument && is_bare).then_some(GUIDE)
}
