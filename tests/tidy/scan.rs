//! A Rust file taken apart: its code, its comments, and which lines are tests.
//!
//! Not a parser: enough of the lexical grammar (strings, raw strings, characters against lifetimes, nested comments)
//! that a word in a string or a comment is never taken for code. Both halves keep every byte in its place, so an
//! offset or a line number means the same in all three texts.
//!
//! Source: The Rust Reference, "Comments" and "Tokens".

/// One file, ready to be asked.
pub struct Scan {
    /// As it is in the tree, with `/` between the parts.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// The code outside tests; comments, the insides of literals, and tests are blank.
    pub code: String,
    /// The code of tests too.
    pub code_all: String,
    /// The comments alone.
    pub comments: String,
}

/// A path such as `crate::ring::Ring`, and the byte where its last part begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub path: String,
    pub at: usize,
}

impl Scan {
    pub fn new(path: &str, text: &str) -> Self {
        let (code_all, comments) = split(text);
        let code = without_tests(&code_all);
        Self { path: path.to_owned(), text: text.to_owned(), code, code_all, comments }
    }

    /// The line of a byte, counted from 1.
    pub fn line_of(&self, at: usize) -> usize {
        self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Line by line from 1: the code outside tests, and the comment.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        let pairs = self.code.lines().zip(self.comments.lines());
        pairs.enumerate().map(|(at, (code, comment))| (at + 1, code, comment.trim()))
    }

    /// Lines that are not tests.
    pub fn lines_outside_tests(&self) -> usize {
        let tests = self.code.lines().zip(self.code_all.lines()).filter(|(code, all)| code != all);
        self.text.lines().count() - tests.count()
    }
}

/// Where each occurrence of `word` as a whole word begins.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let after = bytes.get(at + word.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Every path named in `code`, with the trees of `use` spelled out.
pub fn paths(code: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        at = match starts_word(code.as_bytes(), at) {
            true => path(code, at, "", &mut found),
            false => at + 1,
        };
    }
    found
}

/// Reads the path that begins at `at`, below `prefix`; answers where it ends.
fn path(code: &str, mut at: usize, prefix: &str, found: &mut Vec<Named>) -> usize {
    let bytes = code.as_bytes();
    let mut whole = prefix.to_owned();
    loop {
        let (start, end) = (at, word_end(bytes, at));
        whole.push_str(&code[start..end]);
        let next = end + 2;
        if bytes[end..].starts_with(b"::") && bytes.get(next).copied().is_some_and(is_word) {
            whole.push_str("::");
            at = next;
            continue;
        }
        if bytes[end..].starts_with(b"::{") {
            return group(code, next + 1, &format!("{whole}::"), found);
        }
        if bytes[end..].starts_with(b"::*") {
            found.push(Named { path: format!("{whole}::*"), at: start });
            return next + 1;
        }
        let path = whole.strip_suffix("::self").unwrap_or(&whole).to_owned();
        found.push(Named { path, at: start });
        return end;
    }
}

/// Reads a brace group of a `use` tree, from behind its brace; answers where it ends.
fn group(code: &str, mut at: usize, prefix: &str, found: &mut Vec<Named>) -> usize {
    let bytes = code.as_bytes();
    while at < bytes.len() && bytes[at] != b'}' {
        if code[at..].starts_with("as ") {
            at = word_end(bytes, at + 3);
        } else if bytes[at] == b'*' {
            found.push(Named { path: format!("{prefix}*"), at });
            at += 1;
        } else if starts_word(bytes, at) {
            at = path(code, at, prefix, found);
        } else {
            at += 1;
        }
    }
    at + 1
}

/// The bytes of the function whose `fn` is at `at`; `None` for a type or a declaration without a body.
pub fn function_end(code: &str, at: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let name = at + "fn".len() + 1;
    if !starts_word(bytes, name) {
        return None;
    }
    item_end(bytes, name).filter(|end| bytes[*end - 1] == b'}')
}

/// The end of the item that goes on at `at`: behind its `;` or its closing brace.
fn item_end(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut nested, mut braces) = (0_usize, 0_usize);
    for (offset, byte) in bytes[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.saturating_sub(1),
            b'{' => braces += 1,
            b'}' if braces <= 1 => return Some(at + offset + 1),
            b'}' => braces -= 1,
            b';' if nested == 0 && braces == 0 => return Some(at + offset + 1),
            _ => {}
        }
    }
    None
}

/// `code` with every item under `#[cfg(test)]` blanked.
fn without_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for attribute in ["#[cfg(test)]", "#[cfg(all(test,"] {
        for (at, _) in code.match_indices(attribute) {
            let behind = at + code[at..].find(']').unwrap_or(0) + 1;
            let end = item_end(code.as_bytes(), behind).unwrap_or(code.len());
            blank(&mut bytes[at..end]);
        }
    }
    text_of(bytes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// The code of `text`, and its comments.
fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let (mut code, mut comments) = (bytes.to_vec(), bytes.to_vec());
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = token(bytes, at);
        if kind != Kind::Code {
            blank(&mut code[at..end]);
        }
        if kind != Kind::Comment {
            blank(&mut comments[at..end]);
        }
        at = end;
    }
    (text_of(code), text_of(comments))
}

/// What begins at `at`, and where it ends.
fn token(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return (Kind::Comment, at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, block_comment_end(bytes, at));
    }
    match rest[0] {
        b'"' => (Kind::Literal, string_end(bytes, at + 1, b'"')),
        b'\'' => quote(bytes, at),
        byte if is_word(byte) => {
            let end = word_end(bytes, at);
            match raw_string_end(bytes, at, end) {
                Some(end) => (Kind::Literal, end),
                None => (Kind::Code, end),
            }
        }
        _ => (Kind::Code, at + 1),
    }
}

/// A character, or the tick of a lifetime or label.
fn quote(bytes: &[u8], at: usize) -> (Kind, usize) {
    let first = bytes.get(at + 1).copied().unwrap_or(0);
    let width = match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    };
    match first == b'\\' || bytes.get(at + 1 + width) == Some(&b'\'') {
        true => (Kind::Literal, string_end(bytes, at + 1, b'\'')),
        false => (Kind::Code, at + 1),
    }
}

/// Behind the quote that closes what goes on at `at`.
fn string_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Behind the raw string whose prefix is the word from `at` to `end`, if that is what it is.
fn raw_string_end(bytes: &[u8], at: usize, end: usize) -> Option<usize> {
    if !matches!(&bytes[at..end], b"r" | b"br" | b"cr") {
        return None;
    }
    let hashes = bytes[end..].iter().take_while(|b| **b == b'#').count();
    let open = end + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let length = bytes[open + 1..].windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| open + 1 + length + close.len()))
}

fn block_comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < bytes.len() {
        let step = &bytes[at..];
        if step.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if step.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn starts_word(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| bytes[before]);
    bytes.get(at).copied().is_some_and(is_word) && !before.is_some_and(is_word)
}

fn word_end(bytes: &[u8], at: usize) -> usize {
    let length = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
    at + length
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .expect("whole tokens were blanked, and a token ends between characters")
}
