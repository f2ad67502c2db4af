//! What the driver of a matchmaker asks: rooms as JSON, in and out.
//!
//! Owns the step from its calls to the crate's driver. Which rooms are wanted, in which order, and whose they are is decided there.
//! Invariant: a write that may be done twice is, where it is not known whether it was done: nobody waits for most of them.

use quorate::presence::driver::{ClusterDriver, Conditions, Driver as _, Error, Order, Row, Sort};

use crate::call::{self, Class};
use crate::value::{Failure, Value};

/// What is asked of a driver.
#[derive(Clone, Debug)]
pub(crate) enum Listing {
    Has(String),
    Query { conditions: String, sort: String },
    FindOne { conditions: String, sort: String },
    FindByIds(Vec<String>),
    Insert { room: String, row: String },
    Persist { room: String, row: String },
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
            "insert" => Self::Insert { room: word(), row: word() },
            "persist" => Self::Persist { room: word(), row: word() },
            "remove" => Self::Remove(word()),
            "cleanup" => Self::Cleanup(word()),
            "clear" => Self::Clear,
            _ => return None,
        })
    }

    pub(crate) const fn class(&self) -> Class {
        match self {
            Self::Has(_) | Self::Query { .. } | Self::FindOne { .. } | Self::FindByIds(_) => {
                Class::Read
            }
            Self::Insert { .. } | Self::Persist { .. } | Self::Remove(_) => Class::Room,
            Self::Cleanup(_) | Self::Clear => Class::Write,
        }
    }

    /// Gives the room whose row it writes, if it is only one.
    pub(crate) fn room(&self) -> Option<&str> {
        match self {
            Self::Insert { room, .. } | Self::Persist { room, .. } | Self::Remove(room) => {
                Some(room)
            }
            Self::Has(_)
            | Self::Query { .. }
            | Self::FindOne { .. }
            | Self::FindByIds(_)
            | Self::Cleanup(_)
            | Self::Clear => None,
        }
    }

    /// Tells whether it is to be done once more after a failure with this code.
    pub(crate) fn may_repeat(&self, code: &str) -> bool {
        let is_undone = code == "TRYAGAIN" || code == "CLUSTERDOWN";
        is_undone || code == "UNKNOWN" && !matches!(self, Self::Insert { .. })
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
                Value::Array(rows.iter().map(text).collect())
            }
            Self::FindOne { conditions, sort } => {
                let (conditions, sort) = (Conditions::parse(&conditions)?, order(&sort)?);
                driver.find_one(&conditions, &sort).await?.as_ref().map_or(Value::Null, text)
            }
            Self::FindByIds(rooms) => {
                let found = driver.find_by_ids(&rooms).await?;
                let row = |room: &String| found.get(room).map_or(Value::Null, text);
                Value::Array(rooms.iter().map(row).collect())
            }
            Self::Insert { row, .. } => Value::Boolean(driver.insert(&Row::parse(row)?).await?),
            Self::Persist { row, .. } => Value::Boolean(driver.persist(&Row::parse(row)?).await?),
            Self::Remove(room) => Value::Boolean(driver.remove(&room).await?),
            Self::Cleanup(process) => Value::number(driver.cleanup(&process).await?),
            Self::Clear => {
                driver.clear().await?;
                Value::Null
            }
        })
    }
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
