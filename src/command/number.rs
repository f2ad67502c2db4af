//! Decimal fractions as Redis reads, adds and prints them: `INCRBYFLOAT`, `HINCRBYFLOAT`.
//!
//! Owns the text form of a float. Redis computes in the C compiler's `long double`, whose width differs between
//! machines; here a number of up to 28 digits is exact decimal and a wider one an IEEE double. Invariant: the same texts give
//! the same text on every machine.

use bytes::Bytes;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// The longest text that is read as a float. Source: Redis 7.2, `MAX_LONG_DOUBLE_CHARS`.
const TEXT_MAX: usize = 5 * 1024;

/// How many digits behind the point are printed. Source: Redis 7.2, `%.17Lf`.
const FRACTION_DIGITS: u32 = 17;

/// A number with a fraction, never NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Float(Form);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// Exact.
    Decimal(Decimal),
    /// Too large or too long for a decimal, or infinite.
    Double(f64),
}

impl Float {
    /// Reads a float: decimal digits with an optional sign, point and exponent, or `inf`. `None` for anything else, for
    /// NaN, and for what leaves the range of a double. (Redis also takes hexadecimal floats and, where `long double` is
    /// wider, exponents up to 4932.)
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let double: f64 = text.parse().ok()?;
        if double.is_nan() {
            return None;
        }
        if double.is_infinite() {
            let is_word = !text.bytes().any(|byte| byte.is_ascii_digit());
            return is_word.then_some(Self(Form::Double(double)));
        }
        let decimal = if text.contains(['e', 'E']) {
            Decimal::from_scientific(text).ok()
        } else {
            text.parse().ok()
        };
        // A tiny number would be zero as a decimal.
        let fits = decimal.filter(|decimal| decimal.is_zero() == (double == 0.0));
        Some(Self(fits.map_or(Form::Double(double), Form::Decimal)))
    }

    /// Tells whether it is one of the two infinities.
    #[must_use]
    pub const fn is_infinite(self) -> bool {
        matches!(self.0, Form::Double(double) if double.is_infinite())
    }

    /// Adds two numbers; `None` when the sum is not finite.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if let (Form::Decimal(one), Form::Decimal(two)) = (self.0, other.0)
            && let Some(sum) = one.checked_add(two)
        {
            return Some(Self(Form::Decimal(sum)));
        }
        let sum = self.as_f64() + other.as_f64();
        sum.is_finite().then_some(Self(Form::Double(sum)))
    }

    /// Prints it without an exponent, with at most 17 digits behind the point and no zeros at the end.
    #[must_use]
    pub fn to_text(self) -> Bytes {
        let digits = FRACTION_DIGITS as usize;
        let text = match self.0 {
            Form::Decimal(decimal) => decimal.round_dp(FRACTION_DIGITS).to_string(),
            Form::Double(double) => format!("{double:.digits$}"),
        };
        let text = match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.'),
            false => &text,
        };
        Bytes::copy_from_slice(if text == "-0" { b"0" } else { text.as_bytes() })
    }

    fn as_f64(self) -> f64 {
        match self.0 {
            Form::Decimal(decimal) => decimal.to_f64().unwrap_or(f64::INFINITY),
            Form::Double(double) => double,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(one: &str, two: &str) -> String {
        let (one, two) = (Float::parse(one.as_bytes()), Float::parse(two.as_bytes()));
        let sum = one.unwrap().checked_add(two.unwrap());
        sum.map_or_else(|| "not finite".to_owned(), |sum| format!("{:?}", sum.to_text()))
            .trim_matches(['b', '"'])
            .to_owned()
    }

    #[test]
    fn sums_are_printed_as_in_redis() {
        for (one, two, expected) in [
            ("0.1", "0.2", "0.3"),
            ("5", "1.5", "6.5"),
            ("6.5", "1e2", "106.5"),
            ("106.5", "-1.5e1", "91.5"),
            ("10", "+1", "11"),
            ("11", ".5", "11.5"),
            ("11.5", "5.", "16.5"),
            ("16.5", "-17", "-0.5"),
            ("-0.5", "1e-17", "-0.49999999999999999"),
            ("-0.49999999999999999", "1e-18", "-0.49999999999999999"),
            ("0", "1e20", "100000000000000000000"),
            ("3.0e3", "200", "3200"),
            ("0", "-0", "0"),
            ("-1", "1", "0"),
            ("0", "1e-300", "0"),
            ("0", "-1e-300", "0"),
            ("100", "0", "100"),
            ("0", "1.234567890123456789", "1.23456789012345679"),
            ("1e308", "1e308", "not finite"),
            ("1", "inf", "not finite"),
            ("-inf", "1", "not finite"),
            ("inf", "-inf", "not finite"),
        ] {
            assert_eq!(sum(one, two), expected, "{one} + {two}");
        }
        assert_eq!(sum("1e300", "0").len(), 301, "digits, never an exponent");
    }

    #[test]
    fn what_is_no_float_is_refused() {
        let long = "1".repeat(TEXT_MAX + 1);
        for text in
            ["", " 1", "1 ", "abc", "nan", "-nan", "1e", "1e400", "0x10", "1_000", "1.2.3", &long]
        {
            assert_eq!(Float::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Float::parse(b"\xff"), None);
        assert!(Float::parse(b"Infinity").unwrap().is_infinite());
    }

    proptest! {
        #[test]
        fn what_is_printed_can_be_read_back(
            one in "-?[0-9]{1,40}(\\.[0-9]{0,40})?(e-?[0-9]{1,3})?",
            two in "-?[0-9]{1,20}(\\.[0-9]{0,20})?",
        ) {
            if let (Some(one), Some(two)) = (Float::parse(one.as_bytes()), Float::parse(two.as_bytes()))
                && let Some(sum) = one.checked_add(two)
            {
                let text = sum.to_text();
                let again = Float::parse(&text).map(Float::to_text);
                prop_assert_eq!(again, Some(text));
            }
        }
    }
}
