//! Output for people: bars on a terminal, compact lines, NO_COLOR, completions, man pages, the guide.

mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::command::Home;
use common::library::{arguments, library};

/// Output of the program on a terminal with `columns`; `None` if there is no `script` to make one.
fn on_terminal(
    home: &Home,
    columns: usize,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Option<String> {
    let program = env!("CARGO_BIN_EXE_tagwave");
    let words: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("stty cols {columns} rows 40; '{program}' {}", words.join(" "));
    let mut isolated = home.command(&[] as &[&str]);
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(home.path("."));
    for (name, value) in isolated.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color").envs(variables.iter().copied());
    let output = command.stdin(Stdio::null()).output();
    let _ = &mut isolated;
    match output {
        Ok(output) if output.status.success() => {
            Some(String::from_utf8(output.stdout).unwrap().replace('\r', ""))
        }
        _ => {
            println!("not run: no `script` that makes a terminal");
            None
        }
    }
}

#[test]
fn a_terminal_has_bars_within_its_width() {
    let home = library(2);
    let run = arguments("tag", &["music", "-q"]);
    for columns in [40, 80] {
        let Some(text) = on_terminal(&home, columns, &run, &[("NO_COLOR", "1")]) else { return };
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(
            text.contains('\u{2588}') || text.contains('\u{2589}') || text.contains('\u{258f}'),
            "{text}"
        );
        // Sentences are left to the terminal.
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("warning: ")).collect();
        assert!(lines.iter().all(|line| line.chars().count() <= columns), "{text}");
        assert_eq!(lines.len(), 2 * 6, "{text}");
    }
    let Some(text) = on_terminal(&home, 80, &run, &[]) else { return };
    assert!(text.contains("\x1b[1m") && text.contains("\x1b[36m"), "{text:?}");
    let lines = arguments("tag", &["music", "-q", "--format", "line"]);
    let Some(text) = on_terminal(&home, 40, &lines, &[("NO_COLOR", "1")]) else { return };
    assert_eq!(text.lines().count(), 2);
    assert!(text.lines().all(|line| line.chars().count() <= 40 && line.contains(".wav")), "{text}");
}

#[test]
fn compact_lines_in_a_pipe_are_complete() {
    let home = library(2);
    let output =
        home.run(&arguments("tag", &["music", "no such.mp3", "-q", "--format", "line", "--top", "3"]));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains("00000.wav  ") && lines[0].matches(", ").count() == 2, "{text}");
    assert!(lines[2].starts_with("no such.mp3  error: "), "{text}");
}

#[test]
fn without_files_the_first_steps_are_shown() {
    let home = Home::new();
    let said = home.fails(2, &["tag"]);
    for word in ["tagwave tag song.mp3", "-o tags.jsonl", "--help"] {
        assert!(said.contains(word), "{said}");
    }
    // Options without files are an error as usual.
    let said = home.fails(2, &["tag", "--top", "3"]);
    assert!(said.contains("<PATH>"), "{said}");
}

#[test]
fn completions_and_man_pages_are_those_of_the_arguments() {
    let home = Home::new();
    for (shell, word) in
        [("bash", "complete -F"), ("zsh", "#compdef tagwave"), ("fish", "complete -c tagwave")]
    {
        let text = home.ok(&["completions", shell]);
        assert!(text.contains(word) && text.contains("calibrated"), "{shell}");
    }
    let script = home.path("completions.bash");
    fs::write(&script, home.ok(&["completions", "bash"])).unwrap();
    match Command::new("bash").arg("-n").arg(&script).status() {
        Ok(status) => assert!(status.success()),
        Err(_) => println!("not run: no bash"),
    }
    home.ok(&["man", "man"]);
    let page = fs::read_to_string(home.path("man/tagwave-write.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("undo"), "{page}");
    let commands = fs::read_dir(home.path("man")).unwrap().count();
    let help = home.ok(&["--help"]);
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    // All but `help`, and the program itself.
    assert_eq!(commands, names.filter(|line| !line.trim().starts_with("help ")).count() + 1);
    fs::write(home.path("taken"), "").unwrap();
    assert!(home.fails(1, &["man", "taken"]).contains("taken"));
}
