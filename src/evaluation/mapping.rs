//! Mappings from the tags of one set to those of another.

use std::fmt;
use std::str::FromStr;

/// Error of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// A line that is not understood.
    #[error("line {line}: {message}")]
    Line {
        /// Line, from 1.
        line: usize,
        /// Description of the error.
        message: String,
    },
    /// A tag that is not there.
    #[error("unknown tag {tag:?}: expected one of {known}")]
    Unknown {
        /// The tag.
        tag: String,
        /// All known tags.
        known: String,
    },
}

/// Combination of the scores of several tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Combine {
    /// The score of one tag.
    Plain,
    Max,
    Mean,
    /// Sum, at most 1.
    Sum,
}

/// Tags that a score is made from: `dance`, `max(dance, funk)`, `mean(...)` or `sum(...)`, at most 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSource {
    combine: Combine,
    tags: Vec<String>,
}

/// Indices of the tags of a [`TagSource`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundSource {
    combine: Combine,
    indices: Vec<usize>,
}

impl TagSource {
    /// The score of one tag.
    pub fn plain(tag: impl Into<String>) -> TagSource {
        TagSource { combine: Combine::Plain, tags: vec![tag.into()] }
    }

    /// Finds the tags among labels.
    ///
    /// # Errors
    /// [`MappingError::Unknown`].
    pub fn bind(&self, labels: &[String]) -> Result<BoundSource, MappingError> {
        let find = |tag: &String| {
            labels
                .iter()
                .position(|label| label == tag)
                .ok_or_else(|| MappingError::Unknown { tag: tag.clone(), known: labels.join(", ") })
        };
        Ok(BoundSource {
            combine: self.combine,
            indices: self.tags.iter().map(find).collect::<Result<_, _>>()?,
        })
    }
}

impl BoundSource {
    /// Score from the scores of all labels.
    pub fn score(&self, of: impl Fn(usize) -> f64) -> f64 {
        let scores = self.indices.iter().map(|&index| of(index));
        match self.combine {
            Combine::Plain | Combine::Max => scores.fold(f64::NEG_INFINITY, f64::max),
            Combine::Mean => scores.sum::<f64>() / self.indices.len() as f64,
            Combine::Sum => scores.sum::<f64>().min(1.0),
        }
    }
}

impl fmt::Display for TagSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<String> = self.tags.iter().map(|tag| quoted(tag)).collect();
        let tags = tags.join(", ");
        match self.combine {
            Combine::Plain => f.write_str(&tags),
            Combine::Max => write!(f, "max({tags})"),
            Combine::Mean => write!(f, "mean({tags})"),
            Combine::Sum => write!(f, "sum({tags})"),
        }
    }
}

/// Quotes a tag that has a character with a meaning.
fn quoted(tag: &str) -> String {
    let is_plain = !tag.contains(['"', ',', '(', ')', '=', '#']) && tag.trim() == tag && !tag.is_empty();
    if is_plain { tag.to_string() } else { format!("\"{}\"", tag.replace('"', "\"\"")) }
}

impl FromStr for TagSource {
    type Err = String;

    fn from_str(text: &str) -> Result<TagSource, String> {
        let (first, rest) = name(text)?;
        let rest = rest.trim();
        if rest.is_empty() {
            return Ok(TagSource::plain(first));
        }
        let Some(mut rest) = rest.strip_prefix('(') else {
            return Err(format!("expected a tag or max(...), mean(...), sum(...), found {text:?}"));
        };
        let combine = match &*first {
            "max" => Combine::Max,
            "mean" => Combine::Mean,
            "sum" => Combine::Sum,
            other => {
                let advice = "quote a tag that has parentheses: \"tag (x)\"";
                return Err(format!("unknown function {other:?}: expected max, mean or sum; {advice}"));
            }
        };
        let mut tags = Vec::new();
        loop {
            let (tag, after) = name(rest)?;
            tags.push(tag);
            let after = after.trim_start();
            if let Some(after) = after.strip_prefix(',') {
                rest = after;
            } else if after.trim_end() == ")" {
                return Ok(TagSource { combine, tags });
            } else {
                return Err(format!("expected `,` or `)` at the end, found {after:?}"));
            }
        }
    }
}

