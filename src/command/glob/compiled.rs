//! A pattern taken apart, for matches that would take too long otherwise.
//!
//! Owns the search by places: 64 places of the text at which a piece of the pattern may begin are held against one byte of
//! the pattern in one step. Does not own what the signs of a pattern mean. Invariant: memory is bounded by the pattern and a
//! constant, whatever the text.

use std::ops::Range;

use super::{Element, STARS_MAX, class, next};

/// Any byte.
const ANY: u32 = 256;
/// From here on: a class, by its place in the list of classes.
const CLASSES: u32 = 257;
/// How many places of the text one block of the search holds, and how many bytes of the pattern are held against a block
/// before the bytes of the text are sorted anew.
const BLOCK: usize = 16 * 1024;
const WORD: usize = 64;
/// How many bytes are compared one by one in search of a piece before it is searched for by places.
const STEPS_MAX: usize = 64 * 1024;

/// A pattern taken apart at its stars.
#[derive(Debug)]
pub(super) struct Compiled {
    /// What stands before, between and behind the stars: bytes, [`ANY`] and classes.
    pub(super) pieces: Vec<Vec<u32>>,
    classes: Vec<Class>,
    /// How many bytes a text has at least.
    least: usize,
    /// Whether it matches nothing.
    is_never: bool,
}

/// The ranges of the bytes in a class, by their ranks.
type Class = Vec<Range<u16>>;

/// Where a byte stands among all bytes: by its signed value.
const fn rank(byte: u8) -> u16 {
    (byte ^ 0x80) as u16
}

impl Compiled {
    pub(super) fn new(pattern: &[u8]) -> Self {
        let mut compiled =
            Self { pieces: Vec::new(), classes: Vec::new(), least: 0, is_never: false };
        let (mut piece, mut rest) = (Vec::new(), pattern);
        while let Some((element, behind)) = next(rest) {
            rest = behind;
            match element {
                Element::Stars => compiled.pieces.push(std::mem::take(&mut piece)),
                Element::Byte(byte) => piece.push(u32::from(byte)),
                Element::Any => piece.push(ANY),
                Element::Class(ranges) => piece.push(compiled.class(ranges)),
            }
        }
        // The last star counts only when something follows it.
        let stars = compiled.pieces.len().saturating_sub(usize::from(piece.is_empty()));
        compiled.is_never |= stars > STARS_MAX;
        compiled.pieces.push(piece);
        compiled.least = compiled.pieces.iter().map(Vec::len).fold(0, usize::saturating_add);
        compiled
    }

    /// Gives what stands for a class in a piece.
    fn class(&mut self, ranges: &[u8]) -> u32 {
        let mut is_in = [false; 256];
        let (is_negated, _) = class(ranges, |low, high| {
            let ranks = usize::from(rank(low))..=usize::from(rank(high));
            is_in.get_mut(ranks).unwrap_or_default().fill(true);
        });
        let mut class: Class = Vec::new();
        for (rank, is_in) in (0..256).zip(is_in) {
            if is_in != is_negated {
                match class.last_mut().filter(|range| range.end == rank) {
                    Some(range) => range.end = rank + 1,
                    None => class.push(rank..rank + 1),
                }
            }
        }
        match class.first() {
            None => self.is_never = true,
            Some(range) if range.len() == 256 => return ANY,
            Some(_) => {}
        }
        self.classes.push(class);
        let number = u32::try_from(self.classes.len() - 1).unwrap_or(u32::MAX);
        CLASSES.saturating_add(number)
    }

    pub(super) fn matches(&self, text: &[u8]) -> bool {
        if self.is_never || text.len() < self.least {
            return false;
        }
        let Some((first, others)) = self.pieces.split_first() else { return false };
        let Some((last, middle)) = others.split_last() else {
            return text.len() == first.len() && self.fits(first, text);
        };
        // The text is long enough for all pieces, so these do not overlap.
        let end = text.len() - last.len();
        let (Some(behind), Some(mut text)) = (text.get(end..), text.get(..end)) else {
            return false;
        };
        if !self.fits(first, text) || !self.fits(last, behind) {
            return false;
        }
        text = text.get(first.len()..).unwrap_or_default();
        for piece in middle {
            let Some(at) = self.find(piece, text) else { return false };
            text = text.get(at + piece.len()..).unwrap_or_default();
        }
        true
    }

    /// Tells whether a piece matches the beginning of a text.
    fn fits(&self, piece: &[u32], text: &[u8]) -> bool {
        piece.len() <= text.len() && self.fitting(piece, text) == piece.len()
    }

    /// Gives how many bytes match the beginning of a piece.
    fn fitting(&self, piece: &[u32], text: &[u8]) -> usize {
        let fits = |(element, byte): (&u32, &u8)| {
            *element == ANY || self.ranges(*element).any(|range| range.contains(&rank(*byte)))
        };
        piece.iter().zip(text).take_while(|pair| fits(*pair)).count()
    }

