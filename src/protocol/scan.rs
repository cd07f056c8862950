//! One pass over the bytes of a JSON text, for what a parser of raw values does not check.
//!
//! What one client may send, every client must be able to parse: nesting is bounded, numbers fit a double, and strings
//! are Unicode. Syntax is the parser's business; on a text that is not JSON the scan may say anything, but it ends.

use std::fmt;

/// How deep arrays and objects may nest; the outermost counts as one.
pub(crate) const MAX_DEPTH: usize = 64;
/// How long a number may be. Without an exponent, every number of this length is finite as a double.
pub(crate) const MAX_NUMBER_BYTES: usize = 308;

/// What a recipient might not be able to parse, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScanError {
    fault: Fault,
    at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    TooDeep,
    LongNumber,
    HugeNumber,
    LoneSurrogate,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::TooDeep => write!(f, "nested deeper than {MAX_DEPTH}"),
            Fault::LongNumber => write!(f, "a number longer than {MAX_NUMBER_BYTES} bytes"),
            Fault::HugeNumber => f.write_str("a number too large for a double"),
            Fault::LoneSurrogate => f.write_str("a surrogate escape without its other half"),
        }?;
        write!(f, " at byte {}", self.at)
    }
}

impl std::error::Error for ScanError {}

/// Checks nesting, numbers and surrogate escapes, in keys as in values. Linear in the text; allocates nothing.
///
/// # Errors
/// The first offence. Bytes count from 0.
pub(crate) fn scan(text: &str) -> Result<(), ScanError> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at = match byte {
            b'"' => string_end(bytes, at + 1)?,
            b'-' | b'0'..=b'9' => number_end(text, at)?,
            b'{' | b'[' if depth == MAX_DEPTH => return Err(ScanError { fault: Fault::TooDeep, at }),
            b'{' | b'[' => {
                depth += 1;
                at + 1
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at + 1
            }
            _ => at + 1,
        };
    }
    Ok(())
}

/// The position behind the string whose first byte is at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> Result<usize, ScanError> {
    loop {
        at = skip_plain(bytes, at);
        match bytes.get(at) {
            Some(b'\\') => at = escape_end(bytes, at)?,
            Some(_) => return Ok(at + 1),
            None => return Ok(at),
        }
    }
}

/// The position of the next quote or backslash. Whole blocks are compared without a branch, for the vectoriser.
fn skip_plain(bytes: &[u8], mut at: usize) -> usize {
    let special = |byte: &u8| (*byte == b'"') | (*byte == b'\\');
    while let Some(block) = bytes.get(at..at + 16)
        && !block.iter().fold(false, |found, byte| found | special(byte))
    {
        at += block.len();
    }
    at + bytes[at..].iter().position(special).unwrap_or(bytes.len() - at)
}

/// The position behind the escape at `at`, or behind both when it is the first of a surrogate pair.
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, ScanError> {
    match code_unit(bytes, at) {
        // Every other escape is two bytes; a backslash may also be the text's last byte.
        None => Ok((at + 2).min(bytes.len())),
        Some(0xD800..=0xDBFF) if matches!(code_unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => Ok(at + 12),
        Some(0xD800..=0xDFFF) => Err(ScanError { fault: Fault::LoneSurrogate, at }),
        Some(_) => Ok(at + 6),
    }
}

/// The UTF-16 code unit that is written `\uXXXX` at `at`.
fn code_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

/// The position behind the number that begins at `at`.
fn number_end(text: &str, at: usize) -> Result<usize, ScanError> {
    let rest = &text.as_bytes()[at..];
    let part_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let length = rest.iter().position(|byte| !part_of_number(byte)).unwrap_or(rest.len());
    let number = &text[at..at + length];
    if length > MAX_NUMBER_BYTES {
        return Err(ScanError { fault: Fault::LongNumber, at });
    }
    if number.contains(['e', 'E']) && number.parse().is_ok_and(f64::is_infinite) {
        return Err(ScanError { fault: Fault::HugeNumber, at });
    }
    Ok(at + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(text: &str) -> String {
        scan(text).map_or_else(|error| error.to_string(), |()| "fine".into())
    }

    #[test]
    fn nesting_is_counted_from_the_top() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(said(&nested(64)), "fine");
        assert_eq!(said(&nested(65)), "nested deeper than 64 at byte 64");
        assert_eq!(said(&format!("[{}1]", "{},[],".repeat(1_000))), "fine");
        assert_eq!(said(&format!("[\"{}\"]", "[{\\\"".repeat(1_000))), "fine", "brackets in strings do not nest");
    }

    #[test]
    fn numbers_are_short_and_finite() {
        let nines = "9".repeat(308);
        assert_eq!(said(&nines), "fine");
        assert!(nines.parse::<f64>().unwrap().is_finite(), "which is why only exponents are parsed");
        assert_eq!(said(&format!("[-{nines}]")), "a number longer than 308 bytes at byte 1");
        assert_eq!(said("[1.7976931348623157e308,-1E-999,0e9999]"), "fine");
        assert_eq!(said("[1e309]"), "a number too large for a double at byte 1");
        assert_eq!(said("[0,-1.5E+400]"), "a number too large for a double at byte 3");
        assert_eq!(said(r#"["1e309"]"#), "fine");
    }

    #[test]
    fn surrogate_escapes_come_in_pairs() {
        assert_eq!(said(r#"["\ud83d\ude00","\uD7FF\uE000","\\ud800"]"#), "fine");
        for (text, at) in [
            (r#"["\ud800"]"#, 2),
            (r#"["\uDC00"]"#, 2),
            (r#"["x\ud800\ud800\udc00"]"#, 3),
            (r#"["\ude00\ud83d"]"#, 2),
            (r#"["\ud83dx\ude00"]"#, 2),
            (r#"["\ud83d\\ude00"]"#, 2),
            (r#"{"\udfff":1}"#, 2),
            (r#"["0123456789abcdef0123456789\ud800"]"#, 28),
        ] {
            assert_eq!(said(text), format!("a surrogate escape without its other half at byte {at}"), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_left_to_the_parser() {
        for text in ["", "\"", "\"\\", "\"\\u", "\"\\u00", "\"\\uzzzz\"", "]]]}", "1e5e5", "-", "\"ü\\", "ü"] {
            assert_eq!(said(text), "fine", "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_an_end(text in ".*", nearly in r#"([{}\[\]",:]|\\|\\u[dD][89cCfF]00|-?[0-9]{1,3}|[.eE]){0,60}"#) {
            let _ = (scan(&text), scan(&nearly));
        }

        #[test]
        fn a_string_ends_where_it_was_closed(plain in r#"[^"\\]{0,70}"#) {
            prop_assert_eq!(string_end(format!("\"{plain}\\\"{plain}\"1").as_bytes(), 1), Ok(2 * plain.len() + 4));
        }
    }
}
