//! Loops unrolled by text: what drivers that do not unroll them themselves need.
//!
//! `for (var r = 0u; r < PF; r++) { // unrolled` becomes its body, once for every value of `r`, so that arrays
//! indexed by `r` fall apart into registers. The kernel's file stays plain WGSL that means the same.

use std::collections::HashMap;

/// Most copies of a body; a loop that would need more stays a loop.
const MOST: u32 = 256;
/// Length of a text from which on loops stay loops: nested ones would multiply.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// `source` with its marked loops written out; `header` has further constants.
pub(super) fn unroll(header: &str, source: &str) -> String {
    if !source.contains(MARK) {
        return source.to_string();
    }
    let constants = constants(&format!("{}\n{source}", header.replace("; ", ";\n")));
    let lines: Vec<&str> = source.lines().collect();
    let mut text = String::with_capacity(source.len());
    expand(&lines, &constants, &mut text);
    text
}

const MARK: &str = "{ // unrolled";

fn expand<L: AsRef<str>>(lines: &[L], constants: &HashMap<String, u32>, text: &mut String) {
    let mut place = 0;
    while let Some(line) = lines.get(place).map(AsRef::as_ref) {
        place += 1;
        let found = head(line, constants).filter(|_| text.len() < MAX_TEXT_BYTES);
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let length = lines[place..].iter().position(|line| line.as_ref() == closing);
        let (Some((name, count)), Some(length)) = (found, length) else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let body = &lines[place..place + length];
        for value in 0..count {
            let body: Vec<String> = body.iter().map(|line| substitute(line.as_ref(), name, value)).collect();
            text.push_str("{\n");
            expand(&body, constants, text);
            text.push_str("}\n");
        }
        place += length + 1;
    }
}

/// Variable and number of turns of a marked loop.
fn head<'a>(line: &'a str, constants: &HashMap<String, u32>) -> Option<(&'a str, u32)> {
    let rest = line.trim().strip_suffix(MARK)?.strip_prefix("for (var ")?;
    let (name, rest) = rest.split_once(" = 0u; ")?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_name {
        return None;
    }
    let (bound, _) = rest.strip_prefix(name)?.strip_prefix(" < ")?.split_once(';')?;
    let count = value(bound, constants)?;
    (count <= MOST).then_some((name, count))
}

/// `line` with every word `name` replaced.
fn substitute(line: &str, name: &str, value: u32) -> String {
    let code = line.split("//").next().unwrap_or_default();
    // A nested mark is a comment that must stay.
    let comment = if line.ends_with(MARK) { &line[code.len()..] } else { "" };
    let mut text = String::with_capacity(line.len());
    let mut word = String::new();
    for character in code.chars().chain(['\n']) {
        if character.is_alphanumeric() || character == '_' {
            word.push(character);
            continue;
        }
        if word == name {
            text.push_str(&format!("{value}u"));
        } else {
            text.push_str(&word);
        }
        word.clear();
        text.push(character);
    }
    text.pop();
    text + comment
}

/// The unsigned constants of a text, in the order of their definition.
pub(super) fn constants(text: &str) -> HashMap<String, u32> {
    let mut constants = HashMap::new();
    for line in text.lines() {
        let definition = line.strip_prefix("const ").and_then(|rest| rest.split_once(';'));
        if let Some((name, expression)) = definition.and_then(|(definition, _)| definition.split_once(" = "))
            && let Some(value) = value(expression, &constants)
        {
            constants.insert(name.to_string(), value);
        }
    }
    constants
}

/// Sums and differences of products of names and numbers; anything else is no value.
pub(super) fn value(expression: &str, constants: &HashMap<String, u32>) -> Option<u32> {
    let (mut sum, mut product, mut operator) = (0i64, 0i64, "+");
    for word in expression.split_whitespace() {
        if ["+", "-", "*"].contains(&word) {
            operator = word;
            continue;
        }
        let number = match constants.get(word) {
            Some(&value) => value,
            None => word.strip_suffix('u')?.parse().ok()?,
        };
        match operator {
            "*" => product = product.checked_mul(i64::from(number))?,
            "-" => (sum, product) = (sum.checked_add(product)?, -i64::from(number)),
            _ => (sum, product) = (sum.checked_add(product)?, i64::from(number)),
        }
    }
    u32::try_from(sum.checked_add(product)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_loops_are_written_out() {
        let source = "const W = PT * 2u;\nfn f() {\n    for (var r = 0u; r < W; r++) { // unrolled\n        \
                      for (var s = 0u; s < W - 1u; s++) { // unrolled\n            a[r * W + s] = rs; // r\n        \
                      }\n    }\n}";
        let text = unroll("const PT = 1u; const X = 3u; ", source);
        let code: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with('a')).collect();
        assert_eq!(code, ["a[0u * W + 0u] = rs;", "a[1u * W + 0u] = rs;"]);
        assert!(!text.contains("for ("));
    }

    #[test]
    fn deep_nests_do_not_multiply_without_end() {
        let depth = 6;
        let mut source = String::new();
        for level in 0..depth {
            source.push_str(&format!(
                "{}for (var r{level} = 0u; r{level} < 256u; r{level}++) {{ // unrolled\n",
                "  ".repeat(level)
            ));
        }
        for level in (0..depth).rev() {
            source.push_str(&format!("{}}}\n", "  ".repeat(level)));
        }
        assert!(unroll("", &source).len() < 4 * MAX_TEXT_BYTES);
        let nameless = "for (var  = 0u;  < 3u; ++) { // unrolled\n}\n";
        assert_eq!(unroll("", nameless), nameless);
    }

    #[test]
    fn what_cannot_be_counted_stays_a_loop() {
        let source = "for (var r = 0u; r < params.N; r++) { // unrolled\n    a[r] = r;\n}\n";
        assert_eq!(unroll("", source), source);
    }
}
