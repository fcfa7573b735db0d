//! Tokens of the full form: those of the WebAssembly text format.
//!
//! Specification: `protocol/20-policies.md` 4.2.

use super::Mode;
use super::error::{Problem, Refusal};
use super::syntax::Item;

/// A token.
#[derive(Debug)]
pub(super) enum Token {
    Open,
    Close,
    OpenSeq,
    CloseSeq,
    /// Anything that is an item by itself.
    Item(Item),
}

/// Reads tokens off a text.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    mode: Mode,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, mode: Mode) -> Self {
        Self { text, at: 0, mode }
    }

    /// Where the next token is looked for.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn refuse<T>(&self, at: usize, problem: Problem) -> Result<T, Refusal> {
        Err(Refusal::new(at, problem))
    }

    /// The next token with its place; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(usize, Token)>, Refusal> {
        self.skip()?;
        let at = self.at;
        let Some(first) = self.rest().chars().next() else {
            return Ok(None);
        };
        let token = match first {
            '(' => Token::Open,
            ')' => Token::Close,
            '[' => Token::OpenSeq,
            ']' => Token::CloseSeq,
            '"' => return Ok(Some((at, Token::Item(self.word()?)))),
            c if is_word(c) => return Ok(Some((at, Token::Item(self.word()?)))),
            other => return self.refuse(at, Problem::Character(other)),
        };
        self.at += 1;
        Ok(Some((at, token)))
    }

    /// Skips blanks and comments.
    fn skip(&mut self) -> Result<(), Refusal> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with(";;") {
                let end = trimmed.find(['\r', '\n']).unwrap_or(trimmed.len());
                self.skip_comment(end)?;
            } else if trimmed.starts_with("(;") {
                let Some(end) = block_comment(trimmed) else {
                    return self.refuse(self.at, Problem::OpenComment);
                };
                self.skip_comment(end)?;
            } else {
                return Ok(());
            }
        }
    }

    fn skip_comment(&mut self, len: usize) -> Result<(), Refusal> {
        let comment = self.rest().get(..len).unwrap_or_default();
        if let Some((index, c)) = comment.char_indices().find(|(_, c)| is_confusing(*c)) {
            return self.refuse(self.at + index, Problem::Confusing(c));
        }
        self.at += len;
        Ok(())
    }

    /// A run of word characters and strings, which must be one string, one number or one name.
    fn word(&mut self) -> Result<Item, Refusal> {
        let start = self.at;
        let (mut plain, mut strings) = (0, Vec::new());
        while let Some(c) = self.rest().chars().next() {
            if is_word(c) {
                plain += 1;
                self.at += 1;
            } else if c == '"' {
                strings.push(self.string()?);
            } else {
                break;
            }
        }
        let written = self.text.get(start..self.at).unwrap_or_default();
        let mut strings = strings.into_iter();
        match (plain, strings.next(), strings.next()) {
            (0, Some(text), None) => self.text_item(start, text),
            (_, None, _) => self.plain(start, written),
            (1, Some(name), None) if written.starts_with(['$', '@']) => {
                self.sigil(start, written, utf8(start, name)?)
            }
            _ => self.refuse(start, Problem::Name(written.to_owned())),
        }
    }

    fn text_item(&self, start: usize, text: Vec<u8>) -> Result<Item, Refusal> {
        let text = utf8(start, text)?;
        if self.mode == Mode::Strict && text.contains('\0') {
            return self.refuse(start, Problem::Nul);
        }
        Ok(Item::Text(text))
    }

    fn plain(&self, start: usize, written: &str) -> Result<Item, Refusal> {
        if let Some(number) = number(written) {
            return number.map_err(|problem| Refusal::new(start, problem));
        }
        match written {
            "true" => return Ok(Item::Bool(true)),
            "false" => return Ok(Item::Bool(false)),
            _ => {}
        }
        if let Some(name) = written.strip_prefix(['$', '@']) {
            return self.sigil(start, written, name.to_owned());
        }
        if is_name(written) {
            Ok(Item::Name(written.to_owned()))
        } else {
            self.refuse(start, Problem::Name(written.to_owned()))
        }
    }

    /// A name behind `$`, which may be anything, or `@`.
    fn sigil(&self, start: usize, written: &str, name: String) -> Result<Item, Refusal> {
        if self.mode == Mode::Strict {
            return self.refuse(start, Problem::Sigil);
        }
        if name.is_empty() || (written.starts_with('@') && !is_name(&name)) {
            return self.refuse(start, Problem::Name(written.to_owned()));
        }
        Ok(Item::Name(name))
    }

    /// The bytes of a string; the opening quote comes next.
    fn string(&mut self) -> Result<Vec<u8>, Refusal> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let at = self.at;
            match self.take() {
                None => return self.refuse(start, Problem::OpenString),
                Some('"') => return Ok(bytes),
                Some('\\') => {
                    if self.escape(&mut bytes).is_none() {
                        return self.refuse(at, Problem::Escape);
                    }
                }
                Some(c) if c.is_ascii_control() => {
                    return self.refuse(at, Problem::Character(c));
                }
                Some(c) if is_confusing(c) => return self.refuse(at, Problem::Confusing(c)),
                Some(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        match self.take()? {
            c @ ('"' | '\'' | '\\') => bytes.push(c as u8),
            't' => bytes.push(b'\t'),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            'u' => {
                let digits = self.rest().strip_prefix('{')?;
                let digits = digits.get(..digits.find('}')?)?;
                self.at += digits.len() + 2;
                let c = char::from_u32(unicode(digits)?)?;
                bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            high => {
                let (high, low) = (high.to_digit(16)?, self.take()?.to_digit(16)?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
        }
        Some(())
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }
}

fn utf8(at: usize, bytes: Vec<u8>) -> Result<String, Refusal> {
    String::from_utf8(bytes).map_err(|_| Refusal::new(at, Problem::Utf8))
}

/// Length of the comment that begins the text, if it ends.
fn block_comment(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match bytes.get(at..at + 2)? {
            b"(;" => {
                depth += 1;
                at += 2;
            }
            b";)" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

/// Hexadecimal digits with single underscores between them.
fn unicode(digits: &str) -> Option<u32> {
    let fits = digits.split('_').all(|part| !part.is_empty())
        && digits.bytes().all(|b| b == b'_' || b.is_ascii_hexdigit());
    let plain = digits.replace('_', "");
    fits.then(|| u32::from_str_radix(&plain, 16).ok()).flatten()
}

/// Characters of words in the WebAssembly text format.
const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            '!' | '#'
                | '$'
                | '%'
                | '&'
                | '\''
                | '*'
                | '+'
                | '-'
                | '.'
                | '/'
                | ':'
                | '<'
                | '='
                | '>'
                | '?'
                | '@'
                | '\\'
                | '^'
                | '_'
                | '`'
                | '|'
                | '~'
        )
}

fn is_name(word: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || "!$%&*/<=>?~_^".contains(c);
    // The reference writes the middle as the range from `+` to `@`, which holds `,` and `;` too.
    let further = |c: char| first(c) || ('+'..='@').contains(&c);
    word.starts_with(first) && word.chars().all(further)
}

/// Control characters that change the direction of what follows them.
const fn is_confusing(c: char) -> bool {
    matches!(
        c,
        '\u{202a}' | '\u{202b}' | '\u{202d}' | '\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{206c}'
    )
}

/// The number that a word is, if it is one at all.
fn number(word: &str) -> Option<Result<Item, Problem>> {
    let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
    let negative = word.starts_with('-');
    match digits {
        "inf" if negative => return Some(Ok(Item::Float(f64::NEG_INFINITY))),
        "inf" => return Some(Ok(Item::Float(f64::INFINITY))),
        "nan" => return Some(Ok(Item::Float(f64::NAN))),
        _ => {}
    }
    if let Some(payload) = digits.strip_prefix("nan:0x") {
        let whole = run(payload, 16) == Some(payload.len());
        return whole.then_some(Ok(Item::Float(f64::NAN)));
    }
    let (radix, digits) = match digits.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None => (10, digits),
    };
    let end = run(digits, radix)?;
    if end == digits.len() {
        let plain = digits.replace('_', "");
        let signed = if negative { format!("-{plain}") } else { plain };
        let parsed = i64::from_str_radix(&signed, radix).map(Item::Int);
        return Some(parsed.map_err(|_| Problem::Overflow(word.to_owned())));
    }
    is_fraction(digits.get(end..)?, radix)?;
    let parsed = word.parse().map(Item::Float);
    Some(parsed.map_err(|_| Problem::Float(word.to_owned())))
}

/// Whether this may follow the whole part of a floating-point number.
fn is_fraction(mut rest: &str, radix: u32) -> Option<()> {
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction;
        if rest.starts_with(|c: char| c.is_digit(radix)) {
            rest = rest.get(run(rest, radix)?..)?;
        }
    }
    let exponent = if radix == 16 { ['p', 'P'] } else { ['e', 'E'] };
    if let Some(digits) = rest.strip_prefix(exponent) {
        let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        rest = digits.get(run(digits, 10)?..)?;
    }
    rest.is_empty().then_some(())
}

/// Length of the digits that begin a text, with single underscores between them. None when there
/// are no digits or an underscore is not between two.
fn run(text: &str, radix: u32) -> Option<usize> {
    let is_part = |c: char| c == '_' || c.is_digit(radix);
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let digits = text.get(..end)?;
    let fits = digits.split('_').all(|part| !part.is_empty());
    fits.then_some(end)
}
