//! Rows that were read before, so that they are not read again.
//!
//! Owns the parsed form of the hash's values. Does not ask for them. Invariant: a row is taken from here only for the very
//! piece of memory it was read from, which this keeps and nobody can change.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Row;

/// How much text of rows is kept; of more, the rest is read each time.
const KEPT_MAX: usize = 128 * 1024 * 1024;

/// The rows of the last answer, in its order. Bounded by what is listed, and by [`KEPT_MAX`].
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    field: Bytes,
    value: Bytes,
    /// None for what is no row: it is passed over, so that it harms nobody else.
    row: Option<Row>,
}

type Place = (usize, usize);

fn place(bytes: &Bytes) -> Place {
    (bytes.as_ptr().addr(), bytes.len())
}

impl Entry {
    fn read(field: Bytes, value: Bytes) -> Self {
        let row = Row::parse(value.clone()).ok();
        Self { field, value, row }
    }
}

impl Cache {
    /// Takes the fields and values of the hash as they are now, and gives their rows in that order.
    pub(super) fn rows(
        &mut self,
        mut pairs: impl Iterator<Item = (Bytes, Bytes)>,
    ) -> impl Iterator<Item = &Row> {
        let (mut at, mut moved) = (0usize, None);
        for (field, value) in pairs.by_ref() {
            match self.entries.get_mut(at) {
                Some(entry) if place(&entry.value) == place(&value) => {}
                // It was written anew.
                Some(entry) if entry.field == field => *entry = Entry::read(field, value),
                _ => {
                    moved = Some((field, value));
                    break;
                }
            }
            at = at.saturating_add(1);
        }
        let before = self.entries.split_off(at);
        if let Some(moved) = moved {
            self.rearrange(before, std::iter::once(moved).chain(pairs));
        }
        self.entries.iter().filter_map(|entry| entry.row.as_ref())
    }

    /// Puts entries behind those that are kept, taken from those that stood there before as far as they did.
    fn rearrange(&mut self, before: Vec<Entry>, pairs: impl Iterator<Item = (Bytes, Bytes)>) {
        let mut before: Vec<Option<Entry>> = before.into_iter().map(Some).collect();
        let places = places(&before);
        for (at, (field, value)) in pairs.enumerate() {
            let here = before.get_mut(at);
            let here = here.filter(|entry| {
                entry.as_ref().is_some_and(|entry| place(&entry.value) == place(&value))
            });
            let entry = match here {
                Some(entry) => entry.take(),
                None => places.get(&place(&value)).and_then(|at| before.get_mut(*at)?.take()),
            };
            self.entries.push(entry.unwrap_or_else(|| Entry::read(field, value)));
        }
    }

    /// Forgets what is too much to keep.
    pub(super) fn trim(&mut self) {
        let mut kept = 0usize;
        let fits = |entry: &&Entry| {
            kept = kept.saturating_add(entry.value.len());
            kept <= KEPT_MAX
        };
        let fitting = self.entries.iter().take_while(fits).count();
        self.entries.truncate(fitting);
    }
}

/// Where each piece of memory stood; the entries keep them apart.
fn places(entries: &[Option<Entry>]) -> BTreeMap<Place, usize> {
    let there = entries.iter().enumerate();
    there.filter_map(|(at, entry)| Some((place(&entry.as_ref()?.value), at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(id: &str, clients: u32) -> (Bytes, Bytes) {
        (id.to_owned().into(), format!(r#"{{"roomId":"{id}","clients":{clients}}}"#).into())
    }

    fn rows(cache: &mut Cache, pairs: &[(Bytes, Bytes)]) -> Vec<Row> {
        cache.rows(pairs.iter().cloned()).cloned().collect()
    }

    fn is_one(one: &Row, other: &Row) -> bool {
        std::ptr::eq(one.json(), other.json())
    }

    #[test]
    fn a_row_is_read_once_wherever_it_moves() {
        let mut cache = Cache::default();
        let mut pairs = vec![pair("a", 1), pair("b", 1), pair("c", 1), pair("d", 1)];
        let first = rows(&mut cache, &pairs);
        assert_eq!(first.iter().map(Row::room_id).collect::<String>(), "abcd");
        // As the hash removes: the last takes the place.
        pairs.swap_remove(0);
        pairs[1] = pair("b", 2);
        pairs.push(("odd".into(), "no row".into()));
        let second = rows(&mut cache, &pairs);
        assert_eq!(second.iter().map(Row::room_id).collect::<String>(), "dbc");
        assert!(is_one(&first[3], &second[0]) && is_one(&first[2], &second[2]));
        assert!(second[1].json().contains("\"clients\":2"));
        assert_eq!(cache.entries.len(), 4);
        assert!(rows(&mut cache, &[]).is_empty());
        assert!(cache.entries.is_empty(), "nothing is kept that is not listed");
    }
}
