//! A model of lanes and streams around the real tables of three nodes.
//!
//! Owns what a stream may do: keep its order, lose its end, be noticed broken by either side first. Does not choose what
//! happens. Invariant: what must be delivered is a debt until it is delivered, or its subscriber is told later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::*;
use super::parts::{Answer, Debt, Effect, Frame, Lane, Node, Seen, Stream, id, more, node, place};
use super::{NAMES, NODES, SUBSCRIPTIONS, Step};
use crate::command::glob;
use crate::pubsub::arrivals::{Gap, StreamId};
use crate::pubsub::wire::Hello;

pub(super) struct World<'a> {
    limits: Limits,
    seen: &'a Seen,
    nodes: Vec<Node>,
    lanes: BTreeMap<(usize, usize), Lane>,
    streams: Vec<Stream>,
    /// By node, subscriber and place in the subscriptions.
    pub(super) effects: BTreeMap<(usize, SubscriberId, usize), Effect>,
    pub(super) debts: BTreeSet<Debt>,
    said: u64,
    pub(super) told: u64,
}

impl<'a> World<'a> {
    pub(super) fn new(limits: Limits, seen: &'a Seen) -> Self {
        let nodes = (0..NODES).map(|_| node(limits, 1)).collect();
        let (lanes, streams, effects, debts) = Default::default();
        let (said, told) = (0, 0);
        let mut world = Self { limits, seen, nodes, lanes, streams, effects, debts, said, told };
        for (from, to) in Self::pairs() {
            world.link(from, to);
            world.open(from, to);
            world.exchange(from, to);
        }
        world
    }

    fn pairs() -> impl Iterator<Item = (usize, usize)> {
        let pairs = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
        pairs.filter(|(from, to)| from != to)
    }

    fn number(&mut self, node: usize) -> u64 {
        self.nodes[node].last_number += 1;
        self.nodes[node].last_number
    }

    pub(super) fn play(&mut self, step: Step) {
        match step {
            Step::Subscribe(node, own, name) => self.subscribe(node, own, name),
            Step::Unsubscribe(node, own, name) => self.unsubscribe(node, own, name),
            Step::Drop(node, own) => self.drop_subscriber(node, own),
            Step::GiveUp(node) => self.give_up(node),
            Step::Publish(node, name) => self.publish(node, name, true),
            Step::Overflow(node, name) => self.publish(node, name, false),
            Step::Flush(from, to) => self.flush(from, to),
            Step::Deliver(from, to, count) => self.deliver(from, to, count),
            Step::Answer(from, to, count) => self.answer(from, to, count),
            Step::Exchange(from, to) => self.exchange(from, to),
            Step::Cut(from, to, keep) => self.cut(from, to, keep),
            Step::PublisherNotices(from, to) => self.publisher_notices(from, to),
            Step::ListenerNotices(from, to) => self.listener_notices(from, to),
            Step::Open(from, to) => self.open(from, to),
            Step::BreakOff(from, to) => self.break_off(from, to),
            Step::Unlink(from, to) => self.unlink(from, to),
            Step::Link(from, to) => self.link(from, to),
            Step::Stop(node) => self.stop(node),
            Step::Restart(node) => self.restart(node),
        }
    }

    // --- What programs do.

    fn subscribe(&mut self, node: usize, own: usize, name: usize) {
        if self.nodes[node].is_stopped {
            return;
        }
        let subscriber = self.nodes[node].subscribers[own];
        let (kind, text) = SUBSCRIPTIONS[name];
        self.nodes[node].table.subscribe(subscriber, kind, text, ()).unwrap();
        let event = Event::Subscribed { subscriber, kind, name: text };
        let ticket = self.handle(node, event);
        let effect = ticket.map_or(Effect::Resolved, Effect::Pending);
        self.effects.insert((node, subscriber, name), effect);
    }

    fn unsubscribe(&mut self, node: usize, own: usize, name: usize) {
        let subscriber = self.nodes[node].subscribers[own];
        let (kind, text) = SUBSCRIPTIONS[name];
        if self.nodes[node].table.unsubscribe(subscriber, kind, text) {
            self.effects.remove(&(node, subscriber, name));
            self.debts.retain(|debt| (debt.listener, debt.subscriber) != (node, subscriber));
        }
    }

