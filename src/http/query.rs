//! Strict decoding of a query: `application/x-www-form-urlencoded` (WHATWG URL §5.1), but what is broken is an error.

use super::HeadError;
use std::collections::BTreeMap;

/// The parameters of a query, without the question mark. A parameter without `=` has an empty value.
///
/// # Errors
/// [`HeadError::Malformed`] for a broken percent escape, what is not UTF-8, and a name given twice. The text names
/// neither names nor values, since a client that forgets the name writes a token in its place.
pub(super) fn decode(query: &str) -> Result<BTreeMap<String, String>, HeadError> {
    let mut parameters = BTreeMap::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if parameters.insert(unescape(name, b' ')?, unescape(value, b' ')?).is_some() {
            return Err(HeadError::malformed("a query parameter is given twice"));
        }
    }
    Ok(parameters)
}

/// One segment of a path, in which a plus sign is one (RFC 3986 §3.3).
///
/// # Errors
/// [`HeadError::Malformed`] for a broken percent escape and what is not UTF-8.
#[cfg(feature = "admin")]
pub(super) fn decode_segment(segment: &str) -> Result<String, HeadError> {
    unescape(segment, b'+')
}

/// `plus` is what a plus sign stands for.
fn unescape(text: &str, plus: u8) -> Result<String, HeadError> {
    let mut bytes = text.bytes();
    let mut unescaped = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        unescaped.push(match byte {
            b'+' => plus,
            b'%' => hex_digit(bytes.next())? << 4 | hex_digit(bytes.next())?,
            other => other,
        });
    }
    String::from_utf8(unescaped).map_err(|_| HeadError::malformed("the request target is not UTF-8"))
}

fn hex_digit(byte: Option<u8>) -> Result<u8, HeadError> {
    byte.and_then(|byte| char::from(byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok()).ok_or_else(|| {
        HeadError::malformed("a percent sign in the request target is not followed by two hexadecimal digits")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(query: &str) -> Vec<(String, String)> {
        decode(query).unwrap().into_iter().collect()
    }

    #[test]
    fn escapes_and_plus_signs_are_decoded() {
        let expected = [("a b", "c&d=é+"), ("empty", ""), ("flag", ""), ("x", "1=2")];
        let query = "a+b=c%26d%3D%C3%a9%2B&&empty=&flag&x=1=2&";
        assert_eq!(decoded(query), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(decoded("").is_empty());
    }

    #[test]
    fn what_is_broken_is_refused() {
        for query in ["%", "%4", "%4g=", "a=%%41", "a=%+1", "a=%ff", "a=%C3", "a=%C3%28", "a=%ed%a0%80", "%FE=1"] {
            assert!(decode(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_parameter_given_twice_is_refused_however_it_is_written() {
        for query in ["a=1&a=1", "token=1&%74oken=2", "a&a=", "a+b=1&a%20b=2", "=1&=2"] {
            assert_eq!(decode(query), Err(HeadError::malformed("a query parameter is given twice")), "{query}");
        }
        assert_eq!(decoded("a=1&A=2").len(), 2);
    }

    proptest! {
        #[test]
        fn every_text_survives_being_escaped(name: String, value: String, stray: String) {
            let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let parameters = decode(&format!("{}={}", escape(&name), escape(&value))).unwrap();
            prop_assert!(parameters.get(&name) == Some(&value) || (name.is_empty() && value.is_empty()));
            let _ = decode(&stray);
        }
    }
}
