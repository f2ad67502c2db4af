//! What becomes of a packet on a bad link.
//!
//! Owns: the decision for each packet, from one seed, and the count of what was done. Does not own: packets on their way, time.
//! Invariant: a link without faults passes each packet once, at once and unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::super::Cut;
use crate::chance::Chance;

/// How long a packet that is to be overtaken is held back.
const BEHIND: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(30));
/// How much of a slow link's time may stand in its queue; what comes then is dropped.
const QUEUE_MAX: Duration = Duration::from_millis(400);
/// An IPv4 header without options, and with UDP's.
const HEADERS: (usize, usize) = (20, 28);

/// The faults of one direction between two nodes. Shares are in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Of packets that vanish.
    pub loss: u32,
    /// Of packets that come twice.
    pub duplicate: u32,
    /// Of packets with flipped bits that no checksum below QUIC finds.
    pub corrupt: u32,
    /// Of packets that later ones overtake.
    pub reorder: u32,
    /// How long each packet takes more.
    pub delay: Duration,
    /// By how much at most that differs to either side.
    pub jitter: Duration,
    /// The longest IP packet that passes; longer ones vanish, and nobody is told.
    pub hole: Option<usize>,
    /// Bytes a second.
    pub rate: Option<u32>,
}

/// How many packets met with what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it")]
pub struct Tally {
    pub passed: u64,
    pub cut: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub corrupted: u64,
    pub reordered: u64,
    pub delayed: u64,
    pub too_long: u64,
    pub queued: u64,
    pub overflowed: u64,
}

/// All links.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) links: BTreeMap<Cut, Link>,
    pub(super) cuts: BTreeSet<Cut>,
    pub(super) tally: Tally,
    /// When a slow link has sent what it has.
    free: BTreeMap<Cut, Instant>,
    chance: Chance,
}

impl Links {
    pub(super) fn new(chance: Chance) -> Self {
        let (links, cuts, tally, free) = Default::default();
        Self { links, cuts, tally, free, chance }
    }

    fn hits(&mut self, share: u32) -> bool {
        share > 0 && self.chance.below(1000) < share as usize
    }

    /// Decides on one packet: when which copies of it arrive.
    pub(super) fn pass(
        &mut self,
        now: Instant,
        pair: Cut,
        mut packet: Vec<u8>,
    ) -> Vec<(Instant, Vec<u8>)> {
        if self.cuts.contains(&pair) {
            self.tally.cut += 1;
            return Vec::new();
        }
        let link = self.links.get(&pair).copied().unwrap_or_default();
        if link.hole.is_some_and(|most| packet.len() > most) {
            self.tally.too_long += 1;
            return Vec::new();
        }
        if self.hits(link.loss) {
            self.tally.lost += 1;
            return Vec::new();
        }
        let Some(mut due) = self.sent(now, pair, link.rate, packet.len()) else {
            self.tally.overflowed += 1;
            return Vec::new();
        };
        if self.hits(link.corrupt) && self.corrupt(&mut packet) {
            self.tally.corrupted += 1;
        }
        if link.delay + link.jitter > Duration::ZERO {
            let least = link.delay.saturating_sub(link.jitter);
            due += self.chance.between(least, link.delay + link.jitter);
            self.tally.delayed += 1;
        }
        let mut arrivals = Vec::new();
        if self.hits(link.duplicate) {
            // The copy comes on its own, and may be the later one.
            let later = self.chance.between(Duration::ZERO, Duration::from_millis(20));
            arrivals.push((due + later, packet.clone()));
            self.tally.duplicated += 1;
        }
        if self.hits(link.reorder) {
            due += self.chance.between(BEHIND.0, BEHIND.1);
            self.tally.reordered += 1;
        }
        self.tally.passed += 1;
        arrivals.push((due, packet));
        arrivals
    }

    /// Tells when a slow link has sent the packet, unless its queue is full.
    fn sent(
        &mut self,
        now: Instant,
        pair: Cut,
        rate: Option<u32>,
        length: usize,
    ) -> Option<Instant> {
        let Some(rate) = rate else { return Some(now) };
        let free = self.free.get(&pair).copied().unwrap_or(now).max(now);
        if free > now {
            self.tally.queued += 1;
        }
        if free - now > QUEUE_MAX {
            return None;
        }
        let nanos = length as u64 * 1_000_000_000 / u64::from(rate.max(1));
        let free = free + Duration::from_nanos(nanos);
        self.free.insert(pair, free);
        Some(free)
    }

