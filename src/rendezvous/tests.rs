//! Real nodes in one process, which meet in folders of their own.
//!
//! Owns the promises of the room. Invariant: every wait has a deadline.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::place::MeetingPlace;
use super::*;
use crate::host::{Place, Share};

const DEADLINE: Duration = Duration::from_secs(20);

fn folder() -> (TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("meeting");
    (outer, folder)
}

fn place(folder: &Path) -> MeetingPlace {
    MeetingPlace::open(folder, &"game".parse().unwrap()).unwrap()
}

async fn join(folder: &Path) -> Node {
    let started = timeout(DEADLINE, start_in(folder, "game", Config::default()));
    started.await.expect("it takes too long").unwrap()
}

fn formation(node: &Node) -> Option<String> {
    node.status().cluster.formation
}

#[track_caller]
fn is_one_cluster(nodes: &[Node]) {
    let formations: BTreeSet<_> = nodes.iter().map(formation).collect();
    assert!(formations.len() == 1 && !formations.contains(&None), "{formations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_who_start_at_once_form_one_cluster() {
    let (_outer, folder) = folder();
    let began = Instant::now();
    let nodes = join_all((0..6).map(|_| join(&folder))).await;
    is_one_cluster(&nodes);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let members = place(&folder).members(&place(&folder).locks(None)).unwrap();
    assert_eq!(members.len(), 6);
    assert!(nodes.iter().all(|node| members[&node.id()] == node.address()));
    join_all(nodes.iter().map(Node::leave)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_leaves_is_shown_no_more_and_who_comes_when_all_are_gone_forms_anew() {
    let (_outer, folder) = folder();
    let (one, two) = (join(&folder).await, join(&folder).await);
    is_one_cluster(&[one.clone(), two.clone()]);
    let first = formation(&one);
    let secret = place(&folder).secret().unwrap();
    assert!(secret.is_some());
    one.leave().await;
    let three = join(&folder).await;
    is_one_cluster(&[two.clone(), three.clone()]);
    assert_eq!(formation(&three), first);
    two.leave().await;
    three.leave().await;
    let until = Instant::now() + DEADLINE;
    while !place(&folder).members(&place(&folder).locks(None)).unwrap().is_empty() {
        assert!(Instant::now() < until, "members are shown that have left");
        sleep(Duration::from_millis(10)).await;
    }
    let four = join(&folder).await;
    assert_ne!(formation(&four), first);
    assert_eq!(place(&folder).secret().unwrap(), secret, "it is made once");
    four.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_joins_through_one_that_dies_forms_by_itself() {
    let (_outer, folder) = folder();
    let place = place(&folder);
    place.secret_or_new().unwrap();
    // It is in a cluster, as its file has it, and lives, but nobody answers at its address.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dying = ids::NodeId::from_random(7);
    let held = place.locks(None).hold(dying, false).unwrap();
    place.show(dying, socket.local_addr().unwrap(), None).unwrap();
    let started = tokio::spawn({
        let folder = folder.clone();
        async move { join(&folder).await }
    });
    // Nobody may form beside one who joins.
    let deadline = Instant::now() + Duration::from_secs(20);
    while place.turn(Share::Alone).unwrap().is_some() {
        assert!(Instant::now() < deadline, "it does not begin to join");
        sleep(Duration::from_millis(10)).await;
    }
    assert!(!started.is_finished());
    drop(held);
    let node = started.await.unwrap();
    assert!(formation(&node).is_some());
    assert_eq!(place.members(&place.locks(None)).unwrap().len(), 1, "the dead one is cleared away");
    node.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_cannot_join_the_living_gives_up_after_a_while() {
    let (_outer, folder) = folder();
    let place = place(&folder);
    place.secret_or_new().unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let stopped = ids::NodeId::from_random(7);
    let _held = place.locks(None).hold(stopped, false).unwrap();
    place.show(stopped, socket.local_addr().unwrap(), None).unwrap();
    let config = fit(Config::default(), "game".parse().unwrap(), &place).unwrap();
    let late = meet::meet(&place, &config, Duration::from_millis(300)).await.unwrap_err();
    let text = late.to_string();
    assert!(text.contains("1 living processes"), "{text}");
    // Nobody forms, however long it takes: alone in turn, but not alone.
    let _turn = place.turn(Share::Alone).unwrap().unwrap();
    let late = meet::meet(&place, &config, Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(late, Error::Late { .. }), "{late}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clusters_of_two_names_or_folders_do_not_meet() {
    let ((_one, here), (_two, there)) = (folder(), folder());
    let chess = start_in(&here, "chess", Config::default()).await.unwrap();
    let nodes = [join(&here).await, join(&there).await, chess];
    let formations: BTreeSet<_> = nodes.iter().map(formation).collect();
    assert_eq!(formations.len(), 3);
    join_all(nodes.iter().map(Node::leave)).await;
}

#[tokio::test]
async fn what_contradicts_a_rendezvous_is_refused() {
    let (_outer, folder) = folder();
    let refused = async |name: &str, change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        start_in(&folder, name, config).await.unwrap_err().to_string()
    };
    for (text, expected) in [
        (refused("game", |config| config.node.seeds = vec!["a:1".into()]).await, "node.seeds"),
        (refused("game", |config| config.node.data_dir = Some("d".into())).await, "node.data_dir"),
        (refused("game", |config| config.cluster.bootstrap_expect = 2).await, "bootstrap_expect"),
        (refused("../game", |_| {}).await, "'../game'"),
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_of_another_user_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let start = async |folder: &Path| {
        start_in(folder, "game", Config::default()).await.unwrap_err().to_string()
    };
    let (_outer, shared) = folder();
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
    let text = start(&shared).await;
    assert!(text.contains("can be changed by other users"), "{text}");
    // Who may make files in any folder need not own it.
    let (_outer, theirs) = folder();
    std::fs::create_dir(&theirs).unwrap();
    if std::os::unix::fs::chown(&theirs, Some(12_345), None).is_ok() {
        let text = start(&theirs).await;
        assert!(text.contains("belongs to another user"), "{text}");
    }
}

#[test]
fn a_member_counts_while_its_lock_is_held_and_its_file_comes_back() {
    let (_outer, folder) = folder();
    let place = place(&folder);
    let locks: Place = place.locks(None);
    let (node, address) = (ids::NodeId::from_random(7), "127.0.0.1:7400".parse().unwrap());
    let held = locks.hold(node, false).unwrap();
    let secret = place.secret_or_new().unwrap();
    assert!(place.members(&locks).unwrap().is_empty(), "it lives, but is in no cluster");
    for file in ["secret".to_owned(), format!("{node}.member")] {
        place.show(node, address, Some(&secret)).unwrap();
        assert!(place.is_shown(node, true).unwrap());
        std::fs::remove_file(place.path().join(file)).unwrap();
        assert!(!place.is_shown(node, true).unwrap());
        place.show(node, address, Some(&secret)).unwrap();
        assert_eq!(place.members(&locks).unwrap(), [(node, address)].into());
        assert_eq!(place.secret().unwrap().as_ref(), Some(&secret));
    }
    drop(held);
    assert!(place.members(&locks).unwrap().is_empty());
    assert!(!place.path().join(format!("{node}.member")).exists(), "it is cleared away");
}