    fn drop_subscriber(&mut self, node: usize, own: usize) {
        let fresh = self.nodes[node].table.add(());
        let subscriber = std::mem::replace(&mut self.nodes[node].subscribers[own], fresh);
        self.nodes[node].table.remove(subscriber);
        self.effects.retain(|(at, who, _), _| (*at, *who) != (node, subscriber));
        self.debts.retain(|debt| (debt.listener, debt.subscriber) != (node, subscriber));
        self.handle(node, Event::Dropped(subscriber));
    }

    fn give_up(&mut self, node: usize) {
        let mut own = self.effects.iter_mut().filter(|((at, ..), _)| *at == node);
        let pending = own.find_map(|(_, effect)| match *effect {
            Effect::Pending(ticket) => Some((effect, ticket)),
            Effect::Resolved | Effect::GivenUp => None,
        });
        if let Some((effect, ticket)) = pending {
            *effect = Effect::GivenUp;
            self.handle(node, Event::GivenUp(ticket));
        }
    }

    fn publish(&mut self, node: usize, name: usize, has_room: bool) {
        if self.nodes[node].is_stopped {
            return;
        }
        self.said += 1;
        let (said, (kind, channel)) = (self.said, NAMES[name]);
        self.incur(node, kind, channel);
        let pruners = self.nodes[node].interest.pruners(kind, channel).to_vec();
        for ((_, to), lane) in self.lanes.iter_mut().filter(|((from, _), _)| *from == node) {
            if pruners.contains(&id(*to)) {
                continue;
            }
            let number = lane.next;
            lane.next += 1;
            if has_room {
                lane.waiting.push_back(Frame::Message { number, said, name });
            }
        }
    }

    /// Notes who must get the message that is published now.
    fn incur(&mut self, publisher: usize, kind: Kind, channel: &[u8]) {
        for ((listener, subscriber, name), effect) in &self.effects {
            // A node is ready when all others' lanes have reached it, and counts for others when its own has reached them.
            let is_linked = self.lanes.contains_key(&(publisher, *listener))
                && self.lanes.contains_key(&(*listener, publisher))
                && self.nodes[*listener].arrivals.get(id(publisher)).is_some()
                && self.nodes[*listener].heard.get(&publisher)
                    == Some(&self.nodes[publisher].generation);
            let (wanted, text) = SUBSCRIPTIONS[*name];
            let is_meant = match wanted {
                Kind::Pattern => kind == Kind::Channel && glob::matches(text, channel),
                Kind::Channel | Kind::Sharded => wanted == kind && text == channel,
            };
            if is_meant && is_linked && *effect == Effect::Resolved {
                let (listener, subscriber, said) = (*listener, *subscriber, self.said);
                self.debts.insert(Debt { listener, subscriber, publisher, said });
                more(&self.seen.debts);
            }
        }
    }

    // --- What the tables decide.

    fn handle(&mut self, node: usize, event: Event<'_>) -> Option<Ticket> {
        let mut waits = None;
        for action in self.nodes[node].interest.handle(event) {
            match action {
                Action::Acknowledge { peer, id } => {
                    let lane = self.lanes.get_mut(&(node, place(peer))).unwrap();
                    lane.waiting.push_back(Frame::Grafted { attempt: lane.attempt, id });
                }
                Action::Prune { publisher, name } => {
                    more(&self.seen.prunes);
                    self.say_back(node, publisher, Answer::Prune(name));
                }
                Action::Graft { publisher, id, names } => {
                    self.say_back(node, publisher, Answer::Graft(id, names));
                }
                Action::Wait(ticket) => {
                    more(&self.seen.waits);
                    waits = Some(ticket);
                }
                Action::Resolved(ticket) => {
                    let pending = self.effects.iter_mut().filter(|((at, ..), _)| *at == node);
                    pending
                        .filter(|(_, effect)| **effect == Effect::Pending(ticket))
                        .for_each(|(_, effect)| *effect = Effect::Resolved);
                }
                Action::Tell { subscriber, publisher } => self.tell(node, subscriber, publisher),
                Action::Refuse { id, .. } => panic!("graft {id} is not known"),
            }
        }
        waits
    }