    /// Flips up to three bits behind the headers, and takes UDP's checksum away so that they arrive.
    fn corrupt(&mut self, packet: &mut [u8]) -> bool {
        let is_plain = packet.first() == Some(&0x45);
        // A fragment but the first has no UDP header.
        let is_first = packet.get(6..8).is_some_and(|field| field[0] & 0x1f == 0 && field[1] == 0);
        let is_udp = packet.get(9) == Some(&17);
        if !(is_plain && is_first && is_udp) || packet.len() <= HEADERS.1 {
            return false;
        }
        for _ in 0..=self.chance.below(3) {
            let at = HEADERS.1 + self.chance.below(packet.len() - HEADERS.1);
            let bit = 1 << self.chance.below(8);
            if let Some(byte) = packet.get_mut(at) {
                *byte ^= bit;
            }
        }
        if let Some(checksum) = packet.get_mut(HEADERS.0 + 6..HEADERS.1) {
            checksum.fill(0);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(length: usize) -> Vec<u8> {
        let mut packet = vec![7; length];
        packet[0] = 0x45;
        packet[6..8].fill(0);
        packet[9] = 17;
        packet
    }

    fn links(link: Link) -> Links {
        let mut links = Links::new(Chance::new(Some(5)));
        links.links.insert((1, 2), link);
        links
    }

    /// Passes a thousand packets and gives all arrivals.
    fn thousand(links: &mut Links, now: Instant) -> Vec<(Instant, Vec<u8>)> {
        (0..1000).flat_map(|_| links.pass(now, (1, 2), udp(100))).collect()
    }

    #[test]
    fn a_good_link_changes_nothing() {
        let now = Instant::now();
        let mut links = links(Link::default());
        assert_eq!(links.pass(now, (1, 2), udp(1500)), [(now, udp(1500))]);
        assert_eq!(links.pass(now, (2, 1), vec![1]), [(now, vec![1])]);
        assert_eq!(links.tally, Tally { passed: 2, ..Tally::default() });
    }

    #[test]
    fn each_fault_comes_as_often_as_told_and_in_its_direction_only() {
        let now = Instant::now();
        let mut bad = links(Link { loss: 250, duplicate: 200, corrupt: 100, ..Link::default() });
        let arrived = thousand(&mut bad, now);
        let tally = bad.tally;
        assert!((200..300).contains(&tally.lost), "{tally:?}");
        assert!((100..200).contains(&tally.duplicated), "{tally:?}");
        assert!((40..110).contains(&tally.corrupted), "{tally:?}");
        assert_eq!(arrived.len() as u64, 1000 - tally.lost + tally.duplicated);
        let changed = arrived.iter().filter(|(_, packet)| *packet != udp(100));
        assert!(changed.count() as u64 >= tally.corrupted);
        assert_eq!(bad.pass(now, (2, 1), udp(99)).len(), 1, "the other way is good");
    }

    #[test]
    fn the_same_seed_decides_the_same() {
        let link = Link { loss: 300, jitter: Duration::from_millis(30), ..Link::default() };
        let now = Instant::now();
        assert_eq!(thousand(&mut links(link), now), thousand(&mut links(link), now));
    }

    #[test]
    fn a_corrupt_packet_keeps_its_headers_and_loses_its_checksum() {
        let mut bad = links(Link { corrupt: 1000, ..Link::default() });
        let (_, packet) = bad.pass(Instant::now(), (1, 2), udp(60)).remove(0);
        assert_eq!(packet[..26], udp(60)[..26]);
        assert_eq!(packet[26..28], [0, 0]);
        assert_ne!(packet[28..], udp(60)[28..]);
        let mut fragment = udp(60);
        fragment[7] = 3;
        assert_eq!(bad.pass(Instant::now(), (1, 2), fragment.clone()).remove(0).1, fragment);
    }

    #[test]
    fn what_is_too_long_or_cut_or_too_much_vanishes() {
        let now = Instant::now();
        let mut bad = links(Link { hole: Some(600), rate: Some(10_000), ..Link::default() });
        assert!(bad.pass(now, (1, 2), udp(601)).is_empty());
        let arrivals = thousand(&mut bad, now);
        assert_eq!(arrivals.len(), 41, "100 bytes take 10 ms, and 400 ms stand in the queue");
        assert_eq!(arrivals.last().map(|(due, _)| *due - now), Some(Duration::from_millis(410)));
        bad.cuts.insert((1, 2));
        assert!(bad.pass(now, (1, 2), udp(99)).is_empty());
        let Tally { cut, too_long, overflowed, .. } = bad.tally;
        assert_eq!((cut, too_long, overflowed), (1, 1, 959));
    }

    #[test]
    fn jitter_and_reordering_let_later_ones_overtake() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut slow = links(Link { delay: ms(50), jitter: ms(30), ..Link::default() });
        let arrivals = thousand(&mut slow, now);
        assert!(arrivals.iter().all(|(due, _)| (ms(20)..=ms(80)).contains(&(*due - now))));
        let mut mixed = links(Link { reorder: 250, ..Link::default() });
        let late = thousand(&mut mixed, now).iter().filter(|(due, _)| *due > now).count() as u64;
        assert!((200..300).contains(&late) && late == mixed.tally.reordered, "{late}");
    }
}
