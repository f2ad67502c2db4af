//! A listing of a room as it is kept: the JSON text that Colyseus writes, and what of it can be compared.
//!
//! Owns the reading of that text and its careful change. Does not judge conditions. Invariant: the text of a row is the
//! text that was given, byte by byte, so that fields nobody here knows survive.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::Error;

/// A value as JavaScript compares it. What is inside objects and arrays cannot be compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    Object,
    Array,
}

/// The fields of an object, in their order; of two with one name the last is kept.
pub(super) type Fields = Vec<(Box<str>, Scalar)>;

/// A room's listing. Cheap to clone.
#[derive(Clone, PartialEq)]
pub struct Row(Arc<Inner>);

#[derive(PartialEq)]
struct Inner {
    json: Bytes,
    fields: Fields,
    /// The fields of `metadata`, if that is an object.
    metadata: Fields,
}

impl Row {
    /// Reads a listing: a JSON object with a `roomId` that is a text.
    ///
    /// # Errors
    /// [`Error::NoListing`].
    pub fn parse(json: impl Into<Bytes>) -> Result<Self, Error> {
        let json = json.into();
        let no_listing = |error: &dyn fmt::Display| Error::NoListing(error.to_string());
        let text = std::str::from_utf8(&json).map_err(|error| no_listing(&error))?;
        let parsed = serde_json::from_str::<Parsed>(text);
        // JavaScript writes halves of characters, as `\ud83d`, that no text in Rust can hold.
        let parsed = parsed.or_else(|error| {
            with_whole_characters(text).map_or(Err(error), |text| serde_json::from_str(&text))
        });
        let Parsed { fields, metadata } = parsed.map_err(|error| no_listing(&error))?;
        let row = Self(Arc::new(Inner { json, fields, metadata }));
        match row.field("roomId") {
            Some(Scalar::Text(_)) => Ok(row),
            _ => Err(Error::NoListing("no roomId".to_owned())),
        }
    }

    /// The text, as it was written.
    #[must_use]
    pub fn json(&self) -> &str {
        // It was checked when the row was made.
        std::str::from_utf8(&self.0.json).unwrap_or_default()
    }

    /// The text as shared bytes.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.0.json.clone()
    }

    /// The room.
    #[must_use]
    pub fn room_id(&self) -> &str {
        self.text("roomId").unwrap_or_default()
    }

    /// The process that the room lives in, empty if the row does not say.
    #[must_use]
    pub fn process_id(&self) -> &str {
        self.text("processId").unwrap_or_default()
    }

    /// The kind of room, as it was defined on the server; empty if the row does not say.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or_default()
    }

    /// A field that is a text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.field(field)?.text()
    }

    /// All fields.
    #[must_use]
    pub fn value(&self) -> Map<String, Value> {
        serde_json::from_str(self.json()).unwrap_or_default()
    }

    pub(super) fn field(&self, name: &str) -> Option<&Scalar> {
        find(&self.0.fields, name)
    }

    pub(super) fn metadata(&self, name: &str) -> Option<&Scalar> {
        find(&self.0.metadata, name)
    }

    /// The listing with other fields: those of `set` are set, to those of `increment` is added, what is no number counting
    /// as 0. All others stay as they are written.
    ///
    /// # Errors
    /// [`Error::NoListing`] when it would be none.
    pub fn changed(
        &self,
        set: &Map<String, Value>,
        increment: &Map<String, Value>,
    ) -> Result<Self, Error> {
        let no_listing = |error: serde_json::Error| Error::NoListing(error.to_string());
        let mut fields: IndexMap<String, Box<RawValue>> =
            serde_json::from_str(self.json()).map_err(no_listing)?;
        for (field, value) in set {
            fields.insert(field.clone(), to_raw_value(value).map_err(no_listing)?);
        }
        for (field, more) in increment {
            let old = fields.get(field).and_then(|old| old.get().parse::<f64>().ok());
            let sum = old.unwrap_or(0.0) + more.as_f64().unwrap_or(0.0);
            fields.insert(field.clone(), to_raw_value(&number(sum)).map_err(no_listing)?);
        }
        Self::parse(serde_json::to_string(&fields).map_err(no_listing)?)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Row").field(&self.json()).finish()
    }
}

/// A number as JavaScript writes it: without a point when it is whole.
fn number(number: f64) -> Value {
    /// Up to here every whole number is one of JavaScript's.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and fits")]
        return Value::from(number as i64);
    }
    Value::from(number)
}

