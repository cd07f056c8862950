//! What the embedding program counts itself, to stand beside the server's own.

use std::borrow::Cow;

/// A number of the embedding program's own, for `GET /metrics` of the HTTP interface: the answer of
/// [`Handler::metrics`](crate::Handler::metrics).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OwnMetric {
    /// Its name: letters and digits of ASCII and `_`, no digit first, with the unit at its end. A counter's may end in
    /// `_total`, which it gets in any case; no other may end in what a format of metrics appends by itself (`_total`,
    /// `_count`, `_sum`, `_bucket`, `_info`, `_created`).
    pub name: Cow<'static, str>,
    /// What it counts, in which unit: any text.
    pub help: Cow<'static, str>,
    /// How much it is now.
    pub value: OwnValue,
}

/// A number and what it means when it falls.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum OwnValue {
    /// It only grows; less than before means that the program has started anew.
    Counter(u64),
    /// It grows and falls. What is not finite is left out.
    Gauge(f64),
}

/// What belongs to the samples of other kinds of metrics (`OpenMetrics` 1.0, "Suffixes").
#[cfg(feature = "admin")]
const SUFFIXES: [&str; 6] = ["_total", "_count", "_sum", "_bucket", "_info", "_created"];

impl OwnMetric {
    /// A counter.
    pub fn counter(name: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>, value: u64) -> Self {
        Self { name: name.into(), help: help.into(), value: OwnValue::Counter(value) }
    }

    /// A gauge.
    pub fn gauge(name: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>, value: f64) -> Self {
        Self { name: name.into(), help: help.into(), value: OwnValue::Gauge(value) }
    }

    /// The name without what a counter's samples get in any case.
    ///
    /// # Errors
    /// What is wrong with the metric.
    #[cfg(feature = "admin")]
    pub(crate) fn checked_name(&self) -> Result<&str, &'static str> {
        let name = match self.value {
            OwnValue::Counter(_) => self.name.strip_suffix("_total").unwrap_or(&self.name),
            OwnValue::Gauge(value) if value.is_finite() => &self.name,
            OwnValue::Gauge(_) => return Err("its value is not finite"),
        };
        let is_of_words = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if name.is_empty() || !is_of_words || name.as_bytes()[0].is_ascii_digit() {
            return Err("a name has letters and digits of ASCII and _, no digit first");
        }
        match SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            true => Err("its name ends in what other kinds of metrics end in"),
            false => Ok(name),
        }
    }
}

#[cfg(all(test, feature = "admin"))]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_every_reader_takes() {
        let counter = |name: &'static str| OwnMetric::counter(name, "", 1).checked_name().ok().map(str::to_owned);
        let gauge = |name: &'static str| OwnMetric::gauge(name, "", 1.0).checked_name().is_ok();
        assert_eq!(counter("shop_orders").as_deref(), Some("shop_orders"));
        assert_eq!(counter("shop_orders_total").as_deref(), Some("shop_orders"));
        for good in ["a", "_a", "A9_", "shop_queue_bytes"] {
            assert!(gauge(good), "{good}");
        }
        let hostile = ["", "9a", "a-b", "a b", "a:b", "a\nb 1", "a{b=\"c\"}", "ä", "_total", "a_total_total"];
        for bad in hostile {
            assert_eq!(counter(bad), None, "{bad}");
            assert!(!gauge(bad), "{bad}");
        }
        for bad in ["a_total", "a_count", "a_sum", "a_bucket", "a_info", "a_created"] {
            assert!(!gauge(bad), "{bad}");
        }
    }

    #[test]
    fn a_gauge_is_a_number() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(OwnMetric::gauge("a", "", value).checked_name().is_err());
        }
    }
}
