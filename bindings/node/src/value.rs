//! What JavaScript is given: replies and messages as its own values.
//!
//! Owns that conversion. Invariant: bytes become text only where text was asked for; what is not UTF-8 in it is replaced, as
//! Redis clients for Node.js do.

use bytes::Bytes;
use napi::bindgen_prelude::{Array, BufferSlice, Null, ToNapiValue, Unknown};
use napi::{Env, Result};
use quorate::command::Reply;

/// A value on its way to JavaScript.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Number(i64),
    /// A string.
    Text(Bytes),
    /// A buffer.
    Bytes(Bytes),
    Array(Vec<Self>),
    /// An error in the place of a value: its code and its text.
    Error(Failure),
}

/// Why a call failed, as JavaScript is told.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.to_owned(), text: text.into() }
    }

    /// Takes the text of an error that begins with its code, as Redis' do.
    pub(crate) fn coded(text: impl Into<String>) -> Self {
        let text = text.into();
        let first = text.split(' ').next().unwrap_or_default();
        let is_code = !first.is_empty() && first.bytes().all(|b| b.is_ascii_uppercase());
        Self { code: if is_code { first.to_owned() } else { "ERR".to_owned() }, text }
    }
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Bytes::from(text.into()))
    }

    /// Makes bytes a string or a buffer.
    pub(crate) fn bulk(bytes: Bytes, as_buffers: bool) -> Self {
        if as_buffers { Self::Bytes(bytes) } else { Self::Text(bytes) }
    }

    pub(crate) fn number(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// Makes a reply a value. An error inside an array stays there; one that is the whole reply fails the call.
    pub(crate) fn of_reply(reply: Reply, as_buffers: bool) -> Self {
        let items = |items: Vec<Reply>| {
            Self::Array(items.into_iter().map(|item| Self::of_reply(item, as_buffers)).collect())
        };
        match reply {
            Reply::Ok => Self::Text(Bytes::from_static(b"OK")),
            Reply::Status(text) => Self::Text(Bytes::from_static(text.as_bytes())),
            Reply::Nil | Reply::NilArray | Reply::Blocked(_) => Self::Null,
            Reply::Integer(number) => Self::Number(number),
            Reply::Bulk(bytes) => Self::bulk(bytes, as_buffers),
            Reply::Array(all) | Reply::Set(all) | Reply::Map(all) | Reply::Pairs(all) => items(all),
            Reply::Error(error) => Self::Error(Failure::coded(error.to_string())),
        }
    }

    /// Makes it a value of JavaScript.
    pub(crate) fn into_js(self, env: &Env) -> Result<Unknown<'_>> {
        match self {
            Self::Null => Null.into_unknown(env),
            Self::Boolean(value) => value.into_unknown(env),
            Self::Number(number) => number.into_unknown(env),
            Self::Text(bytes) => String::from_utf8_lossy(&bytes).as_ref().into_unknown(env),
            Self::Bytes(bytes) => BufferSlice::copy_from(env, &bytes)?.into_unknown(env),
            Self::Array(items) => array(env, items)?.into_unknown(env),
            // The JavaScript side makes it an error; what is not one has no such shape.
            Self::Error(Failure { code, text }) => {
                let mut error = napi::bindgen_prelude::Object::new(env)?;
                error.set("code", code)?;
                error.set("message", text)?;
                error.into_unknown(env)
            }
        }
    }
}

/// Makes values an array of JavaScript.
pub(crate) fn array(env: &Env, items: Vec<Value>) -> Result<Array<'_>> {
    let mut array = env.create_array(u32::try_from(items.len()).unwrap_or(u32::MAX))?;
    for (index, item) in (0u32..).zip(items) {
        array.set(index, item.into_js(env)?)?;
    }
    Ok(array)
}
