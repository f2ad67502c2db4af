//! What nodes count about the lanes between them, as `/metrics` tells it.
//!
//! Owns: reading the counters and the difference of two readings. Does not own: what they must be. Invariant: a counter that a
//! node does not tell is unknown, and never zero.

use std::collections::BTreeMap;

use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::process::http_get;

/// All samples of one or more nodes, summed up by the names of their metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    sums: BTreeMap<String, u64>,
    /// The lines as they came.
    samples: Vec<(String, u64)>,
}

impl Counters {
    /// Asks all `doors`.
    ///
    /// # Errors
    /// When one does not answer.
    pub async fn read(doors: &[Door]) -> Outcome<Self> {
        let mut counters = Self::default();
        for door in doors {
            let (code, body) = http_get(door.http, "/metrics").await?;
            if code != 200 {
                return Err(Failure::new(format!("/metrics of n{} answers {code}", door.slot)));
            }
            counters.take(&body);
        }
        Ok(counters)
    }

    /// Adds the samples of one node.
    fn take(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // Labels may hold blanks, the value holds none.
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<u64>() else { continue };
            self.samples.push((name.to_owned(), value));
            let name = name.split('{').next().unwrap_or(name);
            *self.sums.entry(name.to_owned()).or_default() += value;
        }
    }

    /// Gives a sum, if anybody told it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.sums.get(name).copied()
    }

    /// Gives the samples of one metric by the values of a label.
    #[must_use]
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        let value = |sample: &str| {
            let labels = sample.strip_prefix(name)?.strip_prefix('{')?;
            let (_, rest) = labels.split_once(&format!("{label}=\""))?;
            Some(rest.split('"').next()?.to_owned())
        };
        self.samples.iter().filter_map(|(sample, count)| Some((value(sample)?, *count))).collect()
    }

    /// Gives how much a sum has grown since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self, name: &str) -> Option<u64> {
        Some(self.get(name)?.saturating_sub(earlier.get(name).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_up_and_absent_ones_are_unknown() {
        let mut before = Counters::default();
        before.take("# HELP a_total x\na_total{peer=\"n 1\"} 2\na_total{peer=\"n2\"} 3\nb 1\n");
        let mut after = before.clone();
        after.take("a_total{peer=\"n3\"} 4\nc 9\nd 1.5\n");
        assert_eq!((before.get("a_total"), before.get("c")), (Some(5), None));
        assert_eq!(after.since(&before, "a_total"), Some(4));
        assert_eq!(
            before.by("a_total", "peer"),
            BTreeMap::from([("n 1".into(), 2), ("n2".into(), 3)])
        );
        assert_eq!((after.since(&before, "c"), after.since(&before, "d")), (Some(9), None));
    }
}