    fn say_back(&mut self, listener: usize, publisher: NodeId, answer: Answer) {
        let stream = self.nodes[listener].ways_back[&place(publisher)];
        let stream = &mut self.streams[stream];
        if !stream.is_cut {
            stream.back.push_back(answer);
        }
    }

    fn tell(&mut self, listener: usize, subscriber: SubscriberId, publisher: NodeId) {
        let publisher = place(publisher);
        self.told += 1;
        more(&self.seen.tells);
        self.debts.retain(|debt| {
            (debt.listener, debt.subscriber, debt.publisher) != (listener, subscriber, publisher)
        });
    }

    fn tell_all(&mut self, listener: usize, publisher: usize, gap: Option<Gap>) {
        if gap.is_some() {
            for subscriber in self.nodes[listener].subscribers.clone() {
                self.tell(listener, subscriber, id(publisher));
            }
        }
    }

    // --- What lanes and streams do.

    fn link(&mut self, from: usize, to: usize) {
        if self.nodes[from].is_stopped || self.lanes.contains_key(&(from, to)) {
            return;
        }
        let number = self.number(from);
        let (attempt, next, told, waiting, stream) = (0, 0, 0, VecDeque::new(), None);
        self.lanes.insert((from, to), Lane { number, attempt, next, told, waiting, stream });
    }

    fn unlink(&mut self, from: usize, to: usize) {
        let Some(lane) = self.lanes.remove(&(from, to)) else { return };
        if let Some(stream) = lane.stream {
            self.streams[stream].is_cut = true;
        }
        self.handle(from, Event::Unpruned(id(to)));
        self.forget(from, to);
    }

    fn forget(&mut self, listener: usize, publisher: usize) {
        let gap = self.nodes[listener].arrivals.forget(id(publisher));
        self.tell_all(listener, publisher, gap);
        self.handle(listener, Event::Forgotten(id(publisher)));
    }

    fn open(&mut self, from: usize, to: usize) {
        let is_there = !self.nodes[to].is_stopped;
        let attempt = self.number(from);
        let generation = self.nodes[from].generation;
        let Some(lane) = self.lanes.get_mut(&(from, to)) else { return };
        if !is_there || lane.stream.is_some() {
            return;
        }
        lane.attempt = attempt;
        let first = lane.waiting.iter().find_map(|frame| match frame {
            Frame::Message { number, .. } => Some(*number),
            Frame::Grafted { .. } | Frame::Run(_) | Frame::End => None,
        });
        lane.told = first.unwrap_or(lane.next);
        let hello = Hello { generation, attempt, lane: lane.number, next: lane.told };
        lane.stream = Some(self.streams.len());
        self.streams.push(Stream {
            pair: (from, to),
            hello: Some(hello),
            forward: VecDeque::new(),
            back: VecDeque::new(),
            is_cut: false,
            heard: None,
        });
        self.handle(from, Event::Unpruned(id(to)));
    }

    fn flush(&mut self, from: usize, to: usize) {
        let Some(lane) = self.lanes.get_mut(&(from, to)) else { return };
        let Some(stream) = lane.stream else { return };
        let stream = &mut self.streams[stream];
        let mut frames = std::mem::take(&mut lane.waiting);
        let last = frames.iter().rev().find_map(|frame| match frame {
            Frame::Message { number, .. } => Some(number + 1),
            Frame::Grafted { .. } | Frame::Run(_) | Frame::End => None,
        });
        if last.unwrap_or(lane.told) < lane.next {
            frames.push_back(Frame::Run(lane.next));
        }
        lane.told = lane.next;
        if !stream.is_cut {
            stream.forward.append(&mut frames);
        }
    }

    /// The oldest stream first on which something can come.
    fn deliver(&mut self, from: usize, to: usize, count: usize) {
        for _ in 0..count {
            let is_due = |stream: &Stream| {
                let has_more = stream.hello.is_some() || !stream.forward.is_empty();
                stream.pair == (from, to) && has_more
            };
            let Some(stream) = self.streams.iter().position(is_due) else { return };
            self.deliver_next(stream);
        }
    }

