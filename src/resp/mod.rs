//! Redis protocol bytes ↔ requests and replies, of both protocol versions.
//!
//! Owns how bytes become the words of a request ([`Decoder`]), how a reply becomes bytes ([`Encoder`]), and how a client
//! reads replies back ([`decode_value`]). Pure: no socket, no task, and no knowledge of any command.
//! Invariant: no input panics, no claimed length reserves memory before its bytes are here, no work is quadratic.

mod decode;
mod encode;
mod inline;
mod value;

#[cfg(test)]
mod tests;

pub use self::decode::{Decoder, Limits, ProtocolError};
pub use self::encode::{Encoder, Version};
pub use self::value::{Value, ValueError, decode_value};
