//! The first words on a connection: who speaks, for which cluster, with which settings; and the answer.
//!
//! ```text
//! hello:   oldest version u16 | newest version u16 | Hello, encoded          answer: Welcome, encoded
//! ```
//!
//! Owns their bytes and the judgement of them. Does not send them. A hello that is refused has no answer: the
//! connection is closed with the reason. Invariant: both sides come to the same verdict, because one side gives it.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::{Identity, Remote};
use crate::codec;
use crate::ids::NodeId;

/// The oldest and the newest version of the node-to-node protocol that this node speaks.
const VERSIONS: (u16, u16) = (1, 1);
/// Why a node refuses itself, which is nobody's mistake: its own name may be among its seeds.
pub(super) const ITSELF: &str = "both ends are the same node";
/// The most bytes a hello or its answer may have.
pub(super) const SIZE_MAX: usize = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    cluster: String,
    node: NodeId,
    name: String,
    advertise: SocketAddr,
    settings: Vec<(String, String)>,
    /// Whom the dialler expects to meet.
    expected: Option<NodeId>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Welcome {
    version: u16,
    node: NodeId,
    name: String,
    advertise: SocketAddr,
}

/// Makes the hello of this node.
pub(super) fn hello(own: &Identity, advertise: SocketAddr, expected: Option<NodeId>) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u16(VERSIONS.0);
    bytes.put_u16(VERSIONS.1);
    let hello = Hello {
        cluster: own.cluster.to_string(),
        node: own.node,
        name: own.name.clone(),
        advertise,
        settings: own.settings.clone(),
        expected,
    };
    codec::encode_into(&hello, &mut bytes);
    bytes.freeze()
}

/// Gives the version that both sides speak, the newest if there are several.
fn common(theirs: (u16, u16), ours: (u16, u16)) -> Option<u16> {
    let newest = theirs.1.min(ours.1);
    (newest >= theirs.0.max(ours.0)).then_some(newest)
}

/// Judges the hello of a peer; gives it, and the version to speak. The error is the reason, in words that hold on both sides.
pub(super) fn judge(own: &Identity, hello: &[u8]) -> Result<(Remote, u16), String> {
    let Some((versions, rest)) = hello.split_first_chunk::<4>() else {
        return Err("malformed hello".into());
    };
    let [a, b, c, d] = *versions;
    let theirs = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let Some(version) = common(theirs, VERSIONS) else {
        return Err(format!(
            "the dialling node speaks protocol versions {} to {}, the dialled node {} ({}) versions {} to {}",
            theirs.0, theirs.1, own.name, own.node, VERSIONS.0, VERSIONS.1
        ));
    };
    let hello: Hello = codec::decode(rest).map_err(|e| format!("malformed hello: {e}"))?;
    if hello.cluster != own.cluster.as_str() {
        return Err(format!(
            "the dialling node belongs to cluster '{}', the dialled node to '{}'",
            hello.cluster, own.cluster
        ));
    }
    if let Some(difference) = difference(&hello.settings, &own.settings) {
        return Err(difference);
    }
    if hello.node == own.node {
        return Err(ITSELF.into());
    }
    if let Some(expected) = hello.expected.filter(|id| *id != own.node) {
        return Err(format!("node {expected} was expected, node {} is here", own.node));
    }
    Ok((Remote { id: hello.node, name: hello.name, address: hello.advertise }, version))
}

/// Names the first setting that differs, with both values.
fn difference(theirs: &[(String, String)], ours: &[(String, String)]) -> Option<String> {
    let value = |settings: &[(String, String)], key: &str| {
        let found = settings.iter().find(|(k, _)| k == key);
        found.map_or_else(|| "nothing".to_owned(), |(_, v)| format!("'{v}'"))
    };
    let keys = theirs.iter().chain(ours).map(|(key, _)| key);
    let differs = |key: &&String| value(theirs, key) != value(ours, key);
    keys.into_iter().find(differs).map(|key| {
        format!(
            "cluster setting '{key}' is {} on the dialling node and {} on the dialled node",
            value(theirs, key),
            value(ours, key)
        )
    })
}

/// Makes the answer to a hello that was not refused.
pub(super) fn welcome(own: &Identity, advertise: SocketAddr, version: u16) -> Bytes {
    let (node, name) = (own.node, own.name.clone());
    codec::encode(&Welcome { version, node, name, advertise })
}

