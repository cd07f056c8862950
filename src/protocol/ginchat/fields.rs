//! The fields of the dialect, found whatever the case of their keys. What they mean is left to the reader.

use crate::protocol::scan::MAX_NUMBER_BYTES;
use crate::protocol::text::Text;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The fields of one object; those that are null count as absent, all others of the object are ignored.
///
/// Reading them fails when one is given twice, in whatever case: peers would not agree on which of them holds.
#[derive(Default)]
pub(super) struct Fields<'a> {
    /// Who the client says it is, which is nobody's business but the authentication's.
    user_id: Option<Field<'a>>,
    pub(super) target_id: Option<Field<'a>>,
    pub(super) kind: Option<Field<'a>>,
    pub(super) media: Option<Field<'a>>,
    pub(super) content: Option<Field<'a>>,
    pub(super) create_time: Option<Field<'a>>,
    url: Option<Field<'a>>,
    pic: Option<Field<'a>>,
    desc: Option<Field<'a>>,
    amount: Option<Field<'a>>,
}

impl<'a> Fields<'a> {
    /// Those that mean nothing to a server and go through it as they are.
    pub(super) fn passed_through(&self) -> impl Iterator<Item = &Field<'a>> {
        [&self.url, &self.pic, &self.desc, &self.amount].into_iter().flatten()
    }

    fn slots(&mut self) -> [(&'static str, &mut Option<Field<'a>>); 10] {
        [
            ("userId", &mut self.user_id),
            ("TargetId", &mut self.target_id),
            ("Type", &mut self.kind),
            ("Media", &mut self.media),
            ("Content", &mut self.content),
            ("CreateTime", &mut self.create_time),
            ("Url", &mut self.url),
            ("Pic", &mut self.pic),
            ("Desc", &mut self.desc),
            ("Amount", &mut self.amount),
        ]
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut object: M) -> Result<Fields<'de>, M::Error> {
        let mut fields = Fields::default();
        while let Some(Text(key)) = object.next_key()? {
            match fields.slots().into_iter().find(|(name, _)| name.eq_ignore_ascii_case(&key)) {
                None => _ = object.next_value::<IgnoredAny>()?,
                Some((name, Some(_))) => return Err(M::Error::duplicate_field(name)),
                Some((_, slot)) => *slot = Some(Field { value: object.next_value()?, key }),
            }
        }
        for (_, slot) in fields.slots() {
            slot.take_if(|field| field.value.get() == "null");
        }
        Ok(fields)
    }
}

/// A field as it was written, but for escapes in its key. Its `Display` is the member of a JSON object.
pub(super) struct Field<'a> {
    /// One of the names above in some case: ASCII letters, which JSON never escapes.
    pub(super) key: Cow<'a, str>,
    value: &'a RawValue,
}

impl<'a> Field<'a> {
    /// The JSON of the value.
    pub(super) fn json(&self) -> &'a str {
        self.value.get()
    }

    /// The value as JSON of a number, if it is one or a string that holds one and nothing else.
    pub(super) fn number(&self) -> Option<&'a str> {
        let json = self.json();
        let text = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(json);
        // The scan looked into no string, and the parser would let white space pass.
        let bare = text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
            && text.ends_with(|last: char| last.is_ascii_digit())
            && text.len() <= MAX_NUMBER_BYTES;
        (bare && serde_json::from_str::<f64>(text).is_ok()).then_some(text)
    }

    /// The value as a whole number, be it written as a number or as a string.
    pub(super) fn integer(&self) -> Option<i64> {
        self.number()?.parse().ok()
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\":{}", self.key, self.value)
    }
}
