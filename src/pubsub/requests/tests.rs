//! Requests of several nodes in random interleavings with all that can happen to them, over links that lose what is under way.
//!
//! Owns the simulated nodes and links, and what must hold: every request ends exactly once, at most one responder gets it,
//! nobody gets it when its error says so, and "no responders" is never said of a responder that was there all the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::asking::{self, Action, Asking, Event, Place};
use super::frame::Refusal;
use super::responders::{self, Choice, ResponderId, Responders};
use super::*;

const NODES: usize = 3;
const CHANNELS: [&[u8]; 2] = [b"jobs", b"rooms"];

fn id(node: usize) -> NodeId {
    NodeId::from_random(node as u64 + 1)
}

fn index(peer: NodeId) -> usize {
    (0..NODES).find(|node| id(*node) == peer).expect("a node of this test")
}

/// What goes over a lane from the publisher, and on its way back.
#[derive(Clone, Debug)]
enum Frame {
    Seek { id: u64, channel: Bytes },
    Sought { id: u64, is_here: bool },
    Request { attempt: u64, id: u64, channel: Bytes },
    Reply { id: u64 },
    Refused { id: u64, refusal: Refusal },
}

/// The lane of one node to another.
#[derive(Debug, Default)]
struct Link {
    is_linked: bool,
    /// The open stream.
    attempt: Option<u64>,
    /// What waits; it outlives streams.
    outbox: VecDeque<Frame>,
    back: VecDeque<Frame>,
}

/// A request as its responder holds it.
#[derive(Clone, Debug)]
struct Held {
    asker: usize,
    id: u64,
    attempt: u64,
    is_taken: bool,
}

#[derive(Debug)]
struct Node {
    asking: Asking,
    responders: Responders,
    /// What each responder has, in order.
    held: BTreeMap<ResponderId, VecDeque<Held>>,
    names: BTreeMap<ResponderId, Bytes>,
}

