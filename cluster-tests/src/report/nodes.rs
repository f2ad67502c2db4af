//! The rows of the nodes: who lived, who was paused, who led in which term.
//!
//! Owns: what follows from the events of a process and from those who were seen to lead. Does not own: the rest of the picture.
//! Invariant: a leader's span ends where it is dead, or where another is seen to lead.

use super::collect::Collected;
use super::plot::{LEFT, Scale, Svg};
use super::timeline::MARKS_MAX;
use crate::history::Happening;

/// A span of time of one node, from and to which second.
type Span = (f64, f64);

/// Draws one row for each node from `y` on, and returns where the last one ends.
pub(super) fn draw(svg: &mut Svg, run: &Collected, across: &Scale, mut y: f64, lane: f64) -> f64 {
    let middle = lane / 2.0;
    for node in &run.nodes {
        let name = format!("n{node}");
        svg.text([LEFT - 8.0, y + 13.0], "end", "", &name);
        let (lives, pauses) = spans(run, *node);
        for (from, to) in lives {
            svg.line([across.at(from), y + middle], [across.at(to), y + middle], "axis");
        }
        for (from, to) in pauses {
            let size = [(across.at(to) - across.at(from)).max(1.0), 6.0];
            let words = format!("{name} paused, {from:.3} s to {to:.3} s");
            svg.rect([across.at(from), y + middle - 3.0], size, "half plain", &words);
        }
        for (from, to, term) in leads(run, *node) {
            let size = [(across.at(to) - across.at(from)).max(1.0), lane - 6.0];
            let words = format!("{name} leads in term {term}, {from:.3} s to {to:.3} s");
            svg.rect([across.at(from), y + 3.0], size, "bar k2", &words);
            if across.at(to) - across.at(from) > 40.0 {
                svg.text([across.at(from) + 4.0, y + 13.0], "start", "", &format!("term {term}"));
            }
        }
        events(svg, run, across, (*node, y + middle));
        y += lane;
    }
    y
}

fn events(svg: &mut Svg, run: &Collected, across: &Scale, (node, y): (u8, f64)) {
    let mine: Vec<_> = run.happenings.iter().filter(|(_, whose, _)| *whose == node).collect();
    let mut last = f64::NEG_INFINITY;
    for (at, _, what) in &mine {
        let x = across.at(*at);
        if mine.len() > MARKS_MAX && x - last < 1.0 {
            continue;
        }
        last = x;
        let class = match what {
            Happening::Started | Happening::Continued | Happening::SessionRenewed => "fill k2",
            Happening::Killed | Happening::Ended | Happening::SessionEnded => "fill unknown",
            Happening::Paused | Happening::Left => "fill failed",
        };
        svg.dot([x, y], 3.0, class, &format!("n{node}: {}, {at:.3} s", word(*what)));
    }
}

/// Names an event.
pub(super) const fn word(what: Happening) -> &'static str {
    match what {
        Happening::Started => "started",
        Happening::Killed => "killed",
        Happening::Paused => "paused",
        Happening::Continued => "continued",
        Happening::Left => "left",
        Happening::Ended => "ended by itself",
        Happening::SessionEnded => "its session ended",
        Happening::SessionRenewed => "its session is renewed",
    }
}

/// Gives when a node lived and when it was paused. One of which no start was told has lived from the beginning.
fn spans(run: &Collected, node: u8) -> (Vec<Span>, Vec<Span>) {
    let mine = || run.happenings.iter().filter(|(_, whose, _)| *whose == node);
    let is_first_a_start = mine().next().is_some_and(|(_, _, what)| *what == Happening::Started);
    let mut alive = (!is_first_a_start).then_some(0.0);
    let mut paused = None;
    let (mut lives, mut pauses) = (Vec::new(), Vec::new());
    for (at, _, what) in mine() {
        match what {
            Happening::Started => {
                alive.get_or_insert(*at);
            }
            Happening::Killed | Happening::Ended | Happening::Left => {
                lives.extend(alive.take().map(|from| (from, *at)));
                pauses.extend(paused.take().map(|from| (from, *at)));
            }
            Happening::Paused => {
                paused.get_or_insert(*at);
            }
            Happening::Continued => pauses.extend(paused.take().map(|from| (from, *at))),
            Happening::SessionEnded | Happening::SessionRenewed => {}
        }
    }
    lives.extend(alive.map(|from| (from, run.end)));
    pauses.extend(paused.map(|from| (from, run.end)));
    (lives, pauses)
}

/// Gives when a node led, and in which term.
fn leads(run: &Collected, node: u8) -> Vec<(f64, f64, u64)> {
    let mut leads: Vec<(f64, f64, u64)> = Vec::new();
    for (place, (from, leader, term)) in run.leaders.iter().enumerate() {
        if *leader != Some(node) {
            continue;
        }
        let next = run.leaders.get(place + 1).map_or(run.end, |next| next.0);
        let is_end = |what: &Happening| {
            matches!(what, Happening::Killed | Happening::Ended | Happening::Left)
        };
        let death = run
            .happenings
            .iter()
            .find(|(at, whose, what)| *whose == node && (*from..next).contains(at) && is_end(what));
        let to = death.map_or(next, |death| death.0);
        match leads.last_mut() {
            // Seen again, and nothing has changed.
            Some(last) if last.2 == *term && last.1 >= *from => last.1 = to,
            _ => leads.push((*from, to, *term)),
        }
    }
    leads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Line;

    #[test]
    fn a_leader_leads_until_it_dies_or_another_is_seen() {
        let second = |at: u64| at * 1_000_000_000;
        let leader = |at, node, term| Line::Leader { at: second(at), node, term };
        let process = |at, node, what| Line::Process { at: second(at), node, what };
        let lines = [
            leader(1, Some(1), 1),
            leader(2, Some(1), 1),
            process(5, 1, Happening::Killed),
            leader(6, Some(2), 2),
            process(7, 1, Happening::Started),
            leader(8, None, 2),
            leader(9, Some(2), 3),
            process(10, 3, Happening::Started),
            process(11, 3, Happening::Paused),
            process(12, 3, Happening::Continued),
            leader(20, Some(2), 3),
        ];
        let run = Collected::of(&lines);
        assert_eq!(leads(&run, 1), [(1.0, 5.0, 1)]);
        assert_eq!(leads(&run, 2), [(6.0, 8.0, 2), (9.0, 20.0, 3)]);
        assert_eq!(spans(&run, 1).0, [(0.0, 5.0), (7.0, 20.0)]);
        assert_eq!(spans(&run, 3), (vec![(10.0, 20.0)], vec![(11.0, 12.0)]));
    }
}
