//! Expectations: what a reply must look like.
//!
//! Owns: the comparison of a reply with an expectation, exact unless the script says otherwise. Does not
//! own: reading scripts. Invariant: an expectation that names no freedom (`any`, a range, `unordered`)
//! accepts one reply only.

use std::collections::BTreeMap;

use crate::reply::Reply;

/// Values that a script has kept for later use, by name.
pub type Captures = BTreeMap<String, Vec<u8>>;

/// What must arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Exactly this value.
    Exact(Reply),
    /// A value of some kind, kept under a name if one is given.
    Any(Shape, Option<String>),
    /// An integer within these bounds, both included.
    Between(i64, i64),
    /// A bulk, simple, verbatim or error text that a `*` pattern matches.
    Like(Shape, String),
    /// An array, set or push of such elements.
    List {
        /// Which of the three.
        shape: Shape,
        /// Whether the order counts.
        order: Order,
        /// What must be in it.
        items: Vec<Self>,
        /// Whether further elements may follow.
        open: bool,
    },
    /// A RESP3 map of such entries, in any order.
    Map {
        /// What must be in it.
        pairs: Vec<(Self, Self)>,
        /// Whether there may be further entries.
        open: bool,
    },
    /// The server closes the connection.
    Closed,
    /// Nothing arrives.
    Nothing,
}

/// A kind of reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kinds are named as the protocol names them")]
pub enum Shape {
    Anything,
    Simple,
    Error,
    Integer,
    Bulk,
    Verbatim,
    Array,
    Set,
    Push,
}

/// Whether the order of elements counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Element by element.
    Kept,
    /// Any order.
    Free,
    /// Any order of pairs, as in a flat list of fields and values.
    FreePairs,
}

impl Shape {
    fn fits(self, reply: &Reply) -> bool {
        match self {
            Self::Anything => true,
            Self::Simple => matches!(reply, Reply::Simple(_)),
            Self::Error => matches!(reply, Reply::Error(_)),
            Self::Integer => matches!(reply, Reply::Integer(_)),
            Self::Bulk => matches!(reply, Reply::Bulk(_)),
            Self::Verbatim => matches!(reply, Reply::Verbatim(_)),
            Self::Array => matches!(reply, Reply::Array(_)),
            Self::Set => matches!(reply, Reply::Set(_)),
            Self::Push => matches!(reply, Reply::Push(_)),
        }
    }
}

impl Expected {
    /// Tells whether `reply` is what was expected, and keeps what the script wants kept.
    pub fn accepts(&self, reply: &Reply, captures: &mut Captures) -> bool {
        match self {
            Self::Exact(exact) => exact == reply,
            Self::Any(shape, name) => {
                if shape.fits(reply)
                    && let Some(name) = name
                {
                    let bytes = match reply.integer() {
                        Some(n) => n.to_string().into_bytes(),
                        None => reply.bytes().unwrap_or_default().to_vec(),
                    };
                    captures.insert(name.clone(), bytes);
                }
                shape.fits(reply)
            }
            Self::Between(low, high) => {
                reply.integer().is_some_and(|n| (*low..=*high).contains(&n))
            }
            Self::Like(shape, pattern) => {
                let text = reply.error_text().map(String::into_bytes);
                let text = text.as_deref().or(reply.bytes());
                shape.fits(reply) && text.is_some_and(|text| like(pattern.as_bytes(), text))
            }
            Self::List { shape, order, items, open } => {
                let elements = reply.elements().unwrap_or_default();
                shape.fits(reply) && list_accepts(*order, items, *open, elements, captures)
            }
            Self::Map { pairs, open } => {
                let Reply::Map(entries) = reply else { return false };
                let expected: Vec<_> = pairs.iter().map(|(k, v)| [k, v]).collect();
                let entries: Vec<_> = entries.iter().map(|(k, v)| [k, v]).collect();
                free_accepts(&expected, *open, &entries, captures)
            }
            Self::Closed | Self::Nothing => false,
        }
    }
}

fn list_accepts(
    order: Order,
    items: &[Expected],
    open: bool,
    elements: &[Reply],
    captures: &mut Captures,
) -> bool {
    match order {
        Order::Kept => {
            (items.len() == elements.len() || (open && items.len() < elements.len()))
                && items.iter().zip(elements).all(|(item, element)| item.accepts(element, captures))
        }
        Order::Free => {
            let items: Vec<_> = items.iter().map(|item| [item]).collect();
            let elements: Vec<_> = elements.iter().map(|element| [element]).collect();
            free_accepts(&items, open, &elements, captures)
        }
        Order::FreePairs => {
            let (items, odd_items) = items.as_chunks::<2>();
            let (elements, odd_elements) = elements.as_chunks::<2>();
            let items: Vec<_> = items.iter().map(|[a, b]| [a, b]).collect();
            let elements: Vec<_> = elements.iter().map(|[a, b]| [a, b]).collect();
            odd_items.is_empty()
                && odd_elements.is_empty()
                && free_accepts(&items, open, &elements, captures)
        }
    }
}

/// Finds for each expected group an element group of its own. Expectations are tried in the order of the
/// script, so that one with more freedom should stand behind one with less.
fn free_accepts<const N: usize>(
    expected: &[[&Expected; N]],
    open: bool,
    found: &[[&Reply; N]],
    captures: &mut Captures,
) -> bool {
    let mut left: Vec<_> = found.to_vec();
    for group in expected {
        let fits = |candidate: &[&Reply; N], captures: &mut Captures| {
            group.iter().zip(candidate).all(|(item, reply)| item.accepts(reply, captures))
        };
        let Some(place) = left.iter().position(|candidate| fits(candidate, captures)) else {
            return false;
        };
        left.swap_remove(place);
    }
    open || left.is_empty()
}

/// Matches `text` against a pattern in which `*` stands for any bytes and nothing else is special.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => {
            (0..=text.len()).any(|skip| like(rest, text.get(skip..).unwrap_or_default()))
        }
        Some((byte, rest)) => {
            text.split_first().is_some_and(|(first, text)| first == byte && like(rest, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.into())
    }

    #[test]
    fn free_order_needs_each_element_once() {
        let expected = |order| Expected::List {
            shape: Shape::Array,
            order,
            items: vec![Expected::Exact(bulk("a")), Expected::Exact(bulk("b"))],
            open: false,
        };
        let reply = |words: &[&str]| Reply::Array(words.iter().map(|word| bulk(word)).collect());
        let mut captures = Captures::new();
        assert!(expected(Order::Free).accepts(&reply(&["b", "a"]), &mut captures));
        assert!(!expected(Order::Kept).accepts(&reply(&["b", "a"]), &mut captures));
        assert!(!expected(Order::FreePairs).accepts(&reply(&["b", "a"]), &mut captures));
        assert!(!expected(Order::Free).accepts(&reply(&["a", "a"]), &mut captures));
        assert!(!expected(Order::Free).accepts(&reply(&["a", "b", "b"]), &mut captures));
    }

    #[test]
    fn a_like_pattern_knows_only_the_star() {
        assert!(like(b"*b*", b"abc") && like(b"a*", b"a") && like(b"[a]", b"[a]"));
        assert!(!like(b"a*d", b"abc") && !like(b"", b"a"));
    }
}
