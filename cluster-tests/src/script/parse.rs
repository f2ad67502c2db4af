//! Reads the text of a script.
//!
//! Owns: the grammar of script lines, command quoting as redis-cli has it, and the written form of replies.
//! Does not own: comparison. Invariant: a text that is not wholly understood is refused with its line.

use super::{Expected, ExpectedLine, Flavour, Order, Repeat, Request, Script, Shape, Step};
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// Reads a whole script.
pub(super) fn script(name: String, text: &str) -> Outcome<Script> {
    let mut script = Script { name, on_keyspace: false, steps: Vec::new() };
    let mut pending: Option<(usize, Option<Flavour>, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let at = |failure: Failure| failure.during(format!("line {}", index + 1));
        let (only, body) = flavour(line);
        if let Some(more) = body.strip_prefix('<') {
            // Deeper by more than the one space: a further line of the same reply.
            if let (true, Some((_, _, text))) =
                (more.starts_with("  ") || more == " ]", &mut pending)
            {
                text.push('\n');
                text.push_str(more);
                continue;
            }
            finish(&mut script, pending.take())?;
            if script.steps.is_empty() {
                return Err(at(Failure::new("a reply before the first request")));
            }
            pending = Some((index + 1, only, more.trim_start().to_owned()));
            continue;
        }
        finish(&mut script, pending.take())?;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if script.steps.is_empty() && line == "target: keyspace" {
            script.on_keyspace = true;
            continue;
        }
        script.steps.push(step(index + 1, line).map_err(at)?);
    }
    finish(&mut script, pending)?;
    for step in &script.steps {
        if step.replies.is_empty() && step.request != Request::Close {
            return Err(Failure::new(format!("line {}: no reply is expected", step.line)));
        }
    }
    Ok(script)
}

fn finish(script: &mut Script, pending: Option<(usize, Option<Flavour>, String)>) -> Outcome {
    if let (Some((line, only, text)), Some(step)) = (pending, script.steps.last_mut()) {
        let expected = expected(&text).map_err(|failure| failure.during(format!("line {line}")))?;
        step.replies.push(ExpectedLine { only, text, expected });
    }
    Ok(())
}

fn flavour(line: &str) -> (Option<Flavour>, &str) {
    if let Some(rest) = line.strip_prefix("@redis ") {
        (Some(Flavour::Redis), rest.trim_start())
    } else if let Some(rest) = line.strip_prefix("@quorate ") {
        (Some(Flavour::Quorate), rest.trim_start())
    } else {
        (None, line)
    }
}

/// Reads a request line: `[marks] [connection] > command`, `! "bytes"`, `?`, or `close B`.
fn step(line: usize, text: &str) -> Outcome<Step> {
    let (only, mut rest) = flavour(text);
    let (mut repeat, mut needs_connection) = (Repeat::Once, false);
    loop {
        if let Some(after) = rest.strip_prefix("until ") {
            (repeat, rest) = (Repeat::Until, after);
        } else if let Some(after) = rest.strip_prefix("scan ") {
            (repeat, rest) = (Repeat::Scan, after);
        } else if let Some(after) = rest.strip_prefix("connected ") {
            (needs_connection, rest) = (true, after);
        } else if let Some(after) = rest.strip_prefix("each ") {
            let bounds = after.split_once(' ').and_then(|(range, after)| {
                let (low, high) = range.split_once("..")?;
                Some((low.parse().ok()?, high.parse().ok()?, after))
            });
            let Some((low, high, after)) = bounds else {
                return Err(Failure::new("`each` is followed by a range such as 1..20"));
            };
            (repeat, rest) = (Repeat::Each(low..=high), after);
        } else {
            break;
        }
    }
    let (closes, mut rest) = match rest.strip_prefix("close ") {
        Some(after) => (true, after),
        None => (false, rest),
    };
    let mut connection = 0;
    if let Some(letter @ b'A'..=b'Z') = rest.bytes().next() {
        connection = usize::from(letter - b'A');
        rest = rest.get(1..).unwrap_or_default();
    }
    let request = if closes {
        Request::Close
    } else if let Some(command) = rest.strip_prefix("> ") {
        Request::Command(words(command)?)
    } else if let Some(bytes) = rest.strip_prefix("! ") {
        Request::Raw(words(bytes)?.concat())
    } else if rest == "?" {
        Request::Listen
    } else {
        return Err(Failure::new(format!("not a line of a script: {text}")));
    };
    let text = text.to_owned();
    Ok(Step {
        line,
        text,
        connection,
        request,
        repeat,
        only,
        needs_connection,
        replies: Vec::new(),
    })
}