    /// The ranges of a byte or class.
    fn ranges(&self, element: u32) -> impl Iterator<Item = Range<u16>> {
        let byte = u8::try_from(element).ok().map(|byte| rank(byte)..rank(byte) + 1);
        let number = element.checked_sub(CLASSES).and_then(|number| usize::try_from(number).ok());
        let class = number.and_then(|number| self.classes.get(number));
        byte.into_iter().chain(class.into_iter().flatten().cloned())
    }

    /// Finds the first place of a text where a piece matches.
    pub(super) fn find(&self, piece: &[u32], text: &[u8]) -> Option<usize> {
        let last = text.len().checked_sub(piece.len())?;
        let mut steps = 0_usize;
        for at in 0..=last {
            if steps > STEPS_MAX {
                return self.find_by_places(piece, text.get(at..)?).map(|found| at + found);
            }
            let fitting = self.fitting(piece, text.get(at..)?);
            if fitting == piece.len() {
                return Some(at);
            }
            steps += fitting + 1;
        }
        None
    }

    /// The same, many places at once. The piece is not longer than the text.
    pub(super) fn find_by_places(&self, piece: &[u32], text: &[u8]) -> Option<usize> {
        let count = text.len().checked_sub(piece.len())? + 1;
        let mut bytes = Sorted::default();
        for block in (0..count).step_by(BLOCK) {
            let mut places = Places::new(BLOCK.min(count - block));
            for (number, part) in piece.chunks(BLOCK).enumerate() {
                if places.is_empty() {
                    break;
                }
                let from = block + number * BLOCK;
                bytes.sort(text.get(from..text.len().min(from + 2 * BLOCK))?);
                for (shift, element) in part.iter().enumerate().filter(|(_, one)| **one != ANY) {
                    if !places.keep(&bytes, shift, self.ranges(*element)) {
                        break;
                    }
                }
            }
            if let Some(place) = places.first() {
                return Some(block + place);
            }
        }
        None
    }
}

/// The places of a part of a text where each byte stands, a bit for each.
#[derive(Default)]
struct Sorted {
    /// A row for each rank and one more: the places of the bytes of lower ranks.
    rows: Vec<u64>,
    /// How many words one row has.
    width: usize,
}

impl Sorted {
    fn sort(&mut self, text: &[u8]) {
        // One word more, for what is shifted in.
        self.width = text.len().div_ceil(WORD) + 1;
        self.rows.clear();
        self.rows.resize(self.width * 257, 0);
        for (at, byte) in text.iter().enumerate() {
            let word = (usize::from(rank(*byte)) + 1) * self.width + at / WORD;
            if let Some(word) = self.rows.get_mut(word) {
                *word |= 1 << (at % WORD);
            }
        }
        for at in self.width..self.rows.len() {
            let lower = self.rows.get(at - self.width).copied().unwrap_or(0);
            if let Some(word) = self.rows.get_mut(at) {
                *word |= lower;
            }
        }
    }

    /// The row of the bytes below that rank, from that word on.
    fn row(&self, rank: u16, from: usize) -> &[u64] {
        let row = usize::from(rank) * self.width;
        self.rows.get(row + from..row + self.width).unwrap_or_default()
    }
}

/// The places where a piece may still begin.
struct Places {
    words: Vec<u64>,
    /// Those of them where one byte of the piece matches.
    matching: Vec<u64>,
}

impl Places {
    fn new(count: usize) -> Self {
        let mut words = vec![u64::MAX; count.div_ceil(WORD)];
        if let (Some(last), odd @ 1..) = (words.last_mut(), count % WORD) {
            *last = (1 << odd) - 1;
        }
        Self { matching: vec![0; words.len()], words }
    }

    /// Keeps the places behind which, `shift` bytes later, a byte of these ranges stands; tells whether any is left.
    fn keep(
        &mut self,
        bytes: &Sorted,
        shift: usize,
        ranges: impl Iterator<Item = Range<u16>>,
    ) -> bool {
        let (from, by) = (shift / WORD, shift % WORD);
        self.matching.fill(0);
        for range in ranges {
            let (low, high) = (bytes.row(range.start, from), bytes.row(range.end, from));
            for ((matching, low), high) in
                self.matching.iter_mut().zip(low.windows(2)).zip(high.windows(2))
            {
                let [here, next] =
                    [0, 1].map(|at| high.get(at).unwrap_or(&0) & !low.get(at).unwrap_or(&0));
                *matching |= (here >> by) | (next << 1 << (WORD - 1 - by));
            }
        }
        let mut any = 0;
        for (word, matching) in self.words.iter_mut().zip(&self.matching) {
            *word &= matching;
            any |= *word;
        }
        any != 0
    }

    fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    fn first(&self) -> Option<usize> {
        let at = self.words.iter().position(|word| *word != 0)?;
        Some(at * WORD + usize::try_from(self.words.get(at)?.trailing_zeros()).ok()?)
    }
}
