//! Runs that are killed and resumed.

mod common;

use std::path::Path;
use std::time::Instant;

use common::audio::Random;
use common::command::word;
use common::library::{arguments, library, sorted_lines, spawn};

#[test]
fn resuming_after_a_kill_gives_the_same_rows() {
    let home = library(60);
    let mut random = Random(7);
    let mut fraction = || random.fraction();
    let mut kills = 0;
    for (format, least) in [("jsonl", 20), ("csv", 10)] {
        let clean = home.path(&format!("clean.{format}"));
        let run = |output: &Path, more: &[&'static str]| -> Vec<String> {
            let all = arguments("tag", &["music", "--batch", "4", "--quiet", "-o", word(output)]);
            [all, more.to_vec()].concat().into_iter().map(String::from).collect()
        };
        let start = Instant::now();
        home.ok(&run(&clean, &[]));
        let whole = start.elapsed();
        let (expected, mut landed) = (sorted_lines(&clean), 0);
        let mut turn = 0;
        while landed < least {
            turn += 1;
            assert!(turn < 20 * least, "the runs end before they are killed");
            let output = home.path(&format!("killed{turn}.{format}"));
            // Killed again and again until it is done.
            for _attempt in 0..8 {
                let command = run(&output, &["--resume"]);
                let mut child = spawn(&home, &command.iter().map(String::as_str).collect::<Vec<_>>());
                std::thread::sleep(whole.mul_f64(0.2 + 0.6 * fraction()));
                landed += usize::from(child.try_wait().unwrap().is_none());
                // SIGKILL on Unix; a process that has ended is no error.
                let _ = child.kill();
                child.wait().unwrap();
            }
            home.ok(&run(&output, &["--resume"]));
            assert!(sorted_lines(&output) == expected, "{format}, turn {turn}");
        }
        kills += landed;
    }
    println!("{kills} kills");
}
