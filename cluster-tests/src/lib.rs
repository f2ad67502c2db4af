//! Tests of whole servers from outside: scripts, processes, clients, failover.
//!
//! Owns: everything that starts `quorate` or `redis-server` processes and looks at them through their doors.
//! Does not own: tests of single rooms, which stand beside their code. It uses the public interface only:
//! sockets, the command line, HTTP, and for the bare keyspace the crate's public types.
//! Invariant: a check that cannot run on this machine says so; it never counts as passed.

pub mod bound;
pub mod chance;
pub mod check;
#[cfg(test)]
mod checklist;
pub mod cli;
pub mod client;
pub mod counters;
pub mod disks;
pub mod door;
pub mod driver;
pub mod durable;
pub mod failover;
pub mod failure;
pub mod fanout;
pub mod figures;
pub mod fleet;
pub mod heard;
pub mod history;
pub mod jepsen;
pub mod lanes;
pub mod leaves;
pub mod load;
pub mod million;
pub mod mutants;
pub mod network;
pub mod observers;
pub mod pace;
pub mod presence;
pub mod process;
pub mod rendezvous;
pub mod reply;
pub mod report;
pub mod requests;
pub mod rolling;
pub mod rounds;
pub mod sampler;
pub mod script;
pub mod sim;
pub mod slow;
pub mod survivor;
pub mod traffic;
pub mod whole;
