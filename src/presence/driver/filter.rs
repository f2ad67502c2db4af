//! Which rows are wanted, and in which order: what the published drivers decide in JavaScript.
//!
//! Owns the comparison of values as JavaScript compares them (`===`, `<`, `>`), the fall-through to metadata, and the
//! defaults of fields that a row lacks. Pure. Invariant: no row, condition or order can make it panic, whatever types are mixed.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::row::Scalar;
use super::{Error, Row};

/// What rows must have: each field, in the row itself or else in its metadata, must be `===` the value. An object or an array
/// is never equal to anything. Without conditions, every row is wanted.
///
/// JSON has no `undefined`: a caller who wants a field to be that gets no row, as from the published drivers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions(Vec<(String, Scalar)>);

impl Conditions {
    /// No conditions.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Reads a JSON object of fields and values.
    ///
    /// # Errors
    /// [`Error::NoObject`].
    pub fn parse(json: &str) -> Result<Self, Error> {
        let object: Map<String, Value> = serde_json::from_str(json).map_err(Error::NoObject)?;
        Ok(Self(object.iter().map(|(field, value)| (field.clone(), value.into())).collect()))
    }

    /// With one more condition.
    #[must_use]
    pub fn and(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.push((field.to_owned(), (&value.into()).into()));
        self
    }

    /// The room that is asked for by its id, if one is.
    #[must_use]
    pub fn room_id(&self) -> Option<&str> {
        self.0.iter().find_map(|(field, value)| value.text().filter(|_| field == "roomId"))
    }

    /// What a row has inside, byte by byte, when it meets the condition on its name, if there is one. None for a name that may
    /// be written in more than one way.
    pub(super) fn name_as_written(&self) -> Option<String> {
        let name = self.0.iter().find(|(field, _)| field == "name")?.1.text()?;
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c));
        is_plain.then(|| format!("\"name\":\"{name}\""))
    }

    /// Tells whether a row has all that is wanted.
    #[must_use]
    pub fn matches(&self, row: &Row) -> bool {
        self.0.iter().all(|(field, wanted)| {
            let found = row.field(field).or_else(|| default_of(field));
            found.or_else(|| row.metadata(field)).is_some_and(|found| is_same(found, wanted))
        })
    }
}

/// Which way a field is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `1`, `asc`, `ascending`.
    Ascending,
    /// Anything else.
    Descending,
}

/// By which fields rows are sorted, the first one first. Rows that are equal in all of them keep their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sort(Vec<(String, Order)>);

impl Sort {
    /// No order.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Reads a JSON object of fields and directions, or an array of pairs of them: `1`, `"asc"` and `"ascending"` are up, all
    /// others down. Their order is kept.
    ///
    /// # Errors
    /// [`Error::NoObject`].
    pub fn parse(json: &str) -> Result<Self, Error> {
        let pairs: Vec<(String, Value)> = if json.trim_start().starts_with('[') {
            serde_json::from_str(json).map_err(Error::NoObject)?
        } else {
            let object: indexmap::IndexMap<String, Value> =
                serde_json::from_str(json).map_err(Error::NoObject)?;
            object.into_iter().collect()
        };
        let up = |direction: &Value| {
            direction.as_f64() == Some(1.0)
                || matches!(direction.as_str(), Some("asc" | "ascending"))
        };
        let order = |up| if up { Order::Ascending } else { Order::Descending };
        Ok(Self(pairs.into_iter().map(|(field, value)| (field, order(up(&value)))).collect()))
    }

    /// With one more field, behind the others.
    #[must_use]
    pub fn by(mut self, field: &str, order: Order) -> Self {
        self.0.push((field.to_owned(), order));
        self
    }

    /// Sorts rows.
    pub fn sort(&self, rows: &mut Vec<Row>) {
        if !self.0.is_empty() {
            *rows = merge_sorted(std::mem::take(rows), &|one, other| self.is_behind(one, other));
        }
    }

    /// The first of the rows in this order.
    pub(super) fn first<'a>(&self, mut rows: impl Iterator<Item = &'a Row>) -> Option<&'a Row> {
        if self.0.is_empty() {
            return rows.next();
        }
        rows.reduce(|first, row| if self.is_behind(first, row) { row } else { first })
    }

    /// Tells whether `one` belongs behind `other`.
    fn is_behind(&self, one: &Row, other: &Row) -> bool {
        for (field, order) in &self.0 {
            let (one, other) = (sorted_by(one, field), sorted_by(other, field));
            let (more, less) = match order {
                Order::Ascending => (Ordering::Greater, Ordering::Less),
                Order::Descending => (Ordering::Less, Ordering::Greater),
            };
            match compare(one, other) {
                Some(found) if found == more => return true,
                Some(found) if found == less => return false,
                _ => {}
            }
        }
        false
    }
}

