//! Messages that wait for the state of their reader's node.
//!
//! Owns a state whose marks the tests move. Invariant: how long a message waits is measured from its arrival.

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::super::hub::Hub;
use super::*;

/// The marks of a node that writes and applies when a test says so.
#[derive(Debug)]
struct Marks {
    written: watch::Sender<u64>,
    applied: watch::Sender<u64>,
}

impl Positions for Marks {
    fn written(&self) -> u64 {
        *self.written.borrow()
    }

    fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    fn reached(&self, position: u64) -> BoxFuture<'_, ()> {
        let mut applied = self.applied.subscribe();
        Box::pin(async move {
            let _reached = applied.wait_for(|applied| *applied >= position).await;
        })
    }
}

struct Scene {
    marks: Arc<Marks>,
    pubsub: PubSub,
    subscriber: Subscriber,
}

/// A node alone, with a causal subscriber to `c`.
fn scene() -> Scene {
    let (written, applied) = (watch::Sender::new(0), watch::Sender::new(0));
    let marks = Arc::new(Marks { written, applied });
    let hub = Hub::new(Config::default(), None, Arc::clone(&marks) as Arc<dyn Positions>);
    let pubsub = PubSub(Arc::new(Handle(Arc::new(hub))));
    let subscriber = pubsub.subscriber().causal();
    listen(&subscriber, Kind::Channel, "c");
    Scene { marks, pubsub, subscriber }
}

impl Scene {
    /// Publishes behind a write at `position`.
    fn say(&self, position: u64, payload: &'static str) {
        self.marks.written.send_replace(position);
        say(&self.pubsub, "c", payload);
    }

    fn apply(&self, position: u64) {
        self.marks.applied.send_replace(position);
    }

    /// Receives a message that must come within `wait`; gives whether it came ahead of the state.
    async fn hear(&self, wait: Duration, payload: &str) -> bool {
        let delivery = timeout(wait, self.subscriber.receive()).await.expect("it comes in time");
        let message = delivery.unwrap().message().unwrap();
        assert_eq!(message.payload, payload.as_bytes());
        message.is_ahead
    }

    fn hears_nothing(&self) {
        assert_eq!(self.subscriber.try_receive(), Ok(None));
    }
}

const WAIT: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_message_and_what_is_behind_it_wait_for_the_state() {
    let scene = scene();
    scene.say(5, "a");
    scene.say(0, "b");
    scene.hears_nothing();
    scene.apply(4);
    scene.hears_nothing();
    let marks = Arc::clone(&scene.marks);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        marks.applied.send_replace(5);
    });
    let before = Instant::now();
    assert!(!scene.hear(WAIT, "a").await);
    assert_eq!(before.elapsed(), Duration::from_millis(300));
    assert!(!scene.hear(INSTANT, "b").await);
    scene.say(5, "c");
    assert!(!scene.hear(INSTANT, "c").await);
}

#[tokio::test(start_paused = true)]
async fn others_do_not_wait() {
    let scene = scene();
    let other = scene.pubsub.subscriber();
    listen(&other, Kind::Channel, "c");
    scene.say(5, "a");
    let message = taken(&other).unwrap();
    assert_eq!((message.position, message.is_ahead), (5, false));
    scene.hears_nothing();
    scene.subscriber.set_causal(false);
    assert!(!scene.hear(INSTANT, "a").await, "nothing waits any longer");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_does_not_come_costs_the_wait_once_and_not_for_each_message() {
    let scene = scene();
    let before = Instant::now();
    for position in 1..=100 {
        scene.say(position, "early");
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    // All came within 100 ms, so none waits for longer than 100 ms after the first one had to go.
    for _ in 0..100 {
        assert!(scene.hear(WAIT, "early").await);
    }
    assert!(before.elapsed() <= WAIT + Duration::from_millis(110), "{:?}", before.elapsed());
    scene.say(100, "again");
    assert!(scene.hear(INSTANT, "again").await, "it was waited for in vain already");
    scene.apply(50);
    scene.say(100, "moving");
    scene.hears_nothing();
    scene.apply(100);
    assert!(!scene.hear(INSTANT, "moving").await);
    scene.say(101, "later");
    scene.hears_nothing();
    assert!(scene.hear(WAIT + INSTANT, "later").await);
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_is_given_up_does_not_prolong_the_wait() {
    let scene = scene();
    scene.say(7, "a");
    let before = Instant::now();
    let mut given_up = 0;
    let delivery = loop {
        match timeout(Duration::from_millis(90), scene.subscriber.receive()).await {
            Ok(delivery) => break delivery.unwrap(),
            Err(_) => given_up += 1,
        }
    };
    assert!(delivery.message().unwrap().is_ahead);
    assert_eq!((before.elapsed(), given_up), (WAIT, 11));
    // Given up at the very moment at which the state comes, it loses nothing.
    for position in 8..100 {
        scene.say(position, "b");
        let late = timeout(INSTANT, scene.subscriber.receive()).await;
        assert!(late.is_err());
        scene.apply(position);
        assert!(!scene.hear(INSTANT, "b").await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_node_gives_what_waits_at_once() {
    let scene = scene();
    scene.say(5, "a");
    scene.hears_nothing();
    scene.pubsub.stop().await;
    assert!(scene.hear(INSTANT, "a").await);
    assert_eq!(scene.subscriber.receive().await, Err(Error::Closed));
}