#[derive(Debug)]
struct World {
    nodes: Vec<Node>,
    links: BTreeMap<(usize, usize), Link>,
    last: u64,
    /// Who asked, what, and which nodes have had a responder since without a break.
    open: BTreeMap<u64, (usize, Bytes, BTreeSet<usize>)>,
    ended: BTreeMap<u64, Result<Bytes, RequestError>>,
    given_up: BTreeSet<u64>,
    taken: BTreeMap<u64, usize>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask { node: usize, channel: usize },
    GiveUp { which: usize },
    Open { node: usize, channel: usize },
    Close { node: usize, which: usize },
    Take { node: usize, which: usize },
    Answer { node: usize, which: usize, declines: bool },
    Deliver { from: usize, to: usize, is_back: bool },
    Up { from: usize, to: usize },
    Down { from: usize, to: usize },
    Unlink { from: usize, to: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (node, channel, which) = (0..NODES, 0..CHANNELS.len(), 0..4_usize);
    let pair = (0..NODES, 0..NODES);
    let step = prop_oneof![
        6 => (node.clone(), channel.clone()).prop_map(|(node, channel)| Step::Ask { node, channel }),
        1 => (0..8_usize).prop_map(|which| Step::GiveUp { which }),
        3 => (node.clone(), channel).prop_map(|(node, channel)| Step::Open { node, channel }),
        2 => (node.clone(), which.clone()).prop_map(|(node, which)| Step::Close { node, which }),
        5 => (node.clone(), which.clone()).prop_map(|(node, which)| Step::Take { node, which }),
        5 => (node, which, any::<bool>())
            .prop_map(|(node, which, declines)| Step::Answer { node, which, declines }),
        24 => (pair.clone(), any::<bool>())
            .prop_map(|((from, to), is_back)| Step::Deliver { from, to, is_back }),
        3 => pair.clone().prop_map(|(from, to)| Step::Up { from, to }),
        1 => pair.clone().prop_map(|(from, to)| Step::Down { from, to }),
        1 => pair.prop_map(|(from, to)| Step::Unlink { from, to }),
    ];
    prop::collection::vec(step, 0..300)
}

impl World {
    fn new() -> Self {
        let node = |_| Node {
            asking: Asking::new(asking::Limits { requests: 20, bytes: 1_000_000 }),
            responders: Responders::new(responders::Limits {
                name: 100,
                responders: 4,
                requests: 3,
                bytes: 1_000_000,
            }),
            held: BTreeMap::new(),
            names: BTreeMap::new(),
        };
        let nodes = (0..NODES).map(node).collect();
        let (links, open, ended, given_up, taken) = Default::default();
        let mut world = Self { nodes, links, last: 0, open, ended, given_up, taken };
        for (from, to) in pairs() {
            world.play(Step::Up { from, to }).unwrap();
        }
        world
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    /// Lets a node's requests take in what happened, and does what follows.
    fn handle(&mut self, node: usize, event: Event) -> TestCaseResult {
        let mut actions = VecDeque::from(self.nodes[node].asking.handle(event));
        while let Some(action) = actions.pop_front() {
            let next = match action {
                Action::Give { id, channel, .. } => {
                    let held = Held { asker: node, id, attempt: 0, is_taken: false };
                    let refusal = self.give(node, &channel, held);
                    refusal.map(|refusal| Event::Refused { place: Place::Here, id, refusal })
                }
                Action::Seek { peer, id, channel } => {
                    self.link(node, index(peer)).outbox.push_back(Frame::Seek { id, channel });
                    None
                }
                Action::Send { peer, attempt, id, channel, .. } => {
                    let link = self.link(node, index(peer));
                    prop_assert_eq!(link.attempt, Some(attempt), "sent on a stream that is open");
                    if link.outbox.len() < 6 {
                        link.outbox.push_back(Frame::Request { attempt, id, channel });
                        None
                    } else {
                        Some(Event::LinkFull { peer, id, waiting: 6, limit: 6 })
                    }
                }
                Action::End { id, result } => {
                    self.end(node, id, result)?;
                    None
                }
            };
            if let Some(event) = next {
                actions.extend(self.nodes[node].asking.handle(event));
            }
        }
        Ok(())
    }

    fn end(&mut self, node: usize, id: u64, result: Result<Bytes, RequestError>) -> TestCaseResult {
        let (asker, channel, there) = self.open.remove(&id).expect("a request ends once");
        prop_assert_eq!(asker, node);
        if result == Err(RequestError::NoResponders) {
            prop_assert!(
                there.is_empty(),
                "{:?} had a responder all the time: {:?}",
                channel,
                there
            );
        }
        if result.is_ok() {
            prop_assert_eq!(self.taken.get(&id), Some(&1));
        }
        self.ended.insert(id, result);
        Ok(())
    }

    fn give(&mut self, node: usize, channel: &Bytes, held: Held) -> Option<Refusal> {
        let Node { responders, held: all, .. } = &mut self.nodes[node];
        match responders.choose(channel, 1) {
            Choice::Chosen(responder) => {
                all.get_mut(&responder).unwrap().push_back(held);
                None
            }
            Choice::Busy { waiting, limit, .. } => {
                Some(Refusal::Busy { waiting, limit, is_bytes: false })
            }
            Choice::Nobody => Some(Refusal::Nobody),
        }
    }

    /// Tells who asked what has become of its request, if the stream is still there.
    fn answer(&mut self, node: usize, held: &Held, answer: Result<(), Refusal>) -> TestCaseResult {
        let id = held.id;
        if held.asker == node {
            let place = Place::Here;
            let event = match answer {
                Ok(()) => Event::Replied { place, id, payload: Bytes::new() },
                Err(refusal) => Event::Refused { place, id, refusal },
            };
            return self.handle(node, event);
        }
        let link = self.link(held.asker, node);
        if link.attempt == Some(held.attempt) {
            link.back.push_back(match answer {
                Ok(()) => Frame::Reply { id },
                Err(refusal) => Frame::Refused { id, refusal },
            });
        }
        Ok(())
    }

    /// Forgets what is not so any more of those who had a responder all the time.
    fn note(&mut self) {
        for (asker, channel, there) in self.open.values_mut() {
            there.retain(|node| {
                let is_linked =
                    node == asker || self.links.get(&(*asker, *node)).is_some_and(|l| l.is_linked);
                is_linked && self.nodes[*node].responders.has(channel)
            });
        }
    }

    fn play(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Ask { node, channel } => self.ask(node, Bytes::from_static(CHANNELS[channel]))?,
            Step::GiveUp { which } => {
                let Some((&id, (asker, ..))) = self.open.iter().nth(which) else { return Ok(()) };
                let asker = *asker;
                self.open.remove(&id);
                self.given_up.insert(id);
                self.handle(asker, Event::GivenUp { id })?;
            }
            Step::Open { node, channel } => {
                let Node { responders, held, names, .. } = &mut self.nodes[node];
                if let Ok(id) = responders.open(CHANNELS[channel]) {
                    held.insert(id, VecDeque::new());
                    names.insert(id, Bytes::from_static(CHANNELS[channel]));
                }
            }
            Step::Close { node, which } => self.close(node, which)?,
            Step::Take { node, which } => {
                let Some(held) = self.nodes[node].held.values_mut().nth(which) else {
                    return Ok(());
                };
                if let Some(held) = held.iter_mut().find(|held| !held.is_taken) {
                    held.is_taken = true;
                    *self.taken.entry(held.id).or_default() += 1;
                }
            }
            Step::Answer { node, which, declines } => {
                let Node { held, responders, .. } = &mut self.nodes[node];
                let Some((id, all)) = held.iter_mut().nth(which) else { return Ok(()) };
                let Some(at) = all.iter().position(|held| held.is_taken) else { return Ok(()) };
                let held = all.remove(at).unwrap();
                responders.done(*id, 1);
                let answer = if declines { Err(Refusal::Declined) } else { Ok(()) };
                self.answer(node, &held, answer)?;
            }
            Step::Deliver { from, to, is_back } => self.deliver(from, to, is_back)?,
            Step::Up { from, to } => self.up(from, to)?,
            Step::Down { from, to } => {
                let link = self.link(from, to);
                if link.attempt.take().is_some() {
                    link.back.clear();
                    // What was written already is lost.
                    let lost = link.outbox.len() / 2;
                    link.outbox.drain(..lost);
                    self.handle(from, Event::Down(id(to)))?;
                }
            }
            Step::Unlink { from, to } => {
                if from != to {
                    *self.link(from, to) = Link::default();
                    self.note();
                    self.handle(from, Event::Unlinked(id(to)))?;
                }
            }
        }
        self.note();
        Ok(())
    }

