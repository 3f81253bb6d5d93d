//! Any text as a condition on tags: an error, or true or false for any scores.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagwave::search::Condition;

fuzz_target!(|data: &[u8]| {
    let labels = ["rock", "classic rock", "jazz", "not", "00s", "Hip-Hop"].map(String::from);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(condition) = Condition::parse(text, &labels) {
        for scores in [[0.0; 6], [0.2; 6], [1.0; 6], [f32::NAN; 6]] {
            condition.holds(&scores);
        }
        // Rows of another index.
        condition.holds(&[]);
        assert!(condition.wanted().iter().all(|&label| label < labels.len()));
    }
});
