//! How both dialects read a JSON string.

use serde::Deserialize;
use std::borrow::Cow;

/// A JSON string, borrowed from the frame when it has no escapes (serde borrows no `Cow` inside an `Option`).
#[derive(Default, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);