    fn ask(&mut self, node: usize, channel: Bytes) -> TestCaseResult {
        if self.nodes[node].asking.refusal(1).is_some() {
            prop_assert_eq!(self.nodes[node].asking.len(), 20);
            return Ok(());
        }
        self.last += 1;
        let id = self.last;
        self.open.insert(id, (node, channel.clone(), (0..NODES).collect()));
        self.note();
        self.handle(node, Event::Asked { id, channel, payload: Bytes::new() })
    }

    fn close(&mut self, node: usize, which: usize) -> TestCaseResult {
        let Node { responders, held, names, .. } = &mut self.nodes[node];
        let Some(responder) = held.keys().nth(which).copied() else { return Ok(()) };
        let (held, name) = (held.remove(&responder).unwrap(), names.remove(&responder).unwrap());
        responders.close(responder);
        self.note();
        for held in held {
            if held.is_taken {
                self.answer(node, &held, Err(Refusal::Declined))?;
            } else if let Some(refusal) = self.give(node, &name, held.clone()) {
                self.answer(node, &held, Err(refusal))?;
            }
        }
        Ok(())
    }

    fn up(&mut self, from: usize, to: usize) -> TestCaseResult {
        if from == to || self.link(from, to).attempt.is_some() {
            return Ok(());
        }
        self.last += 1;
        let attempt = self.last;
        let link = self.link(from, to);
        let is_new = !link.is_linked;
        link.is_linked = true;
        link.attempt = Some(attempt);
        if is_new {
            self.handle(from, Event::Linked(id(to)))?;
        }
        self.handle(from, Event::Up { peer: id(to), attempt })
    }

