//! Walks a collection page by page: `SSCAN`, `HSCAN`.
//!
//! Owns what their cursor means: how many places, counted from the front, are still to be shown. A removal moves the last
//! element to a place before it, so that a walk from the back to the front never misses an element that stays.
//! Invariant: an element that is there from the first page to the last is shown at least once.

use bytes::Bytes;

use crate::command::Reply;
use crate::command::glob::Glob;
use crate::command::scan::Page;

/// The largest collection that comes in one page whatever the count. Source: Redis 7.2, `hash-max-listpack-entries`,
/// `set-max-listpack-entries`.
pub(crate) const ONE_PAGE_MAX: usize = 128;

/// Gives one page of `len` elements. `element` gives what is matched against the pattern, and what is shown.
pub(crate) fn walk<const N: usize>(
    page: &Page,
    len: usize,
    is_one_page: bool,
    element: impl Fn(usize) -> Option<[Bytes; N]>,
) -> Reply {
    let (from, to) = if is_one_page {
        (0, len)
    } else {
        let left = usize::try_from(page.cursor).ok().filter(|left| *left > 0);
        let to = left.map_or(len, |left| left.min(len));
        (to.saturating_sub(usize::try_from(page.count).unwrap_or(usize::MAX)), to)
    };
    let places: Box<dyn Iterator<Item = usize>> =
        if is_one_page { Box::new(from..to) } else { Box::new((from..to).rev()) };
    let glob = page.pattern.as_deref().map(Glob::of_names);
    let shown = places.filter_map(element).filter(|shown| {
        let name = shown.first().map_or(&b""[..], |name| &name[..]);
        glob.as_ref().is_none_or(|glob| glob.matches(name))
    });
    Reply::Array(vec![
        Reply::Bulk(Bytes::from(from.to_string())),
        Reply::Array(shown.flatten().map(Reply::Bulk).collect()),
    ])
}

/// The answer for a key that does not exist.
pub(crate) fn nothing() -> Reply {
    Reply::Array(vec![Reply::Bulk(Bytes::from_static(b"0")), Reply::Array(Vec::new())])
}