fn sorted_by<'a>(row: &'a Row, field: &str) -> Option<&'a Scalar> {
    row.field(field).or_else(|| default_of(field)).or_else(|| row.metadata(field))
}

/// What a row has that does not say: a driver fills these in when it reads one. `metadata` and `createdAt` are never equal
/// to anything then.
fn default_of(field: &str) -> Option<&'static Scalar> {
    match field {
        "clients" => Some(&Scalar::Number(0.0)),
        "maxClients" => Some(&Scalar::Number(f64::INFINITY)),
        "locked" | "private" | "unlisted" => Some(&Scalar::Bool(false)),
        "metadata" | "createdAt" => Some(&Scalar::Object),
        _ => None,
    }
}

/// `===`.
fn is_same(one: &Scalar, other: &Scalar) -> bool {
    match (one, other) {
        (Scalar::Null, Scalar::Null) => true,
        (Scalar::Bool(one), Scalar::Bool(other)) => one == other,
        (Scalar::Number(one), Scalar::Number(other)) => one == other,
        (Scalar::Text(one), Scalar::Text(other)) => one == other,
        // Two objects are two, whatever is in them.
        _ => false,
    }
}

/// `<` and `>` at once; none when neither holds and they are not equal either.
fn compare(one: Option<&Scalar>, other: Option<&Scalar>) -> Option<Ordering> {
    let (one, other) = (one?, other?);
    match (as_text(one), as_text(other)) {
        // JavaScript compares the units of UTF-16, which are in another order than characters.
        (Some(one), Some(other)) => Some(one.encode_utf16().cmp(other.encode_utf16())),
        _ => as_number(one)?.partial_cmp(&as_number(other)?),
    }
}

fn as_text(value: &Scalar) -> Option<&str> {
    match value {
        Scalar::Text(text) => Some(text),
        Scalar::Object => Some("[object Object]"),
        Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) | Scalar::Array => None,
    }
}

fn as_number(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Null => Some(0.0),
        Scalar::Bool(value) => Some(f64::from(u8::from(*value))),
        Scalar::Number(value) => Some(*value),
        Scalar::Text(text) => text_number(text),
        Scalar::Object | Scalar::Array => None,
    }
}

/// What a text is as a number, if it is one: `""` is 0, `"0x10"` is 16.
fn text_number(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let radix = [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)];
    for (prefix, radix) in radix {
        if let Some(digits) = text.strip_prefix(prefix) {
            let is_digit = |digit: char| digit.is_digit(radix);
            let is_number = !digits.is_empty() && digits.chars().all(is_digit);
            let add = |sum: f64, digit: char| {
                sum * f64::from(radix) + f64::from(digit.to_digit(radix).unwrap_or(0))
            };
            return is_number.then(|| digits.chars().fold(0.0, add));
        }
    }
    match text {
        "" => Some(0.0),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust also takes words such as `inf` and `nan`.
        _ if text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c)) => text.parse().ok(),
        _ => None,
    }
}