/// Splits a command into words as redis-cli does; `"x"*1000` repeats a quoted word.
fn words(text: &str) -> Outcome<Vec<Vec<u8>>> {
    let mut reader = Reader::new(text);
    let mut words = Vec::new();
    loop {
        reader.skip(b" ");
        match reader.peek() {
            None => return Ok(words),
            Some(b'"') => words.push(reader.quoted()?),
            Some(b'\'') => words.push(reader.single_quoted()?),
            Some(_) => words.push(reader.until(b" ").to_vec()),
        }
    }
}

fn expected(text: &str) -> Outcome<Expected> {
    let mut reader = Reader::new(text);
    let expected = reader.expected(true)?;
    reader.skip(b" \n");
    match reader.peek() {
        None => Ok(expected),
        Some(_) => Err(Failure::new(format!("more text behind a reply: {}", reader.rest()))),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Outcome<u8> {
        let byte = self.peek().ok_or_else(|| Failure::new(format!("cut short: {}", self.text)))?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, bytes: &[u8]) {
        while self.peek().is_some_and(|byte| bytes.contains(&byte)) {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn until(&mut self, stops: &[u8]) -> &'a [u8] {
        let start = self.at;
        while self.peek().is_some_and(|byte| !stops.contains(&byte)) {
            self.at += 1;
        }
        self.text.as_bytes().get(start..self.at).unwrap_or_default()
    }

    fn line(&mut self) -> Vec<u8> {
        let line = self.until(b"\n").to_vec();
        self.skip(b"\n");
        line
    }

    fn word(&mut self, stops: &[u8]) -> String {
        String::from_utf8_lossy(self.until(stops)).trim().to_owned()
    }

    fn single_quoted(&mut self) -> Outcome<Vec<u8>> {
        self.next()?;
        let word = self.until(b"'").to_vec();
        self.next()?;
        Ok(word)
    }

    fn quoted(&mut self) -> Outcome<Vec<u8>> {
        if self.next()? != b'"' {
            return Err(Failure::new(format!("no quoted string: {}", self.text)));
        }
        let mut word = Vec::new();
        loop {
            match self.next()? {
                b'"' => break,
                b'\\' => word.push(match self.next()? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'x' => {
                        let digits = [self.next()?, self.next()?];
                        let digits = String::from_utf8_lossy(&digits).into_owned();
                        u8::from_str_radix(&digits, 16)
                            .map_err(|_| Failure::new(format!("not hexadecimal: \\x{digits}")))?
                    }
                    other => other,
                }),
                other => word.push(other),
            }
        }
        if self.take("*") {
            let times = self.word(b" ,]:\n");
            let times = times.parse().map_err(|_| Failure::new(format!("not a count: {times}")))?;
            word = word.repeat(times);
        }
        Ok(word)
    }

    /// Reads one expected value. `whole` tells that it is not inside brackets, so that a bare word may
    /// hold any character.
    fn expected(&mut self, whole: bool) -> Outcome<Expected> {
        self.skip(b" \n");
        let order = if self.take("unordered ") {
            Order::Free
        } else if self.take("pairs ") {
            Order::FreePairs
        } else {
            Order::Kept
        };
        for (word, shape) in [
            ("[", Shape::Array),
            ("set[", Shape::Set),
            ("push[", Shape::Push),
            ("map[", Shape::Anything),
        ] {
            if self.take(word) {
                return if word == "map[" { self.map() } else { self.list(shape, order) };
            }
        }
        match self.peek() {
            Some(b'"') => Ok(Expected::Exact(Reply::Bulk(self.quoted()?))),
            Some(b'(') => self.annotated(),
            Some(_) => {
                let text = self.until(if whole { b"\n" } else { b",]\n" });
                Ok(Expected::Exact(Reply::Simple(text.trim_ascii_end().to_vec())))
            }
            None => Err(Failure::new("no reply is written")),
        }
    }

    fn list(&mut self, shape: Shape, order: Order) -> Outcome<Expected> {
        // A set has no order.
        let order = if shape == Shape::Set { Order::Free } else { order };
        let (mut items, mut open) = (Vec::new(), false);
        loop {
            self.skip(b" ,\n");
            if self.take("]") {
                return Ok(Expected::List { shape, order, items, open });
            }
            if self.take("...") {
                open = true;
            } else {
                items.push(self.expected(false)?);
            }
        }
    }

    fn map(&mut self) -> Outcome<Expected> {
        let (mut pairs, mut open) = (Vec::new(), false);
        loop {
            self.skip(b" ,\n");
            if self.take("]") {
                return Ok(Expected::Map { pairs, open });
            }
            if self.take("...") {
                open = true;
                continue;
            }
            let key = self.expected(false)?;
            self.skip(b" ");
            if !self.take(":") {
                return Err(Failure::new("a map entry is written \"key\": value"));
            }
            pairs.push((key, self.expected(false)?));
        }
    }

    /// Reads what begins with a word in parentheses: `(integer) 1`, `(any bulk as x)`, `(nil)`.
    fn annotated(&mut self) -> Outcome<Expected> {
        self.next()?;
        for (words, shape) in [
            ("bulk like ", Shape::Bulk),
            ("verbatim like ", Shape::Verbatim),
            ("error like ", Shape::Error),
        ] {
            if self.take(words) {
                let pattern = String::from_utf8_lossy(&self.quoted()?).into_owned();
                self.next()?;
                return Ok(Expected::Like(shape, pattern));
            }
        }
        let note = self.word(b")");
        self.next()?;
        self.skip(b" ");
        Ok(match note.as_str() {
            "nil" => Expected::Exact(Reply::NilBulk),
            "nil array" => Expected::Exact(Reply::NilArray),
            "null" => Expected::Exact(Reply::Null),
            "closed" => Expected::Closed,
            "nothing" => Expected::Nothing,
            "error" => Expected::Exact(Reply::Error(self.line())),
            "simple" => Expected::Exact(Reply::Simple(self.line())),
            "double" => Expected::Exact(Reply::Double(self.until(b",]\n").to_vec())),
            "verbatim" => Expected::Exact(Reply::Verbatim(self.quoted()?)),
            "boolean" => Expected::Exact(Reply::Boolean(self.word(b",]\n") == "true")),
            "integer" => {
                let digits = self.word(b",]\n");
                let n = digits.parse();
                Expected::Exact(Reply::Integer(
                    n.map_err(|_| Failure::new(format!("not an integer: {digits}")))?,
                ))
            }
            other => free(other)?,
        })
    }
}

/// Reads the notes that leave freedom: `any …`, `integer low..high`.
fn free(note: &str) -> Outcome<Expected> {
    let unknown = || Failure::new(format!("not a kind of reply: ({note})"));
    if let Some((low, high)) =
        note.strip_prefix("integer ").and_then(|range| range.split_once(".."))
    {
        let bound = |text: &str| text.parse().map_err(|_| unknown());
        return Ok(Expected::Between(bound(low)?, bound(high)?));
    }
    let (kind, name) = match note.split_once(" as ") {
        Some((kind, name)) => (kind, Some(name.to_owned())),
        None => (note, None),
    };
    let shape = match kind {
        "any" => Shape::Anything,
        "any simple" => Shape::Simple,
        "any error" => Shape::Error,
        "any integer" => Shape::Integer,
        "any bulk" => Shape::Bulk,
        "any verbatim" => Shape::Verbatim,
        "any array" => Shape::Array,
        "any set" => Shape::Set,
        _ => return Err(unknown()),
    };
    Ok(Expected::Any(shape, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Captures;

    #[test]
    fn replies_are_written_as_they_are_read() {
        for text in [
            "OK",
            "(error) ERR syntax error, and more",
            "(integer) -1",
            r#""a\r\n\x00\xff""#,
            "(nil)",
            "(nil array)",
            r#"[OK, (integer) 1, ["x", []], (null)]"#,
            r#"push["message", "c", "x"]"#,
            r#"map["a": (integer) 1, "b": [(double) 1.5]]"#,
        ] {
            let Ok(Expected::Exact(_) | Expected::List { .. } | Expected::Map { .. }) =
                expected(text)
            else {
                panic!("{text} is not read");
            };
            let expected = expected(text).unwrap();
            let mut captures = Captures::new();
            if let Expected::Exact(reply) = &expected {
                assert_eq!(reply.to_string(), text);
                assert!(expected.accepts(reply, &mut captures));
            }
        }
    }

    #[test]
    fn lines_that_are_not_understood_are_refused() {
        for text in
            ["GET k", "> GET k", "< OK", "> GET k\n< (integr) 1", "> GET \"k\n< OK", "> A\n< [1"]
        {
            assert!(script("x".into(), text).is_err(), "{text}");
        }
    }

    #[test]
    fn commands_are_quoted_as_in_redis_cli() {
        let words = words(r#"SET "a\x00\"b" 'c d' "xy"*3 e"f"#).unwrap();
        assert_eq!(words, [b"SET".as_slice(), b"a\x00\"b", b"c d", b"xyxyxy", b"e\"f"]);
    }
}
