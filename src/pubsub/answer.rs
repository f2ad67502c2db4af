//! Answers to questions about the subscribers of this node.
//!
//! Owns how a long answer is made without holding up messages. Does not send it. Invariant: the lock of the tables is held
//! for a bounded number of names at a time, and a name that somebody listens to all the while is in the answer.

use bytes::Bytes;

use super::Kind;
use super::hub::Hub;
use super::wire::{Answer, PIECE_MAX, Question};
use crate::command::glob::Glob;

/// How many names are looked at under one lock.
const SLICE: usize = 1024;

impl Hub {
    /// Answers a question in pieces that fit frames, at least one, and gives each of them with whether it is the last one to
    /// `give`, until that wants no more.
    ///
    /// # Cancel safety
    /// Safe: what was given is given, and the rest is not.
    pub(super) async fn answer(
        &self,
        question: &Question,
        mut give: impl FnMut(Answer, bool) -> bool,
    ) {
        match question {
            Question::Counts { kind, channels } => {
                let counts = {
                    let state = self.state();
                    let count = |channel: &Bytes| state.table.listeners(*kind, channel) as u64;
                    channels.iter().map(count).collect()
                };
                give(Answer::Counts(counts), true);
            }
            Question::Names { kind, pattern } => {
                self.answer_names(*kind, pattern.as_deref(), give).await;
            }
        }
    }

    async fn answer_names(
        &self,
        kind: Kind,
        pattern: Option<&[u8]>,
        mut give: impl FnMut(Answer, bool) -> bool,
    ) {
        let glob = pattern.map(Glob::new);
        let (mut piece, mut size, mut end) = (Vec::new(), 0, usize::MAX);
        while end > 0 {
            let (names, from) = self.state().table.names_before(kind, end, SLICE);
            end = from;
            for name in names {
                if glob.as_ref().is_some_and(|glob| !glob.matches(&name)) {
                    continue;
                }
                if size > PIECE_MAX {
                    if !give(Answer::Names(std::mem::take(&mut piece)), false) {
                        return;
                    }
                    size = 0;
                }
                size += name.len() + size_of::<u64>();
                piece.push(name);
            }
            // Messages, and the sending of the pieces so far, come first.
            tokio::task::yield_now().await;
        }
        give(Answer::Names(piece), true);
    }
}
