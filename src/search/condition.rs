//! Conditions on the tags of a track: `jazz > 0.3 and not metal`.

/// Score that a tag without a number must reach.
const USUAL_THRESHOLD: f32 = 0.2;
/// Likeness of names (Jaro and Winkler) above which one is probably meant by the other.
const ALIKE: f64 = 0.8;
/// Maximum depth of parentheses and `not`.
const MAX_DEPTH: usize = 64;

/// Error of a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionError {
    /// Text that is no condition.
    #[error("expected {expected} {}", at(place))]
    Syntax {
        /// Expected form.
        expected: &'static str,
        /// Rest of the text; empty at its end.
        place: String,
    },
    /// A tag that the model does not have.
    #[error("unknown tag {tag:?}{}: expected one of {labels}", nearest.as_ref().map_or_else(String::new, |near| format!(", perhaps {near:?}")))]
    Tag {
        /// The tag.
        tag: String,
        /// A tag with nearly the same letters.
        nearest: Option<String>,
        /// All tags.
        labels: String,
    },
    /// Parentheses within parentheses, too many.
    #[error("more than {MAX_DEPTH} parentheses within each other")]
    Depth,
}

/// Place of a syntax error.
fn at(place: &str) -> String {
    if place.is_empty() { "at the end".into() } else { format!("at {place:?}") }
}

/// Condition on the scores of a track.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Compare { label: usize, comparison: CompareSign, value: f32 },
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum CompareSign {
    Above,
    AtLeast,
    Below,
    AtMost,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Number(f32),
    Compare(CompareSign),
    Open,
    Close,
    And,
    Or,
    Not,
}

impl Condition {
    /// Parses a condition on `labels`: comparisons (`jazz > 0.3`, `<`, `>=`, `<=`; a tag alone stands for at least 0.2)
    /// joined by `and`, `or`, `not` and parentheses. Case does not matter; quotes around a tag are needed only if it
    /// contains a keyword.
    ///
    /// # Errors
    /// [`ConditionError`].
    pub fn parse(text: &str, labels: &[String]) -> Result<Condition, ConditionError> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, labels, text, depth: 0 };
        let node = parser.any()?;
        if parser.tokens.is_empty() {
            return Ok(Condition(node));
        }
        Err(parser.expected("the end, `and` or `or`"))
    }

    /// True if a track with these scores qualifies.
    pub fn holds(&self, scores: &[f32]) -> bool {
        self.0.holds(scores)
    }

    /// Labels, by their place, that the condition asks to be high, each once.
    pub fn wanted(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.0.collect_wanted(true, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Node {
    fn holds(&self, scores: &[f32]) -> bool {
        match self {
            Node::Compare { label, comparison, value } => {
                let score = scores.get(*label).copied().unwrap_or(0.0);
                match comparison {
                    CompareSign::Above => score > *value,
                    CompareSign::AtLeast => score >= *value,
                    CompareSign::Below => score < *value,
                    CompareSign::AtMost => score <= *value,
                }
            }
            Node::Not(node) => !node.holds(scores),
            Node::All(nodes) => nodes.iter().all(|node| node.holds(scores)),
            Node::Any(nodes) => nodes.iter().any(|node| node.holds(scores)),
        }
    }

    fn collect_wanted(&self, is_wanted: bool, found: &mut Vec<usize>) {
        match self {
            Node::Compare { label, comparison, .. } => {
                let is_high = matches!(comparison, CompareSign::Above | CompareSign::AtLeast);
                if is_high == is_wanted {
                    found.push(*label);
                }
            }
            Node::Not(node) => node.collect_wanted(!is_wanted, found),
            Node::All(nodes) | Node::Any(nodes) => {
                nodes.iter().for_each(|node| node.collect_wanted(is_wanted, found));
            }
        }
    }
}

/// Divides text into tokens; words that follow each other are one tag.
fn tokens(text: &str) -> Result<Vec<Token>, ConditionError> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '(' => (Token::Open, &rest[1..]),
            ')' => (Token::Close, &rest[1..]),
            '>' | '<' => comparison(first, &rest[1..]),
            '"' | '\'' => {
                let end = rest[1..].find(first).ok_or_else(|| syntax("a closing quote", rest))?;
                (Token::Word(rest[1..=end].to_string()), &rest[end + 2..])
            }
            _ => {
                let is_end = |c: char| c.is_whitespace() || "()<>\"'".contains(c);
                let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
                (keyword(word, tokens.last()), after)
            }
        };
        match (tokens.last_mut(), token) {
            (Some(Token::Word(before)), Token::Word(word)) => *before = format!("{before} {word}"),
            (_, token) => tokens.push(token),
        }
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn comparison(first: char, rest: &str) -> (Token, &str) {
    let (is_equal, rest) = rest.strip_prefix('=').map_or((false, rest), |rest| (true, rest));
    let comparison = match (first, is_equal) {
        ('>', false) => CompareSign::Above,
        ('>', true) => CompareSign::AtLeast,
        (_, false) => CompareSign::Below,
        (_, true) => CompareSign::AtMost,
    };
    (Token::Compare(comparison), rest)
}

/// A keyword, a number behind a comparison, or a part of a tag: tags may begin with digits.
fn keyword(word: &str, before: Option<&Token>) -> Token {
    match word.to_ascii_lowercase().as_str() {
        "and" => return Token::And,
        "or" => return Token::Or,
        "not" => return Token::Not,
        _ => {}
    }
    match (before, word.parse::<f32>()) {
        (Some(Token::Compare(_)), Ok(number)) if number.is_finite() => Token::Number(number),
        _ => Token::Word(word.to_string()),
    }
}

/// The label that is most like a misspelt one.
fn nearest_label(tag: &str, labels: &[String]) -> Option<String> {
    let likeness = |label: &String| strsim::jaro_winkler(&label.to_lowercase(), &tag.to_lowercase());
    let nearest = labels.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(nearest) > ALIKE).then(|| nearest.clone())
}

