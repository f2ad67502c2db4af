//! An embedded cluster for game servers: agreed state and messages inside the processes themselves, and the Redis protocol.
//!
//! Owns nothing but the list of rooms; ARCHITECTURE.md is their map. [`Node`] is the way in. What is re-exported here is
//! for users only: rooms import from the room that owns a name.
//!
//! ```
//! use quorate::command::{Command, Reply};
//! use quorate::pubsub::Kind;
//! use quorate::{Config, Node};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Without seeds and secret: a cluster of one, which nobody can join.
//!     let node = Node::start(Config::default()).await?;
//!     node.ready().await;
//!
//!     let set = Command::parse(&["SET".into(), "greeting".into(), "hello".into()])?;
//!     assert_eq!(node.command(set).await?, Reply::Ok);
//!     let get = Command::parse(&["GET".into(), "greeting".into()])?;
//!     assert_eq!(node.command(get).await?, Reply::Bulk("hello".into()));
//!
//!     let listener = node.subscriber();
//!     listener.subscribe(Kind::Channel, b"news")?.in_effect().await;
//!     let receivers = node.publish(Kind::Channel, b"news", "hi".into())?.await;
//!     assert_eq!(receivers, 1);
//!     let message = listener.receive().await?.message().expect("nothing is missing");
//!     assert_eq!(message.payload, "hi");
//!
//!     node.leave().await;
//!     Ok(())
//! }
//! ```

pub mod adapters;
pub mod codec;
pub mod command;
pub mod consensus;
pub mod host;
pub mod ids;
pub mod keyspace;
pub mod membership;
pub mod node;
pub mod presence;
pub mod pubsub;
pub mod rendezvous;
pub mod resp;
pub mod storage;
#[cfg(test)]
mod tidy;
pub mod time;
pub mod transport;

pub use self::node::{Config, Node};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
