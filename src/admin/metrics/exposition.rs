//! Families of metrics as text: `OpenMetrics` 1.0, which `prometheus-client` knows how to write.

use crate::metrics::Snapshot;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    CounterValueEncoder, DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, GaugeValueEncoder, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::borrow::Cow;
use std::fmt;

/// The labels of one sample.
pub(super) type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// One metric, with all its samples as they are now.
#[derive(Clone, Debug)]
pub(super) struct Family {
    name: Cow<'static, str>,
    help: String,
    values: Values,
}

/// The samples of a family.
#[derive(Clone, Debug)]
pub(super) enum Values {
    Gauge(Number),
    Counter(Number),
    /// One for each set of labels.
    Counters(Vec<(Labels, u64)>),
    Histogram(Snapshot),
    /// Always 1: what is to be known stands in the labels.
    Info(Labels),
}

/// A number, written with a fraction only where it may have one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl Family {
    /// A family; the name is without what the samples of its kind append.
    pub(super) fn new(name: impl Into<Cow<'static, str>>, help: impl Into<String>, values: Values) -> Self {
        Self { name: name.into(), help: help.into(), values }
    }

    pub(super) fn gauge(name: &'static str, help: &str, value: impl Into<Number>) -> Self {
        Self::new(name, help, Values::Gauge(value.into()))
    }

    pub(super) fn info(name: &'static str, help: &str, label: &'static str, value: &'static str) -> Self {
        Self::new(name, help, Values::Info(vec![(label, value.into())]))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match &self.values {
            Values::Gauge(_) => MetricType::Gauge,
            Values::Counter(_) | Values::Counters(_) => MetricType::Counter,
            Values::Histogram(_) => MetricType::Histogram,
            Values::Info(_) => MetricType::Info,
        };
        let mut encoder = encoder.encode_descriptor(&self.name, &escaped(&self.help), None, kind)?;
        match &self.values {
            Values::Gauge(value) => encoder.encode_gauge(value),
            Values::Counter(value) => encode_counter(encoder, value),
            Values::Counters(values) => {
                values.iter().try_for_each(|(labels, value)| encode_counter(encoder.encode_family(labels)?, value))
            }
            Values::Histogram(Snapshot { buckets, count, sum }) => {
                encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
            }
            Values::Info(labels) => encoder.encode_info(labels),
        }
    }
}

fn encode_counter(mut encoder: MetricEncoder<'_>, value: &impl EncodeCounterValue) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, f64>(value, None)
}

/// The library escapes the values of labels, but no help.
fn escaped(help: &str) -> String {
    help.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// The page.
pub(super) fn exposition(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(families)));
    let mut text = String::new();
    let written = encode(&mut text, &registry);
    debug_assert!(written.is_ok(), "a string takes everything");
    text
}

#[derive(Debug)]
struct Page(Vec<Family>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

impl EncodeGaugeValue for Number {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => EncodeGaugeValue::encode(value, encoder),
            Self::Real(value) => EncodeGaugeValue::encode(value, encoder),
        }
    }
}

impl EncodeCounterValue for Number {
    fn encode(&self, encoder: &mut CounterValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => EncodeCounterValue::encode(value, encoder),
            Self::Real(value) => EncodeCounterValue::encode(value, encoder),
        }
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_written_as_openmetrics_says() {
        let snapshot = Snapshot { buckets: vec![(0.5, 1), (f64::INFINITY, 2)], count: 3, sum: 4.25 };
        let families = vec![
            Family::gauge("g_bytes", "How \"much\"\\\n# EOF", 7_usize),
            Family::gauge("r", "", 0.5),
            Family::new("c", "C", Values::Counter(9_u64.into())),
            Family::new("l", "L", Values::Counters(vec![(vec![("a", "x\"\\\ny".into()), ("b", "".into())], 1)])),
            Family::new("h_seconds", "H", Values::Histogram(snapshot)),
            Family::info("i", "I", "version", "1.0"),
        ];
        let expected = r#"# HELP g_bytes How \"much\"\\\n# EOF
# TYPE g_bytes gauge
g_bytes 7
# HELP r 
# TYPE r gauge
r 0.5
# HELP c C
# TYPE c counter
c_total 9
# HELP l L
# TYPE l counter
l_total{a="x\"\\\ny",b=""} 1
# HELP h_seconds H
# TYPE h_seconds histogram
h_seconds_sum 4.25
h_seconds_count 3
h_seconds_bucket{le="0.5"} 1
h_seconds_bucket{le="+Inf"} 3
# HELP i I
# TYPE i info
i_info{version="1.0"} 1
# EOF
"#;
        assert_eq!(exposition(families), expected);
    }
}
