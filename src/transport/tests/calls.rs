//! Calls: many at once, each answer to its caller, and an end for each of them whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::*;

/// Serves the first stream of calls with `handler`.
fn serve<H, F>(mut incoming: Incoming, concurrency_max: usize, handler: H)
where
    H: Fn(Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = Option<Bytes>> + Send + 'static,
{
    tokio::spawn(async move {
        let inbound = incoming.accept().await.unwrap();
        assert!(inbound.is_calls);
        serve_calls(inbound, concurrency_max, |_, request| handler(request)).await
    });
}

async fn pair(config: Config) -> (MemoryNetwork, Transport, Transport, Incoming) {
    let network = MemoryNetwork::new(1);
    let plan = Plan { config: config.clone(), ..Plan::default() };
    let (one, _incoming) = plan.start(&network, 1).await;
    let (two, incoming) = Plan { config, ..Plan::default() }.start(&network, 2).await;
    (network, one, two, incoming)
}

fn number(n: u64) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_any_order_and_each_to_its_caller() {
    let (_network, one, _two, incoming) = pair(Config::default()).await;
    serve(incoming, 1_000, |request| async move {
        let n = u64::from_be_bytes(*request.first_chunk().unwrap());
        tokio::time::sleep(Duration::from_millis(1_000 - n)).await;
        Some(request)
    });
    let calls = (0..1_000).map(|n| one.call(&TWO, purpose(Class::Forward), number(n), SOON));
    for (n, answer) in (0..).zip(soon(join_all(calls)).await) {
        assert_eq!(answer.unwrap(), number(n));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_leaves_nothing_and_disturbs_nobody() {
    let (_network, one, _two, incoming) = pair(Config::default()).await;
    serve(incoming, 64, |request| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Some(request)
    });
    let purpose = purpose(Class::Control);
    let short = one.call(&TWO, purpose, number(1), Duration::from_millis(100));
    let long = one.call(&TWO, purpose, number(2), SOON);
    let (short, long) = tokio::join!(short, long);
    assert!(matches!(short, Err(Error::Deadline { is_sent: true, .. })), "{short:?}");
    assert_eq!(long.unwrap(), number(2));
    assert_eq!(one.0.0.callers.waiting(), 0);
    let next = one.call(&TWO, purpose, number(3), SOON).await;
    assert_eq!(next.unwrap(), number(3));
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_decline_and_may_panic() {
    let (_network, one, _two, incoming) = pair(Config::default()).await;
    serve(incoming, 64, |request| async move {
        assert_ne!(request, number(1), "this panic is part of the test");
        (request != number(2)).then_some(request)
    });
    let call = |n| one.call(&TWO, purpose(Class::Control), number(n), SOON);
    assert!(matches!(call(1).await, Err(Error::NoAnswer)));
    assert!(matches!(call(2).await, Err(Error::NoAnswer)));
    assert_eq!(call(3).await.unwrap(), number(3));
}

#[tokio::test(start_paused = true)]
async fn a_server_runs_no_more_at_once_than_it_was_told() {
    let (_network, one, _two, incoming) = pair(Config::default()).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&running), Arc::clone(&most));
    serve(incoming, 3, move |request| {
        let (running, most) = counts.clone();
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            Some(request)
        }
    });
    let calls = (0..50).map(|n| one.call(&TWO, purpose(Class::Forward), number(n), SOON));
    assert!(soon(join_all(calls)).await.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_are_bounded_by_count_and_by_bytes() {
    for config in [
        Config { calls_max: 2, ..Config::default() },
        Config { outbox_max: bytesize::ByteSize::b(16), ..Config::default() },
    ] {
        let (_network, one, _two, incoming) = pair(config).await;
        serve(incoming, 64, |request| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some(request)
        });
        let deadline = Duration::from_millis(150);
        let call = |n| one.call(&TWO, purpose(Class::Forward), number(n), deadline);
        let (a, b, c) = tokio::join!(call(1), call(2), call(3));
        assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
        assert!(matches!(&c, Err(Error::Deadline { .. })), "{c:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_to_nobody_end_with_a_clean_effect() {
    let (network, one, two, _incoming) = pair(Config::default()).await;
    network.remove(two.advertised());
    let purpose = purpose(Class::Control);
    let error = one.call(&TWO, purpose, number(1), SOON).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.effect_is_none(), "{error:?}");
    let soonest = Duration::from_millis(50);
    let error = one.call(&TWO, purpose, number(1), soonest).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { is_sent: false, .. }), "{error:?}");
    assert!(error.effect_is_none());
}

#[tokio::test(start_paused = true)]
async fn calls_whose_peer_dies_end_and_the_next_start_is_called_anew() {
    let (network, one, two, incoming) = pair(Config::default()).await;
    serve(incoming, 64, |_| std::future::pending());
    let to_any = Peer { id: None, address: address(2) };
    let call = |n| one.call(&to_any, purpose(Class::Control), number(n), SOON);
    let dying = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        two.close("leaving").await;
    };
    let (answer, ()) = tokio::join!(call(1), dying);
    let error = answer.unwrap_err();
    assert!(matches!(error, Error::Closed { .. }) && !error.effect_is_none(), "{error:?}");
    let (_two, incoming) = Plan::default().start_as(&network, 2, 22).await;
    echo(incoming);
    assert_eq!(call(2).await.unwrap(), number(2));
}

#[tokio::test(start_paused = true)]
async fn requests_and_answers_over_the_limit_end_only_their_own_call() {
    let mut config = Config::default();
    config.frame_max.control = bytesize::ByteSize::b(100);
    let (_network, one, _two, incoming) = pair(config).await;
    serve(incoming, 64, |request| async move {
        let answer = vec![0; request.len() + 1];
        Some(answer.into())
    });
    let call = |size| one.call(&TWO, purpose(Class::Control), vec![1; size].into(), SOON);
    let error = call(101).await.unwrap_err();
    assert_eq!(error.to_string(), "control frame of 101 bytes exceeds the limit of 100 bytes");
    assert!(matches!(call(100).await, Err(Error::NoAnswer)));
    assert_eq!(call(99).await.unwrap().len(), 100);
}
