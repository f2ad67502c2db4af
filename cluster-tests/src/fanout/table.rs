//! What the sides of one case have shown, as a table and as ratios.
//!
//! Owns: medians, spreads, ratios. Does not own: measuring. Invariant: a ratio is taken within a round, between two measurements
//! that were made right after one another, and its median is told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Name, Shown};
use crate::figures;

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// What was delivered.
    pub(super) shown: Shown,
    /// The processor time of the side's processes.
    pub(super) servers: Duration,
    /// The processor time of this program.
    pub(super) driver: Duration,
}

impl Row {
    #[expect(clippy::cast_precision_loss, reason = "far below what a double holds exactly")]
    fn deliveries(&self) -> f64 {
        self.shown.published as f64 * self.shown.listeners as f64
    }

    /// Deliveries a second.
    fn rate(&self) -> f64 {
        self.deliveries() / self.shown.elapsed.as_secs_f64().max(1e-9)
    }

    /// Microseconds of the servers' processors for one delivery.
    fn cost(&self) -> f64 {
        self.servers.as_secs_f64() * 1e6 / self.deliveries().max(1.0)
    }

    /// Microseconds from one message to the next.
    fn pause(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below what a double holds exactly")]
        let published = self.shown.published as f64;
        self.shown.elapsed.as_secs_f64() * 1e6 / published.max(1.0)
    }

    /// How much of one processor this program took.
    fn driver(&self) -> f64 {
        self.driver.as_secs_f64() / self.shown.elapsed.as_secs_f64().max(1e-9)
    }
}

/// All measurements of one case.
#[derive(Debug)]
pub(super) struct Table {
    case: String,
    sides: Vec<(Name, BTreeMap<usize, Row>)>,
}

impl Table {
    /// Begins a table without rows.
    pub(super) fn new(case: String, sides: impl Iterator<Item = Name>) -> Self {
        Self { case, sides: sides.map(|name| (name, BTreeMap::new())).collect() }
    }

    /// Adds the measurement of a round.
    pub(super) fn add(&mut self, name: Name, round: usize, row: Row) {
        if let Some((_, rows)) = self.sides.iter_mut().find(|(other, _)| *other == name) {
            rows.insert(round, row);
        }
    }

    /// Prints the table and the ratios.
    pub(super) fn print(&self) {
        figures::note(format!("{}:", self.case));
        let head = ["", "deliveries/s", "(least", "most)", "us/message", "us CPU/delivery"];
        let [a, b, c, d, e, f] = head;
        figures::note(format!("  {a:<9} {b:>12} {c:>12} {d:>12} {e:>11} {f:>16} driver"));
        for (name, rows) in &self.sides {
            let of = |field: fn(&Row) -> f64| spread(rows.values().map(field).collect());
            let Some((least, rate, most)) = of(Row::rate) else { continue };
            let middle = |field| of(field).map_or(0.0, |(_, middle, _)| middle);
            let (pause, cost, driver) =
                (middle(Row::pause), middle(Row::cost), middle(Row::driver));
            let name = name.to_string();
            figures::note(format!(
                "  {name:<9} {rate:>12.0} {least:>12.0} {most:>12.0} {pause:>11.1} {cost:>16.3} {:>5.0} %",
                driver * 100.0
            ));
        }
        for own in [Name::Quorate, Name::Embedded] {
            for other in [Name::Redis, Name::Nats] {
                self.print_ratio(own, other);
            }
        }
    }

    fn rows(&self, name: Name) -> Option<&BTreeMap<usize, Row>> {
        self.sides.iter().find(|(other, _)| *other == name).map(|(_, rows)| rows)
    }

    fn print_ratio(&self, own: Name, other: Name) {
        let (Some(own_rows), Some(other_rows)) = (self.rows(own), self.rows(other)) else { return };
        let pairs = own_rows.iter().filter_map(|(round, row)| Some((row, other_rows.get(round)?)));
        let rates = pairs.clone().map(|(a, b)| a.rate() / b.rate().max(1e-9)).collect();
        let costs = pairs.map(|(a, b)| b.cost() / a.cost().max(1e-9)).collect();
        let (Some((least, rate, most)), Some((_, cost, _))) = (spread(rates), spread(costs)) else {
            return;
        };
        figures::figure(format!(
            "{}: {own} / {other} {rate:.2} ({least:.2} to {most:.2}), for each second of the servers' processors {cost:.2}",
            self.case
        ));
    }
}

/// Gives the least, the middle and the most, if there are any.
fn spread(mut values: Vec<f64>) -> Option<(f64, f64, f64)> {
    values.sort_by(f64::total_cmp);
    Some((*values.first()?, *values.get(values.len() / 2)?, *values.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_count_every_delivery() {
        let shown = Shown { published: 1_000, listeners: 30, elapsed: Duration::from_secs(2) };
        let servers = Duration::from_millis(30);
        let row = Row { shown, servers, driver: Duration::from_secs(1) };
        assert_eq!((row.rate(), row.cost(), row.pause()), (15_000.0, 1.0, 2_000.0));
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(spread(Vec::new()), None);
    }
}