/// Sorts and keeps the order of equals. The standard library's sort may panic where `<` is no order, as among mixed types.
fn merge_sorted(mut rows: Vec<Row>, is_behind: &impl Fn(&Row, &Row) -> bool) -> Vec<Row> {
    if rows.len() < 2 {
        return rows;
    }
    let right = rows.split_off(rows.len() / 2);
    let left = merge_sorted(rows, is_behind);
    let right = merge_sorted(right, is_behind);
    let mut merged = Vec::with_capacity(left.len().saturating_add(right.len()));
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        let next = if is_behind(one, other) { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, rest: &str) -> Row {
        let comma = if rest.is_empty() { "" } else { "," };
        Row::parse(format!(r#"{{"roomId":"{id}"{comma}{rest}}}"#)).unwrap()
    }

    fn ids(rows: &[Row]) -> String {
        rows.iter().map(Row::room_id).collect()
    }

    #[test]
    fn conditions_are_compared_as_javascript_does() {
        let room = row(
            "r",
            r#""clients":1,"locked":true,"metadata":{"clients":9,"level":5,"mode":"duo","tags":["a"],"none":null}"#,
        );
        for (conditions, expected) in [
            ("{}", true),
            (r#"{"clients":1}"#, true),
            (r#"{"clients":1.0}"#, true),
            (r#"{"clients":"1"}"#, false),
            (r#"{"clients":true}"#, false),
            (r#"{"clients":9}"#, false), // the field of the row itself comes first
            (r#"{"level":5,"mode":"duo"}"#, true),
            (r#"{"level":5,"mode":"solo"}"#, false),
            (r#"{"tags":["a"]}"#, false),
            (r#"{"metadata":{"level":5}}"#, false),
            (r#"{"none":null}"#, true),
            (r#"{"absent":null}"#, false),
            (r#"{"roomId":"r"}"#, true),
            // Filled in when a row is read.
            (r#"{"private":false,"unlisted":false}"#, true),
            (r#"{"private":true}"#, false),
            (r#"{"createdAt":null}"#, false),
        ] {
            let conditions = Conditions::parse(conditions).unwrap();
            assert_eq!(conditions.matches(&room), expected, "{conditions:?}");
        }
        assert!(Conditions::parse("[]").is_err() && Conditions::parse("").is_err());
        let by_id = Conditions::none().and("locked", true).and("roomId", "r");
        assert_eq!(by_id.room_id(), Some("r"));
        assert_eq!(Conditions::none().and("roomId", 5).room_id(), None);
    }

    #[test]
    fn rows_are_sorted_by_the_first_field_first_and_equals_keep_their_order() {
        let mut rows = vec![
            row("a", r#""clients":2,"metadata":{"level":1}"#),
            row("b", r#""clients":1,"metadata":{"level":3}"#),
            row("c", r#""clients":2,"metadata":{"level":2}"#),
            row("d", r#""metadata":{"level":1}"#),
        ];
        for (sort, expected) in [
            (r#"{"clients":1}"#, "dbac"),
            (r#"{"clients":"asc"}"#, "dbac"),
            (r#"{"clients":"ascending"}"#, "dbac"),
            (r#"{"clients":-1}"#, "acbd"),
            (r#"{"clients":"desc"}"#, "acbd"),
            (r#"{"clients":"whatever"}"#, "acbd"),
            (r#"{"clients":-1,"level":-1}"#, "cabd"),
            (r#"{"level":1,"clients":1}"#, "dacb"),
            (r#"[["level",1],["clients",-1]]"#, "adcb"),
            ("{}", "abcd"),
            (r#"{"nothing":1}"#, "abcd"),
        ] {
            let order = Sort::parse(sort).unwrap();
            let mut sorted = rows.clone();
            order.sort(&mut sorted);
            assert_eq!(ids(&sorted), expected, "{sort}");
            assert_eq!(order.first(rows.iter()), sorted.first(), "{sort}");
        }
        rows.clear();
        assert_eq!(Sort::none().by("clients", Order::Ascending).first(rows.iter()), None);
    }

    #[test]
    fn values_of_mixed_types_are_compared_as_javascript_does() {
        let text = |text: &str| Scalar::Text(text.into());
        for (one, other, expected) in [
            (Scalar::Number(2.0), text("10"), Some(Ordering::Less)),
            (text("2"), text("10"), Some(Ordering::Greater)),
            (text("0x10"), Scalar::Number(16.0), Some(Ordering::Equal)),
            (text(""), Scalar::Bool(true), Some(Ordering::Less)),
            (text(" 1.5e1\n"), Scalar::Number(15.0), Some(Ordering::Equal)),
            (text("Infinity"), Scalar::Number(1e300), Some(Ordering::Greater)),
            (text("inf"), Scalar::Number(1.0), None),
            (text("1x"), Scalar::Number(1.0), None),
            (Scalar::Null, Scalar::Number(-1.0), Some(Ordering::Greater)),
            (Scalar::Object, text("a"), Some(Ordering::Less)),
            (Scalar::Object, Scalar::Number(1.0), None),
            // U+1F600 is two units from U+D83D on, and stands before U+FF5E.
            (text("\u{1f600}"), text("\u{ff5e}"), Some(Ordering::Less)),
        ] {
            assert_eq!(compare(Some(&one), Some(&other)), expected, "{one:?} {other:?}");
        }
        assert_eq!(compare(None, Some(&Scalar::Null)), None);
    }

    #[test]
    fn no_mix_of_types_makes_sorting_panic_or_lose_a_row() {
        let kinds = ["1", "null", "\"x\"", "true", "{}", "[]", "\"3\"", "-2.5", "\"\""];
        let mut rows: Vec<_> = (0..500)
            .map(|at| {
                let kind = kinds[(at * 7 + at / 9) % kinds.len()];
                let rest = if at % 5 == 0 { String::new() } else { format!(r#""x":{kind}"#) };
                row(&format!("{at:03}"), &rest)
            })
            .collect();
        let sort = Sort::none().by("x", Order::Ascending).by("roomId", Order::Descending);
        sort.sort(&mut rows);
        let mut there: Vec<_> = rows.iter().map(|row| row.room_id().to_owned()).collect();
        there.sort();
        there.dedup();
        assert_eq!(there.len(), 500);
    }
}