/// Takes a tag, plain or in quotes (a quote inside is doubled), from the start of `text`; returns the rest too.
fn name(text: &str) -> Result<(String, &str), String> {
    let text = text.trim_start();
    let Some(inside) = text.strip_prefix('"') else {
        let end = text.find([',', '(', ')', '=', '"']).unwrap_or(text.len());
        let name = text[..end].trim_end();
        if name.is_empty() {
            return Err(format!("expected a tag, found {text:?}"));
        }
        return Ok((name.to_string(), &text[end..]));
    };
    let mut found = String::new();
    let mut rest = inside;
    loop {
        let Some((before, after)) = rest.split_once('"') else {
            return Err(format!("expected a closing quote in {text:?}"));
        };
        found.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                found.push('"');
                rest = after;
            }
            None if found.trim().is_empty() => return Err("expected a tag in quotes, found none".into()),
            None => return Ok((found, after)),
        }
    }
}

/// Tags of a new set, each with its source among the tags of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Tags of the new set.
    pub targets: Vec<(String, TagSource)>,
}

impl Mapping {
    /// Parses text with a line `target = source` per tag; empty lines and lines that begin with `#` are ignored.
    ///
    /// # Errors
    /// [`MappingError::Line`].
    pub fn parse(text: &str) -> Result<Mapping, MappingError> {
        let mut targets: Vec<(String, TagSource)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let wrong = |message| MappingError::Line { line: index + 1, message };
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (target, rest) = name(line).map_err(wrong)?;
            let Some(source) = rest.trim_start().strip_prefix('=') else {
                return Err(wrong(format!(
                    "expected `target = tag` or `target = max(tag, ...)`, found {line:?}"
                )));
            };
            if targets.iter().any(|(other, _)| *other == target) {
                return Err(wrong(format!("the tag {target:?} has two lines")));
            }
            targets.push((target, source.trim().parse().map_err(wrong)?));
        }
        Ok(Mapping { targets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["dance", "funk", "Hip-Hop", "a, (b)", "say \"x\""].map(String::from).to_vec()
    }

    #[test]
    fn every_function() {
        let text = "# styles\n\ndisco = max(dance, funk)\nboth=mean( dance ,funk )\nsome = sum(dance, funk)\n\
                    hiphop = Hip-Hop\nodd = \"a, (b)\"\n\"odd=er\" = sum(\"say \"\"x\"\"\")\n";
        let mapping = Mapping::parse(text).unwrap();
        let scores = [0.25, 0.875, 0.5, 0.1, 0.2];
        let score = |(_, source): &(String, TagSource)| source.bind(&labels()).unwrap().score(|i| scores[i]);
        let found: Vec<f64> = mapping.targets.iter().map(score).collect();
        assert_eq!(found, [0.875, 0.5625, 1.0, 0.5, 0.1, 0.2]);
        assert_eq!(mapping.targets[5].0, "odd=er");
        for (_, source) in &mapping.targets {
            assert_eq!(source.to_string().parse().as_ref(), Ok(source));
        }
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [
            ("a = b\nc", 2),
            ("a = min(b)", 1),
            ("a = max(b", 1),
            ("a = max()", 1),
            ("\n = b", 2),
            ("a = b\na = c", 2),
            ("a = \"b", 1),
            ("a = b, c", 1),
            ("a = max(b) c", 1),
            ("a = ", 1),
            ("a = \"\"", 1),
        ] {
            match Mapping::parse(text) {
                Err(MappingError::Line { line: found, .. }) => assert_eq!(found, line, "{text:?}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
        let unknown = "blues".parse::<TagSource>().unwrap().bind(&labels()).unwrap_err();
        assert!(unknown.to_string().starts_with("unknown tag \"blues\": expected one of dance, funk"));
    }
}
