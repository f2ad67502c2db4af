//! What an error reply says of the effect of a mutation: decided one by one.
//!
//! Owns the table. Does not own: time-outs and lost connections, which are always unknown once the request was sent. Invariant: *none*
//! stands only where the server promises it; a text that is in no row is unknown, and spoils the run.
//!
//! | error reply | effect | why |
//! |---|---|---|
//! | `TRYAGAIN …` | none | no leader took the request before its deadline: it never got a place in the log |
//! | `CLUSTERDOWN n of m voters …` | none | the same, where the node knows that the majority is away |
//! | `CLUSTERDOWN this node has stopped` | none | said only to requests that had not been taken; the others get `UNKNOWN` |
//! | `UNKNOWN …` | unknown | the deadline passed, or the session ended, while the request was under way |
//! | `EXECABORT …` | none | the transaction was thrown away before it was submitted |
//! | `NOAUTH …` | none | refused at the door |
//! | anything else | unknown | a word that no workload provokes: the harness or the server is wrong |

/// What is known of the effect of a request that was answered by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Surely none.
    None,
    /// Nobody knows.
    Unknown,
    /// Nobody knows, and no workload should have provoked it.
    Unexpected,
}

/// Judges an error reply.
pub(super) fn effect(text: &str) -> Effect {
    let word = text.split(' ').next().unwrap_or_default();
    match word {
        "TRYAGAIN" | "EXECABORT" | "NOAUTH" => Effect::None,
        "CLUSTERDOWN" if text.contains("the command had no effect") => Effect::None,
        "CLUSTERDOWN" if text.contains("this node has stopped") => Effect::None,
        "CLUSTERDOWN" | "UNKNOWN" => Effect::Unknown,
        _ => Effect::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate::node::Error;

    #[test]
    fn texts_of_the_server_are_in_the_table() {
        let down = Error::ClusterDown { alive: 1, voters: 3 };
        assert_eq!(effect(&down.to_string()), Effect::None);
        assert_eq!(effect(&Error::TryAgain.to_string()), Effect::None);
        assert_eq!(effect(&Error::Stopped.to_string()), Effect::None);
        assert_eq!(effect(&Error::Unknown.to_string()), Effect::Unknown);
        assert_eq!(effect("WRONGTYPE what"), Effect::Unexpected);
        assert_eq!(effect("EXECABORT Transaction discarded"), Effect::None);
    }
}
