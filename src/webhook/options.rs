//! Where events go, and how patiently.

use crate::config::LONGEST;
use crate::outgoing::{origin, parse_url};
use std::fmt;
use std::io;
use std::time::Duration;

/// The shortest secret, in bytes.
const MIN_SECRET_BYTES: usize = 16;

/// How a [`Webhook`](super::Webhook) behaves. Times of more than a year count as a year. The `Debug` text has neither the
/// secret nor more of the URL than its origin.
#[derive(Clone)]
#[non_exhaustive]
pub struct WebhookOptions {
    /// Where to post to: `http` or `https`, without a user or password.
    pub url: String,
    /// What signs each request: at least 16 bytes, best random ones.
    pub secret: Vec<u8>,
    /// How long one attempt may take, from the lookup of the name to the end of the answer. Default 5 s.
    pub timeout: Duration,
    /// The most that is waited after a failure; after each further one in a row up to twice as long. At least half of it
    /// is waited. Default 1 s.
    pub retry_first: Duration,
    /// The most that is waited after any failure, unless the back end asks for more. Default 30 s.
    pub retry_longest: Duration,
    /// How long a batch is tried before it is given up, and its events are dropped. Default 5 minutes.
    pub give_up_after: Duration,
    /// How many events may wait. At least 1; default 10,000.
    pub queue_events: usize,
    /// How many bytes of events may wait, as JSON. Default 16 MiB. An event that is larger is never sent.
    pub queue_bytes: usize,
}

impl WebhookOptions {
    /// The defaults, for this URL and this secret.
    #[must_use]
    pub fn new(url: &str, secret: Vec<u8>) -> Self {
        Self {
            url: url.to_owned(),
            secret,
            timeout: Duration::from_secs(5),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(30),
            give_up_after: Duration::from_secs(300),
            queue_events: 10_000,
            queue_bytes: 16 << 20,
        }
    }

    /// Whether a webhook would start with these options, as far as they say.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn validate(&self) -> Result<(), WebhookError> {
        parse_url(&self.url).map_err(WebhookError::Url)?;
        if self.secret.len() < MIN_SECRET_BYTES {
            return Err(WebhookError::Secret);
        }
        if self.timeout.is_zero() || self.retry_first.is_zero() || self.queue_events == 0 {
            return Err(WebhookError::Zero);
        }
        Ok(())
    }

    /// The same with times that can be added to any instant.
    pub(super) fn checked(mut self) -> Result<Self, WebhookError> {
        self.validate()?;
        for time in [&mut self.timeout, &mut self.retry_first, &mut self.retry_longest, &mut self.give_up_after] {
            *time = LONGEST.min(*time);
        }
        Ok(self)
    }
}

impl fmt::Debug for WebhookOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookOptions")
            .field("origin", &origin(&self.url))
            .field("timeout", &self.timeout)
            .field("retry_first", &self.retry_first)
            .field("retry_longest", &self.retry_longest)
            .field("give_up_after", &self.give_up_after)
            .field("queue_events", &self.queue_events)
            .field("queue_bytes", &self.queue_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a webhook does not start. Its texts repeat neither the URL nor the secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum WebhookError {
    /// The URL cannot be posted to; the text says what is wrong with it.
    Url(&'static str),
    /// The secret is shorter than 16 bytes.
    Secret,
    /// A time or a bound is zero.
    Zero,
    /// The system refused a thread or random numbers.
    Start(io::Error),
}

impl fmt::Display for WebhookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(what) => write!(f, "the webhook's URL: {what}"),
            Self::Secret => write!(f, "the webhook's secret must be at least {MIN_SECRET_BYTES} bytes"),
            Self::Zero => f.write_str("the webhook's timeout, first wait and queue must not be zero"),
            Self::Start(error) => write!(f, "cannot start the webhook: {error}"),
        }
    }
}

impl std::error::Error for WebhookError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> WebhookOptions {
        WebhookOptions::new("https://a.example/hook?key=QUERY", b"SECRET-SECRET-16".to_vec())
    }

    fn refused(change: impl FnOnce(&mut WebhookOptions)) -> String {
        let mut options = options();
        change(&mut options);
        options.checked().unwrap_err().to_string()
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(options().checked().is_ok());
        assert!(refused(|options| options.url = "hook".into()).contains("URL"));
        assert!(refused(|options| options.secret.truncate(15)).contains("secret"));
        let zeros: [fn(&mut WebhookOptions); 3] = [
            |options| options.timeout = Duration::ZERO,
            |options| options.retry_first = Duration::ZERO,
            |options| options.queue_events = 0,
        ];
        for zero in zeros {
            assert!(refused(zero).contains("zero"));
        }
    }

    #[test]
    fn times_are_bounded() {
        let mut options = options();
        (options.timeout, options.give_up_after) = (Duration::MAX, Duration::MAX);
        let options = options.checked().unwrap();
        assert_eq!([options.timeout, options.give_up_after], [LONGEST; 2]);
    }

    #[test]
    fn neither_secret_nor_query_is_shown() {
        let mut with_password = options();
        with_password.url = "https://user:SECRET@a.example/".into();
        for options in [options(), with_password] {
            let shown = format!("{options:?} {:?}", options.clone().checked().err());
            assert!(!shown.contains("SECRET") && !shown.contains("QUERY") && !shown.contains("83, 69"), "{shown}");
        }
    }
}