/// Reads the answer; the error is the reason to refuse the peer in turn.
pub(super) fn welcomed(answer: &[u8], expected: Option<NodeId>) -> Result<Remote, String> {
    let welcome: Welcome =
        codec::decode(answer).map_err(|e| format!("malformed answer to the hello: {e}"))?;
    if !(VERSIONS.0..=VERSIONS.1).contains(&welcome.version) {
        return Err(format!("the dialled node chose protocol version {}", welcome.version));
    }
    if let Some(expected) = expected.filter(|id| *id != welcome.node) {
        return Err(format!("node {expected} was expected, node {} is here", welcome.node));
    }
    Ok(Remote { id: welcome.node, name: welcome.name, address: welcome.advertise })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(cluster: &str, node: u64, settings: &[(&str, &str)]) -> Identity {
        Identity {
            cluster: cluster.parse().unwrap(),
            node: NodeId::from_random(node),
            name: format!("n{node}"),
            advertise: None,
            settings: settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        }
    }

    fn address() -> SocketAddr {
        "10.0.0.1:7400".parse().unwrap()
    }

    #[track_caller]
    fn check_refused(theirs: &Identity, expected: Option<NodeId>, words: &[&str]) {
        let own = identity("game", 1, &[("session_timeout", "2s")]);
        let reason = judge(&own, &hello(theirs, address(), expected)).unwrap_err();
        assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
    }

    #[test]
    fn equal_peers_meet() {
        let own = identity("game", 1, &[("session_timeout", "2s")]);
        let theirs = identity("game", 2, &[("session_timeout", "2s")]);
        let (remote, version) = judge(&own, &hello(&theirs, address(), Some(own.node))).unwrap();
        assert_eq!(remote, Remote { id: theirs.node, name: "n2".into(), address: address() });
        let remote = welcomed(&welcome(&own, address(), version), Some(own.node)).unwrap();
        assert_eq!(remote.id, own.node);
    }

    #[test]
    fn refusals_name_what_differs() {
        let setting = [("session_timeout", "2s")];
        let other = NodeId::from_random(9);
        check_refused(&identity("chess", 2, &setting), None, &["'chess'", "'game'"]);
        check_refused(&identity("game", 1, &setting), None, &["both ends"]);
        check_refused(&identity("game", 2, &setting), Some(other), &["0000000000009"]);
        let setting = [("session_timeout", "3s")];
        check_refused(&identity("game", 2, &setting), None, &["session_timeout", "'3s'", "'2s'"]);
        check_refused(&identity("game", 2, &[]), None, &["session_timeout", "nothing", "'2s'"]);
    }

    #[test]
    fn a_rolling_upgrade_speaks_the_newest_version_of_both() {
        assert_eq!(common((1, 1), (1, 3)), Some(1));
        assert_eq!(common((1, 3), (1, 1)), Some(1));
        assert_eq!(common((2, 5), (1, 3)), Some(3));
        assert_eq!(common((4, 5), (1, 3)), None);
        assert_eq!(common((1, 3), (4, 5)), None);
        // A nonsensical range is in nobody's.
        assert_eq!(common((3, 1), (1, 3)), None);
        // A newer node that still speaks the version of this one is let in with it.
        let own = identity("game", 1, &[]);
        let mut theirs = hello(&identity("game", 2, &[]), address(), None).to_vec();
        theirs[2..4].copy_from_slice(&(VERSIONS.1 + 4).to_be_bytes());
        let (_, version) = judge(&own, &theirs).unwrap();
        assert_eq!(version, VERSIONS.1);
        assert!(welcomed(&welcome(&own, address(), VERSIONS.1 + 1), None).is_err());
    }

    #[test]
    fn another_version_range_is_refused_before_the_rest_is_read() {
        let own = identity("game", 1, &[]);
        let reason = judge(&own, &[0, 7, 0, 9, 0xff, 0xff]).unwrap_err();
        assert!(reason.contains("versions 7 to 9") && reason.contains("1 to 1"), "{reason}");
        assert!(judge(&own, &[0, 1]).is_err());
        assert!(judge(&own, &[0, 1, 0, 1, 9, 9]).is_err());
    }
}
