//! The binary's handler: it lets in whom its authenticator knows, and tells the webhook.

use super::setup::{self, WebhookEvent};
use heartwire::authenticators::Authenticator;
use heartwire::webhook::{Event, Webhook, WebhookCounts, WebhookError};
use heartwire::{
    Anonymous, Connection, Handler, Identity, Message, OwnMetric, PresenceChange, Refusal, Request, Verdict,
};
use serde_json::value::RawValue;
use std::mem;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

/// The handler of `heartwire serve`. Clones share everything.
#[derive(Clone)]
pub(super) struct Gate(Arc<Shared>);

struct Shared {
    /// `None` lets everybody in.
    authenticator: RwLock<Option<Arc<dyn Authenticator>>>,
    reporter: RwLock<Option<Reporter>>,
}

/// The webhook, and which events it is told.
pub(super) struct Reporter {
    webhook: Webhook,
    events: Vec<WebhookEvent>,
}

impl Gate {
    /// A gate that reports nothing yet.
    pub(super) fn new(authenticator: Option<Arc<dyn Authenticator>>) -> Self {
        Self(Arc::new(Shared { authenticator: RwLock::new(authenticator), reporter: RwLock::default() }))
    }

    /// Lets another authenticator judge those who come from now on; returns the one that did so far.
    pub(super) fn replace(&self, authenticator: Option<Arc<dyn Authenticator>>) -> Option<Arc<dyn Authenticator>> {
        let mut slot = self.0.authenticator.write().unwrap_or_else(PoisonError::into_inner);
        mem::replace(&mut slot, authenticator)
    }

    /// Where the reporter goes. While this is held, whoever has something to report waits.
    pub(super) fn reporter(&self) -> RwLockWriteGuard<'_, Option<Reporter>> {
        self.0.reporter.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is not held while the authenticator works, which may take its time.
    fn authenticator(&self) -> Option<Arc<dyn Authenticator>> {
        self.0.authenticator.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reports(&self) -> RwLockReadGuard<'_, Option<Reporter>> {
        self.0.reporter.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Gate {
    fn authenticates(&self) -> bool {
        self.authenticator().is_some()
    }

    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        match self.authenticator() {
            Some(authenticator) => authenticator.authenticate(request),
            None => Anonymous.authenticate(request),
        }
    }

    fn renew(&self, connection: &Connection, token: &str) -> Result<Identity, Refusal> {
        match self.authenticator() {
            Some(authenticator) => authenticator.renew(connection.info(), token),
            None => Anonymous.renew(connection, token),
        }
    }

    fn message(&self, connection: &Connection, message: &mut Message<'_>) -> Verdict {
        if let Some(reporter) = &*self.reports() {
            reporter.message(connection, message);
        }
        Verdict::Deliver
    }

    fn presence(&self, change: &PresenceChange) {
        if let Some(reporter) = &*self.reports() {
            reporter.presence(change);
        }
    }

    fn metrics(&self) -> Vec<OwnMetric> {
        self.reports().as_ref().map(Reporter::metrics).unwrap_or_default()
    }
}

impl Reporter {
    /// Starts the webhook, whose first event is that the server has started.
    pub(super) fn start(setup: &setup::Webhook) -> Result<Self, WebhookError> {
        let webhook = Webhook::start(setup.options())?;
        webhook.send(Event::Started);
        Ok(Self { webhook, events: setup.events.clone() })
    }

    /// Reports that the server stops, and waits this long for all reports to arrive.
    pub(super) fn stop(self, within: Duration) {
        self.webhook.send(Event::Stopping);
        self.webhook.stop(within);
    }

    fn metrics(&self) -> Vec<OwnMetric> {
        let WebhookCounts { waiting, delivered, dropped, failed_attempts, .. } = self.webhook.counts();
        vec![
            OwnMetric::gauge("heartwire_webhook_events_waiting", "Events that wait for the back end", waiting as f64),
            OwnMetric::counter("heartwire_webhook_events_delivered", "Events that the back end took", delivered),
            OwnMetric::counter("heartwire_webhook_events_dropped", "Events that were dropped", dropped),
            OwnMetric::counter(
                "heartwire_webhook_attempts_failed",
                "Requests to the back end that failed",
                failed_attempts,
            ),
        ]
    }

    fn presence(&self, change: &PresenceChange) {
        if self.events.contains(&WebhookEvent::Presence) {
            let PresenceChange { account, online, at, .. } = change.clone();
            self.webhook.send(Event::Presence { account, online, at });
        }
    }

    fn message(&self, connection: &Connection, message: &Message<'_>) {
        if self.events.contains(&WebhookEvent::Message) {
            // A message's content was checked to be JSON before anybody got to see it.
            let Ok(content) = RawValue::from_string(message.content().to_owned()) else { return };
            self.webhook.send(Event::Message {
                id: message.id().to_owned(),
                from: connection.account().clone(),
                to: message.to.clone(),
                at: SystemTime::now(),
                content,
            });
        }
    }
}
