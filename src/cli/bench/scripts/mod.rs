//! What the connections of each workload do.

mod beats;
mod churn;
mod fanout;
mod pairs;

pub(super) use beats::{Beats, Idle};
pub(super) use churn::Churn;
pub(super) use fanout::Fanout;
pub(super) use pairs::{OpenLoop, Relay};
