//! Replies of the keyspace as bytes of the client's protocol version.
//!
//! Owns which RESP type each [`Reply`] becomes. Decides nothing else. Invariant: one reply in, one reply out.

use crate::command::Reply;
use crate::resp::{Encoder, Version};

/// Writes a reply.
pub(super) fn write(reply: &Reply, to: &mut Encoder<'_>) {
    match reply {
        Reply::Ok => to.ok(),
        Reply::Status(text) => to.status(text),
        Reply::Nil => to.nil(),
        Reply::NilArray => to.nil_array(),
        Reply::Integer(number) => to.integer(*number),
        Reply::Bulk(bytes) => to.bulk(bytes),
        Reply::Error(error) => to.error(&error.to_string()),
        // The node answers a wait only when it is over.
        Reply::Blocked(_) => to.error("ERR this command cannot wait here"),
        Reply::Array(items) => {
            to.array(items.len());
            write_all(items, to);
        }
        Reply::Set(items) => {
            to.set(items.len());
            write_all(items, to);
        }
        Reply::Map(items) => {
            to.map(items.len() / 2);
            write_all(items, to);
        }
        Reply::Pairs(items) if to.version() == Version::Resp2 => {
            to.array(items.len());
            write_all(items, to);
        }
        Reply::Pairs(items) => {
            to.array(items.len() / 2);
            for pair in items.chunks(2) {
                to.array(pair.len());
                write_all(pair, to);
            }
        }
    }
}

fn write_all(items: &[Reply], to: &mut Encoder<'_>) {
    for item in items {
        write(item, to);
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::command::Error;

    #[test]
    fn each_version_gets_its_own_shapes() {
        let text = |text: &'static str| Reply::Bulk(Bytes::from_static(text.as_bytes()));
        for (reply, resp2, resp3) in [
            (Reply::Map(vec![text("f"), text("v")]), "*2|$1|f|$1|v|", "%1|$1|f|$1|v|"),
            (Reply::Pairs(vec![text("f"), text("v")]), "*2|$1|f|$1|v|", "*1|*2|$1|f|$1|v|"),
            (Reply::Set(vec![text("m")]), "*1|$1|m|", "~1|$1|m|"),
            (Reply::Array(vec![Reply::Nil, Reply::NilArray]), "*2|$-1|*-1|", "*2|_|_|"),
            (Reply::Error(Error::Syntax), "-ERR syntax error|", "-ERR syntax error|"),
        ] {
            for (version, expected) in [(Version::Resp2, resp2), (Version::Resp3, resp3)] {
                let mut out = BytesMut::new();
                write(&reply, &mut Encoder::new(&mut out, version));
                assert_eq!(out, expected.replace('|', "\r\n"));
            }
        }
    }
}