fn find<'a>(fields: &'a Fields, name: &str) -> Option<&'a Scalar> {
    fields.iter().find(|(field, _)| **field == *name).map(|(_, value)| value)
}

/// A listing as Rust programs make and read it. Fields that it does not name are in `rest`, and survive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listing {
    /// How many clients are in the room.
    pub clients: u32,
    /// How many there may be; none if there is no limit, which is `null` in the text.
    pub max_clients: Option<u32>,
    /// Whether nobody may join any more.
    pub locked: bool,
    /// Whether it is found by its id only.
    pub private: bool,
    /// What the room tells about itself.
    pub metadata: Value,
    /// When it was created, as RFC 3339 text.
    pub created_at: String,
    /// Whether lobbies leave it out.
    pub unlisted: bool,
    /// The kind of room.
    pub name: String,
    /// The process that it lives in.
    pub process_id: String,
    /// Where clients reach that process.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub public_address: String,
    /// The room.
    pub room_id: String,
    /// All other fields.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl TryFrom<&Listing> for Row {
    type Error = Error;

    fn try_from(listing: &Listing) -> Result<Self, Error> {
        let json = serde_json::to_string(listing);
        Self::parse(json.map_err(|error| Error::NoListing(error.to_string()))?)
    }
}

impl TryFrom<&Row> for Listing {
    type Error = Error;

    fn try_from(row: &Row) -> Result<Self, Error> {
        serde_json::from_str(row.json()).map_err(|error| Error::NoListing(error.to_string()))
    }
}

impl Scalar {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl From<&Value> for Scalar {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(value) => value.as_f64().map_or(Self::Null, Self::Number),
            Value::String(value) => Self::Text(value.as_str().into()),
            Value::Object(_) => Self::Object,
            Value::Array(_) => Self::Array,
        }
    }
}

/// What is read of a row.
struct Parsed {
    fields: Fields,
    metadata: Fields,
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(ParsedVisitor)
    }
}

struct ParsedVisitor;

impl<'de> Visitor<'de> for ParsedVisitor {
    type Value = Parsed;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
        let mut parsed = Parsed { fields: Vec::new(), metadata: Vec::new() };
        while let Some(name) = map.next_key::<Box<str>>()? {
            let value = if *name == *"metadata" {
                let Outer { value, fields } = map.next_value()?;
                parsed.metadata = fields;
                value
            } else {
                map.next_value()?
            };
            put(&mut parsed.fields, name, value);
        }
        Ok(parsed)
    }
}

fn put(fields: &mut Fields, name: Box<str>, value: Scalar) {
    match fields.iter_mut().find(|(field, _)| *field == name) {
        Some((_, old)) => *old = value,
        None => fields.push((name, value)),
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(ScalarVisitor { wants_fields: false }).map(|outer| outer.value)
    }
}

/// A value, and its fields if it is an object.
struct Outer {
    value: Scalar,
    fields: Fields,
}

impl<'de> Deserialize<'de> for Outer {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(ScalarVisitor { wants_fields: true })
    }
}

struct ScalarVisitor {
    wants_fields: bool,
}