fn syntax(expected: &'static str, place: &str) -> ConditionError {
    ConditionError::Syntax { expected, place: place.chars().take(40).collect() }
}

struct Parser<'a> {
    tokens: &'a [Token],
    labels: &'a [String],
    text: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take(&mut self, token: &Token) -> bool {
        let is_next = self.tokens.first() == Some(token);
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }

    fn expected(&self, expected: &'static str) -> ConditionError {
        let place = match self.tokens.first() {
            None => String::new(),
            Some(Token::Word(word)) => word.clone(),
            Some(_) => self.text.to_string(),
        };
        syntax(expected, &place)
    }

    fn any(&mut self) -> Result<Node, ConditionError> {
        let mut nodes = vec![self.all()?];
        while self.take(&Token::Or) {
            nodes.push(self.all()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Any(nodes) })
    }

    fn all(&mut self) -> Result<Node, ConditionError> {
        let mut nodes = vec![self.one()?];
        while self.take(&Token::And) {
            nodes.push(self.one()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes) })
    }

    fn one(&mut self) -> Result<Node, ConditionError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ConditionError::Depth);
        }
        let node = if self.take(&Token::Not) {
            Node::Not(Box::new(self.one()?))
        } else if self.take(&Token::Open) {
            let inner = self.any()?;
            if !self.take(&Token::Close) {
                return Err(self.expected("`)`"));
            }
            inner
        } else {
            self.compare()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn compare(&mut self) -> Result<Node, ConditionError> {
        let Some(Token::Word(tag)) = self.tokens.first() else { return Err(self.expected("a tag")) };
        let tag = tag.clone();
        self.next();
        let found = self.labels.iter().position(|label| label.to_lowercase() == tag.to_lowercase());
        let label = found.ok_or_else(|| {
            if tag.contains('=') {
                return syntax("a comparison with >, >=, < or <=", &tag);
            }
            let nearest = nearest_label(&tag, self.labels);
            ConditionError::Tag { tag, nearest, labels: self.labels.join(", ") }
        })?;
        let Some(Token::Compare(comparison)) = self.tokens.first() else {
            return Ok(Node::Compare { label, comparison: CompareSign::AtLeast, value: USUAL_THRESHOLD });
        };
        let comparison = *comparison;
        self.next();
        match self.next() {
            Some(Token::Number(value)) => Ok(Node::Compare { label, comparison, value: *value }),
            _ => Err(syntax("a number behind the comparison", self.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Condition, ConditionError> {
        let labels = ["rock", "jazz", "classic rock", "80s", "Hip-Hop"].map(String::from);
        Condition::parse(text, &labels)
    }

    fn holds(text: &str, scores: [f32; 5]) -> bool {
        parse(text).unwrap().holds(&scores)
    }

    #[test]
    fn conditions_hold_as_they_read() {
        let scores = [0.5, 0.1, 0.2, 0.9, 0.0];
        for text in [
            "rock",
            "rock>0.4",
            "ROCK >= 0.5 and not jazz",
            "classic rock",
            "'classic rock' <= 0.2",
            "80s > 0.8",
            "jazz or 80s",
            "not (jazz or hip-hop)",
            "jazz and rock or 80s",
            "not not rock",
            "jazz<0.2 and hip-hop<1",
        ] {
            assert!(holds(text, scores), "{text}");
        }
        for text in ["jazz", "rock > 0.5", "jazz and (rock or 80s)", "not rock", "hip-hop > 0"] {
            assert!(!holds(text, scores), "{text}");
        }
    }

    #[test]
    fn wanted_tags_are_those_that_must_be_high() {
        let condition =
            parse("(rock > 0.3 or not jazz < 0.1) and not 80s and hip-hop < 0.5 and rock").unwrap();
        assert_eq!(condition.wanted(), [0, 1]);
    }

    #[test]
    fn mistakes_are_named() {
        let message = |text: &str| parse(text).unwrap_err().to_string();
        assert!(message("polka > 1").contains("polka") && message("polka").contains("classic rock"));
        for text in [
            "",
            "rock >",
            "rock > jazz",
            "(rock",
            "rock)",
            "rock jazz",
            "and",
            "rock and",
            "'rock",
            "> 0.2",
            "rock > nan",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse(&"(".repeat(100_000)), Err(ConditionError::Depth));
        assert_eq!(parse(&"not ".repeat(100_000)), Err(ConditionError::Depth));
    }
}
