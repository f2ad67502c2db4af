//! The one place where values become bytes and bytes become values, for the wire, the log and snapshots.
//!
//! Owns `bincode`. Does not know what it encodes. Invariant: decoding never panics, never allocates more than
//! [`LIMIT`], and refuses input that is not consumed whole.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// The most bytes that one value may claim while it is decoded: 256 MiB. Frames are capped well below before they
/// get here; this bounds what a lying length inside one can make us allocate.
pub const LIMIT: usize = 256 * 1024 * 1024;

/// The format version that every encoded value begins with.
pub const VERSION: u8 = 1;

const fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT>()
}

/// Encodes `value`: one version byte, then bincode 2 with variable-length integers, little endian.
///
/// # Panics
/// When `value` cannot be encoded, which for the plain data of this crate is a mistake in the type, not in the value.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let mut buffer = BytesMut::with_capacity(128);
    encode_into(value, &mut buffer);
    buffer.freeze()
}

/// Encodes `value` behind what `buffer` already holds.
///
/// # Panics
/// As [`encode`].
pub fn encode_into<T: Serialize>(value: &T, buffer: &mut BytesMut) {
    buffer.put_u8(VERSION);
    let mut writer = buffer.writer();
    bincode::serde::encode_into_std_write(value, &mut writer, config())
        .expect("plain data is encodable and a memory buffer takes it");
}

/// How many bytes [`encode`] gives for `value`, without making them.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn size_of<T: Serialize>(value: &T) -> usize {
    let mut counter = bincode::enc::write::SizeWriter { bytes_written: 1 };
    bincode::serde::encode_into_writer(value, &mut counter, config())
        .expect("plain data is encodable and a counter takes it");
    counter.bytes_written
}

/// Decodes one value that is all of `bytes`.
///
/// # Errors
/// When the version is another one, when the bytes are no such value, or when some are left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let (&version, rest) = bytes.split_first().ok_or(Error::Empty)?;
    if version != VERSION {
        return Err(Error::Version { found: version });
    }
    let (value, used) = bincode::serde::decode_from_slice(rest, config())?;
    if used != rest.len() {
        return Err(Error::Trailing { count: rest.len().saturating_sub(used) });
    }
    Ok(value)
}

/// Bytes that are not the value they were said to be. Give up on them; the sender is at fault or of another version.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There was not even a version.
    #[error("empty input")]
    Empty,
    /// Written by another format version.
    #[error("format version {found}, this node reads version {VERSION}")]
    Version {
        /// The version that stood there.
        found: u8,
    },
    /// More bytes than the value has.
    #[error("{count} bytes left over behind the value")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Not a value of that type.
    #[error("malformed value: {0}")]
    Malformed(#[from] bincode::error::DecodeError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_the_round_trip() {
        let value = (7u64, "text".to_owned(), Bytes::from_static(b"\x00\xff"));
        let bytes = encode(&value);
        assert_eq!(size_of(&value), bytes.len());
        assert_eq!(decode::<(u64, String, Bytes)>(&bytes).unwrap(), value);
    }

    #[test]
    fn hostile_input_is_refused() {
        assert!(matches!(decode::<u8>(b""), Err(Error::Empty)));
        assert!(matches!(decode::<u8>(b"\x09\x01"), Err(Error::Version { found: 9 })));
        assert!(matches!(decode::<u8>(b"\x01\x01\x01"), Err(Error::Trailing { count: 1 })));
        let claims_a_tebibyte = [1, 253, 0, 0, 0, 0, 0, 1, 0, 0];
        assert!(matches!(decode::<Vec<u64>>(&claims_a_tebibyte), Err(Error::Malformed(_))));
        assert!(matches!(decode::<String>(&claims_a_tebibyte), Err(Error::Malformed(_))));
        assert!(matches!(decode::<Bytes>(&claims_a_tebibyte), Err(Error::Malformed(_))));
    }
}
