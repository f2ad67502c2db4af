//! Which formation of which cluster something belongs to.
//!
//! Owns the three numbers and their text form. Does not decide when a cluster is formed anew. Invariant: two formations of
//! different lineages have nothing in common; of one lineage, at most the formation with the highest epoch goes on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Error;

/// Names one formation of a cluster. Two clusters that share a name and a secret differ in it, and refuse each other's
/// Raft traffic; so do the cluster before and after it was formed anew.
///
/// ```text
/// lineage, 16 hexadecimal digits . epoch, decimal . draw, 16 hexadecimal digits
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct FormationId {
    /// What the initiator of the first formation drew; never changes. Zero: no formation.
    pub lineage: u64,
    /// How many times the cluster was formed: 1, and one more each time survivors form it anew.
    pub epoch: u64,
    /// What was drawn for this epoch, so that two survivors who both form the next one differ.
    pub draw: u64,
}

impl FormationId {
    /// No formation.
    pub const NONE: Self = Self { lineage: 0, epoch: 0, draw: 0 };

    /// Gives the first formation of a cluster, of a random number.
    #[must_use]
    pub fn first(draw: u64) -> Self {
        Self { lineage: draw.max(1), epoch: 1, draw: draw.max(1) }
    }

    /// Gives the formation in which survivors of this one go on.
    #[must_use]
    pub fn next(self, draw: u64) -> Self {
        Self { lineage: self.lineage, epoch: self.epoch.saturating_add(1), draw: draw.max(1) }
    }

    /// Tells whether this names a formation at all.
    #[must_use]
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }

    /// Tells whether the cluster went on as this one after it was `other`.
    #[must_use]
    pub const fn follows(self, other: Self) -> bool {
        self.lineage == other.lineage && self.epoch > other.epoch
    }
}

impl fmt::Display for FormationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}.{:016x}", self.lineage, self.epoch, self.draw)
    }
}

impl FromStr for FormationId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let hexadecimal = |part: &str| {
            let is_whole = part.len() == 16 && part.bytes().all(|b| b.is_ascii_hexdigit());
            is_whole.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        };
        let parse = || {
            let (lineage, rest) = text.split_once('.')?;
            let (epoch, draw) = rest.split_once('.')?;
            let is_decimal = epoch.bytes().all(|b| b.is_ascii_digit());
            let epoch = is_decimal.then(|| epoch.parse().ok()).flatten()?;
            let parsed = Self { lineage: hexadecimal(lineage)?, epoch, draw: hexadecimal(draw)? };
            (parsed.lineage > 0 && epoch > 0).then_some(parsed)
        };
        parse().ok_or_else(|| Error::Formation(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formation_survives_its_text_form() {
        for formation in [FormationId::first(0), FormationId::first(7).next(u64::MAX)] {
            assert_eq!(formation.to_string().parse(), Ok(formation));
        }
        let long = "0".repeat(16);
        for wrong in ["", "1.1.1", &FormationId::NONE.to_string(), &format!("{long}.x.{long}")] {
            assert!(wrong.parse::<FormationId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_later_epoch_of_the_same_lineage_follows() {
        let first = FormationId::first(7);
        let next = first.next(8);
        assert_eq!((next.lineage, next.epoch, next.draw), (7, 2, 8));
        assert!(next.follows(first) && !first.follows(next) && !next.follows(next));
        assert!(!FormationId::first(9).next(9).follows(first));
    }
}