    fn deliver(&mut self, from: usize, to: usize, is_back: bool) -> TestCaseResult {
        let link = self.link(from, to);
        let Some(stream) = link.attempt else { return Ok(()) };
        let frame = if is_back { link.back.pop_front() } else { link.outbox.pop_front() };
        let (peer, place) = (id(to), Place::At(id(to)));
        match frame {
            None => Ok(()),
            Some(Frame::Seek { id, channel }) => {
                let is_here = self.nodes[to].responders.has(&channel);
                self.link(from, to).back.push_back(Frame::Sought { id, is_here });
                Ok(())
            }
            Some(Frame::Request { attempt, id, channel }) if attempt == stream => {
                let held = Held { asker: from, id, attempt, is_taken: false };
                let refusal = self.give(to, &channel, held);
                let back = &mut self.link(from, to).back;
                back.extend(refusal.map(|refusal| Frame::Refused { id, refusal }));
                Ok(())
            }
            Some(Frame::Request { .. }) => Ok(()),
            Some(Frame::Sought { id, is_here }) => {
                self.handle(from, Event::Sought { peer, id, is_here })
            }
            Some(Frame::Reply { id }) => {
                self.handle(from, Event::Replied { place, id, payload: Bytes::new() })
            }
            Some(Frame::Refused { id, refusal }) => {
                self.handle(from, Event::Refused { place, id, refusal })
            }
        }
    }

    /// Lets everything come to rest with all links up, and checks what must hold then.
    fn rest(mut self) -> TestCaseResult {
        for _ in 0..200 {
            for (from, to) in pairs() {
                self.play(Step::Up { from, to })?;
                self.play(Step::Deliver { from, to, is_back: false })?;
                self.play(Step::Deliver { from, to, is_back: true })?;
            }
            for (node, which) in (0..NODES).flat_map(|node| (0..4).map(move |which| (node, which)))
            {
                self.play(Step::Take { node, which })?;
                self.play(Step::Answer { node, which, declines: false })?;
            }
        }
        prop_assert!(self.open.is_empty(), "{:?} never ended", self.open);
        for node in &self.nodes {
            prop_assert_eq!(node.asking.len(), 0);
        }
        for (request, count) in &self.taken {
            prop_assert_eq!(*count, 1, "request {} was taken twice", request);
            if let Some(Err(error)) = self.ended.get(request) {
                prop_assert!(!error.effect_is_none(), "request {} was taken: {}", request, error);
            }
        }
        Ok(())
    }
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    let all = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
    all.filter(|(from, to)| from != to)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_request_ends_once_and_reaches_at_most_one_responder(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.play(step)?;
        }
        world.rest()?;
    }
}

#[test]
fn answers_that_nobody_waits_for_are_ignored() {
    let mut asking = Asking::new(asking::Limits { requests: 1, bytes: 1 });
    let (peer, place) = (id(1), Place::At(id(1)));
    for id in 0..3 {
        assert_eq!(asking.handle(Event::Sought { peer, id, is_here: true }), []);
        assert_eq!(asking.handle(Event::Replied { place, id, payload: Bytes::new() }), []);
        let refusal = Refusal::Declined;
        assert_eq!(asking.handle(Event::Refused { place, id, refusal }), []);
    }
    asking.handle(Event::Linked(peer));
    asking.handle(Event::Linked(id(2)));
    asking.handle(Event::Up { peer, attempt: 1 });
    let (channel, payload) = (Bytes::from_static(b"jobs"), Bytes::new());
    asking.handle(Event::Asked { id: 1, channel: channel.clone(), payload });
    let refusal = Refusal::Nobody;
    let seek = Action::Seek { peer, id: 1, channel };
    assert_eq!(asking.handle(Event::Refused { place: Place::Here, id: 1, refusal }), [seek]);
    // Not before it was sent there, and not from elsewhere.
    assert_eq!(asking.handle(Event::Refused { place, id: 1, refusal }), []);
    let from_stranger = Event::Sought { peer: id(0), id: 1, is_here: true };
    assert_eq!(asking.handle(from_stranger), []);
    let sent = asking.handle(Event::Sought { peer, id: 1, is_here: true });
    assert!(matches!(sent[..], [Action::Send { attempt: 1, id: 1, .. }]), "{sent:?}");
    let place = Place::At(id(2));
    assert_eq!(asking.handle(Event::Replied { place, id: 1, payload: Bytes::new() }), []);
    assert_eq!(asking.was_sent(1), Some(true));
}
