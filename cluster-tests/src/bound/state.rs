//! What the victim holds bound, what stays without it, and how all of it is seen in one transaction.
//!
//! Owns: the writes of both sides, the question that a reader asks, and the two answers that it may get. Does not own:
//! connections. Invariant: every answer but these two is a broken promise.

use crate::client::encode;
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// What there is to bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// How many fields of one hash.
    pub fields: usize,
    /// How many keys.
    pub keys: usize,
}

/// What a reader saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All that the victim holds, and what stays.
    Full,
    /// Only what stays.
    Gone,
}

type Line = Vec<Vec<u8>>;

fn line(text: &str) -> Line {
    text.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

impl Hold {
    /// The writes of the victim, which must be bound: fields, keys, a hash and a counter of its own, shares of others'
    /// counters, and a member.
    #[must_use]
    pub fn bound(self) -> Vec<Line> {
        let mut lines = Vec::new();
        let fields: Vec<usize> = (0..self.fields).collect();
        for some in fields.chunks(100) {
            let pairs = some.iter().map(|n| format!(" field:{n} value-of-{n}")).collect::<String>();
            lines.push(line(&format!("HSET fields{pairs}")));
        }
        lines.extend((0..self.keys).map(|n| line(&format!("SET key:{n} value-of-{n}"))));
        let others = [
            "INCRBY total 60",
            "INCRBY total 40",
            "HINCRBY counts room 30",
            "HINCRBY counts own 4",
            "SADD members bound",
            "HSET whole a 1 b 2",
            "INCRBY solely 9",
        ];
        lines.extend(others.map(line));
        lines
    }

    /// The writes of somebody else, which stay.
    #[must_use]
    pub fn stays() -> Vec<Line> {
        let lines = [
            "HSET fields stays 1",
            "INCRBY total 7",
            "HINCRBY counts room 5",
            "SADD members stays",
        ];
        lines.map(line).to_vec()
    }

    /// The question: one transaction over everything.
    #[must_use]
    pub fn question(self) -> Vec<u8> {
        let keys = (0..self.keys).map(|n| format!(" key:{n}")).collect::<String>();
        let exists = format!("EXISTS{keys}");
        let lines = [
            "MULTI",
            "HLEN fields",
            &exists,
            "GET total",
            "HGET counts room",
            "HGET counts own",
            "SISMEMBER members bound",
            "EXISTS whole",
            "GET solely",
            "DBSIZE",
            "EXEC",
        ];
        let encoded = lines.iter().map(|text| {
            let words: Vec<&[u8]> = text.split_whitespace().map(str::as_bytes).collect();
            encode(&words)
        });
        encoded.flatten().collect()
    }

    /// How many replies the question has, the last of which is the answer.
    pub const REPLIES: usize = 11;

    /// Tells what the answer to the question says.
    ///
    /// # Errors
    /// When it shows neither all nor nothing of what the victim holds.
    pub fn sight(self, answer: &Reply) -> Outcome<Sight> {
        let elements = answer.elements().unwrap_or_default();
        if elements == self.full() {
            Ok(Sight::Full)
        } else if elements == Self::gone() {
            Ok(Sight::Gone)
        } else {
            Err(Failure::new(format!("neither all nor nothing of what was bound: {answer}")))
        }
    }

    /// Tells what the number of fields alone says.
    ///
    /// # Errors
    /// As [`Hold::sight`].
    pub fn sight_of_fields(self, count: i64) -> Outcome<Sight> {
        if count == number(self.fields + 1) {
            Ok(Sight::Full)
        } else if count == 1 {
            Ok(Sight::Gone)
        } else {
            let text = format!("{count} fields are neither 1 nor {}", self.fields + 1);
            Err(Failure::new(text))
        }
    }

    fn full(self) -> Vec<Reply> {
        let integer = |count: usize| Reply::Integer(number(count));
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        vec![
            integer(self.fields + 1),
            integer(self.keys),
            bulk("107"),
            bulk("35"),
            bulk("4"),
            Reply::Integer(1),
            Reply::Integer(1),
            bulk("9"),
            integer(self.keys + 6),
        ]
    }

    fn gone() -> Vec<Reply> {
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        vec![
            Reply::Integer(1),
            Reply::Integer(0),
            bulk("7"),
            bulk("5"),
            Reply::NilBulk,
            Reply::Integer(0),
            Reply::Integer(0),
            Reply::NilBulk,
            Reply::Integer(4),
        ]
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Hold = Hold { fields: 250, keys: 10 };

    #[test]
    fn only_all_and_nothing_are_sights() {
        let mut seen = HOLD.full();
        assert_eq!(HOLD.sight(&Reply::Array(seen.clone())), Ok(Sight::Full));
        assert_eq!(HOLD.sight(&Reply::Array(Hold::gone())), Ok(Sight::Gone));
        seen[0] = Reply::Integer(250);
        let failure = HOLD.sight(&Reply::Array(seen)).unwrap_err().to_string();
        assert!(failure.starts_with("neither all nor nothing"), "{failure}");
        assert!(HOLD.sight(&Reply::NilArray).is_err());
        assert_eq!(HOLD.sight_of_fields(251), Ok(Sight::Full));
        assert_eq!(HOLD.sight_of_fields(1), Ok(Sight::Gone));
        assert!(HOLD.sight_of_fields(0).is_err() && HOLD.sight_of_fields(250).is_err());
    }

    #[test]
    fn the_writes_bind_what_the_question_asks_for() {
        let lines = HOLD.bound();
        let sets = lines.iter().filter(|line| line[0] == b"SET").count();
        let fields: usize = lines
            .iter()
            .filter(|line| line[..2] == [b"HSET".to_vec(), b"fields".to_vec()])
            .map(|line| (line.len() - 2) / 2)
            .sum();
        assert_eq!((sets, fields), (10, 250));
        let question = String::from_utf8(HOLD.question()).unwrap();
        assert_eq!(question.matches("\r\n*").count() + 1, Hold::REPLIES);
    }
}