const fn bare(value: Scalar) -> Outer {
    Outer { value, fields: Vec::new() }
}

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Outer;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Outer, E> {
        Ok(bare(Scalar::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Outer, E> {
        Ok(bare(Scalar::Bool(value)))
    }

    #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers are doubles")]
    fn visit_i64<E>(self, value: i64) -> Result<Outer, E> {
        Ok(bare(Scalar::Number(value as f64)))
    }

    #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers are doubles")]
    fn visit_u64<E>(self, value: u64) -> Result<Outer, E> {
        Ok(bare(Scalar::Number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Outer, E> {
        Ok(bare(Scalar::Number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Outer, E> {
        Ok(bare(Scalar::Text(value.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Outer, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(bare(Scalar::Array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outer, A::Error> {
        let mut fields = Vec::new();
        if self.wants_fields {
            while let Some((name, value)) = map.next_entry()? {
                put(&mut fields, name, value);
            }
        } else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        }
        Ok(Outer { value: Scalar::Object, fields })
    }
}

/// The text with U+FFFD for each escape that is half of a character; none if there is no such escape.
fn with_whole_characters(text: &str) -> Option<String> {
    let unit = |at: usize| {
        let escape = text.get(at..at.checked_add(6)?)?;
        let digits = escape.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let (mut whole, mut at, mut copied) = (String::new(), 0usize, 0usize);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at = at.saturating_add(found);
        let is_low = |unit: u16| (0xdc00..0xe000).contains(&unit);
        at = match unit(at) {
            Some(0xd800..0xdc00) if unit(at.saturating_add(6)).is_some_and(is_low) => {
                at.saturating_add(12)
            }
            Some(0xd800..0xe000) => {
                whole.push_str(text.get(copied..at)?);
                whole.push_str("\\ufffd");
                copied = at.saturating_add(6);
                copied
            }
            _ => at.saturating_add(2),
        };
    }
    if copied == 0 {
        return None;
    }
    whole.push_str(text.get(copied..)?);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Scalar {
        Scalar::Text(value.into())
    }

    #[test]
    fn a_row_of_colyseus_is_read_and_its_text_survives() {
        let json = r#"{"clients":0,"maxClients":null,"locked":false,"metadata":{"mode":"m0","deep":{"a":[1]}},"createdAt":"2026-11-01T00:00:00Z","name":"game","processId":"p1","roomId":"r1","extra":[{"x":1}],"clients":3}"#;
        let row = Row::parse(json).unwrap();
        assert_eq!((row.room_id(), row.process_id(), row.name()), ("r1", "p1", "game"));
        assert_eq!(row.json(), json);
        assert_eq!(row.field("clients"), Some(&Scalar::Number(3.0)), "the last of two");
        assert_eq!(row.field("maxClients"), Some(&Scalar::Null));
        assert_eq!(row.field("extra"), Some(&Scalar::Array));
        assert_eq!(row.field("metadata"), Some(&Scalar::Object));
        assert_eq!(row.metadata("mode"), Some(&text("m0")));
        assert_eq!(row.metadata("deep"), Some(&Scalar::Object));
        assert_eq!(row.metadata("a"), None);
    }

    #[test]
    fn what_is_no_listing_is_refused() {
        for json in ["", "5", "[]", "{}", r#"{"roomId":5}"#, r#"{"roomId":"a""#, "\u{0}"] {
            assert!(matches!(Row::parse(json), Err(Error::NoListing(_))), "{json}");
        }
        assert!(Row::parse(&b"{\"roomId\":\"\xff\"}"[..]).is_err());
    }

    #[test]
    fn halves_of_characters_do_not_hide_a_row() {
        for (escaped, read) in [
            (r"cut \ud83d", "cut \u{fffd}"),
            (r"\ude00 cut", "\u{fffd} cut"),
            (r"\ud83d\ude00 \ud83d", "\u{1f600} \u{fffd}"),
            (r"\\ud83d \ud83d\ud83d\ude00", "\\ud83d \u{fffd}\u{1f600}"),
        ] {
            let json = format!(r#"{{"roomId":"r","metadata":{{"title":"{escaped}"}}}}"#);
            let row = Row::parse(json.clone()).unwrap();
            assert_eq!(row.metadata("title"), Some(&text(read)), "{escaped}");
            assert_eq!(row.json(), json);
        }
    }

    #[test]
    fn a_deep_value_is_passed_over() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let row = Row::parse(format!(r#"{{"roomId":"r","metadata":{{"deep":{deep}}}}}"#)).unwrap();
        assert_eq!(row.metadata("deep"), Some(&Scalar::Array));
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let row =
            Row::parse(r#"{"roomId":"r","clients":1,"odd":{"z":1.50,"a":2},"x":"t"}"#).unwrap();
        let object = |json: &str| serde_json::from_str::<Map<String, Value>>(json).unwrap();
        let changed = row.changed(
            &object(r#"{"locked":true,"x":null}"#),
            &object(r#"{"clients":-3,"new":0.5}"#),
        );
        assert_eq!(
            changed.unwrap().json(),
            r#"{"roomId":"r","clients":-2,"odd":{"z":1.50,"a":2},"x":null,"locked":true,"new":0.5}"#
        );
        assert!(row.changed(&object(r#"{"roomId":1}"#), &Map::new()).is_err());
    }

    #[test]
    fn a_listing_becomes_a_row_and_back() {
        let mut listing = Listing {
            room_id: "r".to_owned(),
            name: "game".to_owned(),
            process_id: "p".to_owned(),
            created_at: "2026-11-01T00:00:00Z".to_owned(),
            metadata: serde_json::json!({ "mode": "duo" }),
            ..Listing::default()
        };
        listing.rest.insert("mine".to_owned(), Value::from(1));
        let row = Row::try_from(&listing).unwrap();
        assert_eq!(row.field("maxClients"), Some(&Scalar::Null), "no limit is null");
        assert_eq!(row.metadata("mode"), Some(&text("duo")));
        assert_eq!(Listing::try_from(&row).unwrap(), listing);
    }
}