    fn deliver_next(&mut self, number: usize) {
        let stream = &mut self.streams[number];
        let (from, to) = stream.pair;
        if let Some(hello) = stream.hello.take() {
            let Ok((heard, gap)) = self.nodes[to].arrivals.open(id(from), hello) else { return };
            stream.heard = Some(heard);
            self.nodes[to].ways_back.insert(from, number);
            self.nodes[to].heard.insert(from, hello.generation);
            self.tell_all(to, from, gap);
            self.handle(to, Event::Opened(id(from)));
            return;
        }
        let Some(frame) = stream.forward.pop_front() else { return };
        let Some(heard) = stream.heard else { return };
        if self.nodes[to].arrivals.check(id(from), heard).is_err() {
            return;
        }
        match frame {
            Frame::Run(first) => self.run(from, to, heard, first),
            Frame::Message { number, said, name } => {
                self.run(from, to, heard, number);
                self.nodes[to].arrivals.message(id(from), heard).unwrap();
                self.arrive(from, to, said, name);
            }
            Frame::Grafted { attempt, id: graft } if attempt == heard.attempt() => {
                more(&self.seen.acknowledged);
                self.handle(to, Event::Acknowledged { publisher: id(from), id: graft });
            }
            Frame::Grafted { .. } => more(&self.seen.stale),
            Frame::End => self.close(number, true),
        }
    }

    fn run(&mut self, from: usize, to: usize, heard: StreamId, first: u64) {
        let gap = self.nodes[to].arrivals.run(id(from), heard, first).unwrap();
        self.tell_all(to, from, gap);
    }

    fn arrive(&mut self, publisher: usize, listener: usize, said: u64, name: usize) {
        let (kind, channel) = NAMES[name];
        let mut reached = BTreeSet::new();
        self.nodes[listener].table.matching(kind, channel, |found| {
            reached.insert(found.subscriber);
        });
        for &subscriber in &reached {
            self.debts.remove(&Debt { listener, subscriber, publisher, said });
        }
        if reached.is_empty() {
            let before = self.nodes[listener].interest.tally(id(publisher));
            self.handle(listener, Event::Unwanted { publisher: id(publisher), kind, channel });
            if self.nodes[listener].interest.tally(id(publisher)).grafts > before.grafts {
                more(&self.seen.room);
            }
        }
    }

    fn answer(&mut self, from: usize, to: usize, count: usize) {
        for _ in 0..count {
            let Some(stream) = self.lanes.get(&(from, to)).and_then(|lane| lane.stream) else {
                return;
            };
            match self.streams[stream].back.pop_front() {
                None => return,
                Some(Answer::Prune(name)) => {
                    self.handle(from, Event::Pruned { peer: id(to), names: vec![name] });
                }
                Some(Answer::Graft(graft, names)) => {
                    let names = &names;
                    self.handle(from, Event::GraftAsked { peer: id(to), id: graft, names });
                }
            }
        }
    }

    fn exchange(&mut self, from: usize, to: usize) {
        for _ in 0..3 {
            self.flush(from, to);
            self.deliver(from, to, usize::MAX);
            self.answer(from, to, usize::MAX);
        }
    }

    fn cut(&mut self, from: usize, to: usize, keep: usize) {
        let Some(stream) = self.lanes.get(&(from, to)).and_then(|lane| lane.stream) else { return };
        let stream = &mut self.streams[stream];
        stream.is_cut = true;
        stream.forward.truncate(keep);
        stream.back.truncate(keep);
    }

    fn publisher_notices(&mut self, from: usize, to: usize) {
        let Some(lane) = self.lanes.get_mut(&(from, to)) else { return };
        if lane.stream.is_some_and(|stream| self.streams[stream].is_cut) {
            lane.stream = None;
            self.handle(from, Event::Unpruned(id(to)));
        }
    }

    fn listener_notices(&mut self, from: usize, to: usize) {
        if let Some(stream) = self.nodes[to].ways_back.get(&from).copied()
            && self.streams[stream].is_cut
        {
            self.close(stream, false);
        }
    }

