//! What the driver of a matchmaker asks: rooms as JSON, in and out.
//!
//! Owns the step from its calls to the crate's driver. Which rooms are wanted, in which order, whose they are, and what is tried
//! again is decided there. Invariant: what is no row, condition or order is refused with the crate's own words.

use bytes::{BufMut, Bytes, BytesMut};
use quorate::presence::driver::{ClusterDriver, Conditions, Driver as _, Error, Order, Row, Sort};

use crate::call;
use crate::value::{Failure, Value};

/// What is asked of a driver.
#[derive(Clone, Debug)]
pub(crate) enum Listing {
    Has(String),
    Query { conditions: String, sort: String },
    FindOne { conditions: String, sort: String },
    FindByIds(Vec<String>),
    Insert(String),
    Persist(String),
    Remove(String),
    Cleanup(String),
    Clear,
}

impl Listing {
    /// Reads the name of a call and its words, as `lib/handle.cjs` gives them.
    pub(crate) fn read(name: &str, words: Vec<String>) -> Option<Self> {
        if name == "findByIds" {
            return Some(Self::FindByIds(words));
        }
        let mut words = words.into_iter();
        let mut word = || words.next().unwrap_or_default();
        Some(match name {
            "has" => Self::Has(word()),
            "query" => Self::Query { conditions: word(), sort: word() },
            "findOne" => Self::FindOne { conditions: word(), sort: word() },
            "insert" => Self::Insert(word()),
            "persist" => Self::Persist(word()),
            "remove" => Self::Remove(word()),
            "cleanup" => Self::Cleanup(word()),
            "clear" => Self::Clear,
            _ => return None,
        })
    }

    /// Does it.
    pub(crate) async fn ask(self, driver: ClusterDriver) -> Value {
        self.outcome(&driver).await.unwrap_or_else(|error| failed(&error))
    }

    async fn outcome(self, driver: &ClusterDriver) -> Result<Value, Error> {
        let text = |row: &Row| Value::Text(row.bytes());
        Ok(match self {
            Self::Has(room) => Value::Boolean(driver.has(&room).await?),
            Self::Query { conditions, sort } => {
                let (conditions, sort) = (Conditions::parse(&conditions)?, order(&sort)?);
                let rows = driver.query(&conditions, &sort).await?;
                Value::Text(list(rows.iter().map(Some)))
            }
            Self::FindOne { conditions, sort } => {
                let (conditions, sort) = (Conditions::parse(&conditions)?, order(&sort)?);
                driver.find_one(&conditions, &sort).await?.as_ref().map_or(Value::Null, text)
            }
            Self::FindByIds(rooms) => {
                let found = driver.find_by_ids(&rooms).await?;
                Value::Text(list(rooms.iter().map(|room| found.get(room))))
            }
            Self::Insert(row) => Value::Boolean(driver.insert(&Row::parse(row)?).await?),
            Self::Persist(row) => Value::Boolean(driver.persist(&Row::parse(row)?).await?),
            Self::Remove(room) => Value::Boolean(driver.remove(&room).await?),
            Self::Cleanup(process) => Value::number(driver.cleanup(&process).await?),
            Self::Clear => {
                driver.clear().await?;
                Value::Null
            }
        })
    }
}

/// Makes rows one JSON array, which JavaScript reads in one step; what is not there is `null`.
fn list<'a>(rows: impl Iterator<Item = Option<&'a Row>>) -> Bytes {
    let mut text = BytesMut::from(&b"["[..]);
    for (at, row) in rows.enumerate() {
        if at > 0 {
            text.put_u8(b',');
        }
        text.put_slice(row.map_or("null", Row::json).as_bytes());
    }
    text.put_u8(b']');
    text.freeze()
}

/// Reads an order as an array of `[field, 1 | -1]`.
fn order(sort: &str) -> Result<Sort, Error> {
    let fields: Vec<(String, i8)> = serde_json::from_str(sort).map_err(Error::NoObject)?;
    let direction = |sign: i8| if sign > 0 { Order::Ascending } else { Order::Descending };
    Ok(fields.iter().fold(Sort::none(), |sort, (field, sign)| sort.by(field, direction(*sign))))
}

fn failed(error: &Error) -> Value {
    if let Error::Asked(error) = error {
        return call::presence_failed(error);
    }
    Value::Error(Failure::coded(error.to_string()))
}
