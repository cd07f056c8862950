//! When an account counts as gone, and who is told.

use super::defaults;
use crate::cli::Failure;
use crate::cli::setup::{WebhookEvent, WebhookSetup};
use crate::cli::values::{Time, Words, one_of, word_for};
use clap::Args;
use heartwire::Config;
use std::path::PathBuf;

const EVENTS: Words<WebhookEvent> = &[("presence", WebhookEvent::Presence), ("message", WebhookEvent::Message)];

#[derive(Args)]
#[command(next_help_heading = "Presence and the webhook")]
pub(super) struct Presence {
    /// How long an account without a connection still counts as online
    #[arg(long, env = "HEARTWIRE_OFFLINE_GRACE", value_name = "TIME", hide_short_help = true)]
    #[arg(default_value_t = Time(defaults().offline_grace))]
    offline_grace: Time,

    /// Where events are posted to, signed
    #[arg(long, env = "HEARTWIRE_WEBHOOK", value_name = "URL", hide_short_help = true)]
    webhook: Option<String>,

    /// Which events are posted; repeatable
    #[arg(long, env = "HEARTWIRE_WEBHOOK_EVENTS", value_name = "presence|message", hide_short_help = true)]
    #[arg(value_delimiter = ',', value_parser = one_of(EVENTS))]
    #[arg(default_value = word_for(EVENTS, &WebhookEvent::Presence))]
    webhook_events: Vec<WebhookEvent>,

    /// The file of the secret with which they are signed
    #[arg(long, env = "HEARTWIRE_WEBHOOK_SECRET_FILE", value_name = "FILE", hide_short_help = true)]
    webhook_secret_file: Option<PathBuf>,
}

impl Presence {
    pub(super) fn apply(self, config: &mut Config) -> Result<Option<WebhookSetup>, Failure> {
        config.offline_grace = self.offline_grace.0;
        match (self.webhook, self.webhook_secret_file) {
            (Some(url), Some(secret_file)) => Ok(Some(WebhookSetup { url, secret_file, events: self.webhook_events })),
            (Some(_), None) => Err(Failure::Usage("webhook needs a webhook-secret-file".into())),
            (None, _) => Ok(None),
        }
    }
}