    fn break_off(&mut self, from: usize, to: usize) {
        if self.nodes[to].interest.oldest_graft(id(from)).is_some()
            && let Some(stream) = self.nodes[to].ways_back.get(&from).copied()
        {
            self.streams[stream].is_cut = true;
            self.streams[stream].back.truncate(1);
            self.close(stream, false);
        }
    }

    fn close(&mut self, stream: usize, is_clean: bool) {
        let stream = &mut self.streams[stream];
        let (from, to) = stream.pair;
        stream.forward.clear();
        let Some(heard) = stream.heard.take() else { return };
        if self.nodes[to].arrivals.check(id(from), heard).is_err() {
            return;
        }
        if self.nodes[to].interest.oldest_graft(id(from)).is_some() {
            more(&self.seen.cut_off);
        }
        self.nodes[to].ways_back.remove(&from);
        self.handle(to, Event::Closed { publisher: id(from), is_clean });
        self.nodes[to].arrivals.close(id(from), heard, is_clean);
        if !self.lanes.contains_key(&(to, from)) {
            self.forget(to, from);
        }
    }

    /// Its lanes send what waits and end; nothing is published any more.
    fn stop(&mut self, node: usize) {
        self.nodes[node].is_stopped = true;
        for to in (0..NODES).filter(|to| *to != node) {
            self.flush(node, to);
            let Some(lane) = self.lanes.remove(&(node, to)) else { continue };
            if let Some(stream) = lane.stream
                && !self.streams[stream].is_cut
            {
                self.streams[stream].forward.push_back(Frame::End);
            }
        }
        self.end_listening(node);
    }

    fn end_listening(&mut self, node: usize) {
        self.debts.retain(|debt| debt.listener != node);
        self.effects.retain(|(at, ..), _| *at != node);
        for stream in self.streams.iter_mut().filter(|stream| stream.pair.1 == node) {
            (stream.is_cut, stream.heard, stream.hello) = (true, None, None);
            stream.forward.clear();
        }
        self.nodes[node].ways_back.clear();
    }

    /// Keeps its id, and nothing else.
    fn restart(&mut self, restarted: usize) {
        self.end_listening(restarted);
        let generation = self.nodes[restarted].generation + 1;
        self.nodes[restarted] = node(self.limits, generation);
        self.lanes.retain(|(from, _), _| *from != restarted);
        let own = self.streams.iter_mut().filter(|stream| stream.pair.0 == restarted);
        // What was ended cleanly still arrives.
        own.filter(|stream| !matches!(stream.forward.back(), Some(Frame::End)))
            .for_each(|stream| stream.is_cut = true);
        (0..NODES).filter(|to| *to != restarted).for_each(|to| self.link(restarted, to));
    }

    // --- The end.

    /// Everything that broke is noticed and mended, and everything that waits arrives.
    pub(super) fn settle(&mut self) {
        for node in 0..NODES {
            if self.nodes[node].is_stopped {
                self.restart(node);
            }
        }
        for _ in 0..4 {
            for (from, to) in Self::pairs() {
                self.link(from, to);
                self.deliver(from, to, usize::MAX);
                self.listener_notices(from, to);
                self.publisher_notices(from, to);
                self.open(from, to);
                self.exchange(from, to);
            }
        }
    }

    pub(super) fn check_bounds(&self) {
        for node in &self.nodes {
            node.interest.held.check(self.limits);
            node.interest.noted.check(self.limits);
        }
    }

    /// Tells whether nobody waits, and nothing is owed.
    pub(super) fn is_quiet(&self) -> bool {
        self.nodes.iter().all(|node| node.interest.noted.is_quiet())
    }

    /// Nothing is withheld from a node that does not know it, nor from one that wants it.
    pub(super) fn check_notes(&self) {
        for (from, to) in Self::pairs() {
            for (kind, channel) in NAMES {
                if self.nodes[from].interest.pruners(kind, channel).contains(&id(to)) {
                    assert!(self.nodes[to].interest.noted.has(id(from), kind, channel));
                    self.nodes[to].table.matching(kind, channel, |_| panic!("it is wanted"));
                }
            }
        }
    }
}
