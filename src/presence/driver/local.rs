//! The driver of one process: rows in its memory.
//!
//! Owns the table. Does not know a network. Invariant: rows are found in the order in which they were first written.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use indexmap::IndexMap;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::{Conditions, Driver, Error, Row, Sort};

/// A driver for a single process, without a network. Cheap to clone; all clones are the same table.
#[derive(Clone, Debug, Default)]
pub struct LocalDriver {
    rows: Arc<Mutex<IndexMap<String, Row>>>,
}

#[async_trait]
impl Driver for LocalDriver {
    async fn has(&self, room_id: &str) -> Result<bool, Error> {
        Ok(self.rows.lock().contains_key(room_id))
    }

    async fn query(&self, conditions: &Conditions, sort: &Sort) -> Result<Vec<Row>, Error> {
        let wanted = |row: &&Row| conditions.matches(row);
        let mut rows: Vec<_> = self.rows.lock().values().filter(wanted).cloned().collect();
        sort.sort(&mut rows);
        Ok(rows)
    }

    async fn find_one(&self, conditions: &Conditions, sort: &Sort) -> Result<Option<Row>, Error> {
        let rows = self.rows.lock();
        let wanted = |row: &&Row| conditions.matches(row);
        if let Some(room_id) = conditions.room_id() {
            return Ok(rows.get(room_id).filter(wanted).cloned());
        }
        Ok(sort.first(rows.values().filter(wanted)).cloned())
    }

    async fn find_by_ids(&self, room_ids: &[String]) -> Result<BTreeMap<String, Row>, Error> {
        let rows = self.rows.lock();
        let found = |id: &String| Some((id.clone(), rows.get(id)?.clone()));
        Ok(room_ids.iter().filter_map(found).collect())
    }

    async fn insert(&self, row: &Row) -> Result<bool, Error> {
        let mut rows = self.rows.lock();
        let is_new = !rows.contains_key(row.room_id());
        if is_new {
            rows.insert(row.room_id().to_owned(), row.clone());
        }
        Ok(is_new)
    }

    async fn persist(&self, row: &Row) -> Result<bool, Error> {
        self.rows.lock().insert(row.room_id().to_owned(), row.clone());
        Ok(true)
    }

    async fn update(
        &self,
        room_id: &str,
        set: &Map<String, Value>,
        increment: &Map<String, Value>,
    ) -> Result<Option<Row>, Error> {
        let mut rows = self.rows.lock();
        let Some(row) = rows.get_mut(room_id) else {
            return Ok(None);
        };
        *row = row.changed(set, increment)?;
        Ok(Some(row.clone()))
    }

    async fn remove(&self, room_id: &str) -> Result<bool, Error> {
        Ok(self.rows.lock().shift_remove(room_id).is_some())
    }

    async fn cleanup(&self, process_id: &str) -> Result<usize, Error> {
        let mut rows = self.rows.lock();
        let before = rows.len();
        rows.retain(|_, row| row.text("processId") != Some(process_id));
        Ok(before.saturating_sub(rows.len()))
    }

    async fn clear(&self) -> Result<(), Error> {
        self.rows.lock().clear();
        Ok(())
    }

    async fn boot(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn shutdown(&self) {}
}
