//! Asks the operator's back end who a client is, with what the client sent.

mod answer;
mod cache;
mod places;
mod question;

use self::answer::Answer;
use self::cache::Cache;
use self::places::Places;
use self::question::Question;
use super::{Authenticator, SetUpError, of_connection};
use crate::auth::{Identity, RETRY_AFTER, Refusal};
use crate::config::LONGEST;
use crate::handler::Request;
use crate::metrics::LogGate;
use crate::outgoing::{self, origin, parse_url};
use crate::printable::Printable;
use crate::record::ConnectionInfo;
use crate::threads::lock;
use crate::threads::sync::Mutex;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};
use ureq::Agent;

/// The longest answer that is read.
const MAX_BODY_BYTES: u64 = 64 << 10;

/// Room for the longest head of a client's request, were each of its characters escaped.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// Where the back end is, and how much it is asked. The `Debug` text has no more of the URL than its origin.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackEndOptions {
    /// `http` or `https`, a host, a path; no query, since the client's takes its place.
    pub url: String,
    /// How long a client waits for the answer in all. Default 2 s; more than zero, at most a year.
    pub timeout: Duration,
    /// How many questions may be asked at once; further clients wait their turn, within their timeout. Default 32; at
    /// least 1.
    pub concurrency: usize,
}

impl BackEndOptions {
    /// The defaults, for this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), timeout: Duration::from_secs(2), concurrency: 32 }
    }
}

impl fmt::Debug for BackEndOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackEndOptions")
            .field("origin", &origin(&self.url))
            .field("timeout", &self.timeout)
            .field("concurrency", &self.concurrency)
            .finish()
    }
}

/// Asks a URL who a client is.
///
/// It gets a GET with the query and the headers of the client's request, without those that belong to the client's own
/// connection. `X-Forwarded-For` is the client's address, `X-Original-URI` the path that it asked for, and the token,
/// however it came, is in `Authorization`. A status of 2xx with `{"account":"…"}`, and perhaps `"rooms":["…"]` and
/// `"expires_at":SECONDS_SINCE_1970`, lets the client in; 401 and 403 do not. Anything else is the back end's failure:
/// the client gets a 503, and the log says why, at most once a second.
///
/// An answer with a `max-age` in `Cache-Control` and neither `no-store` nor `no-cache` is given again to whoever sends
/// exactly the same, until it is too old, at most a day, or the authentication expires. 10,000 of them are kept; then those
/// go first that would be too old first.
pub struct BackEnd {
    agent: Agent,
    options: BackEndOptions,
    places: Places,
    cache: Mutex<Cache>,
    failures: LogGate,
}

impl BackEnd {
    /// Prepares to ask; nothing is sent before the first client.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn new(options: BackEndOptions) -> Result<Self, SetUpError> {
        check_url(&options.url)?;
        if options.timeout.is_zero() || options.timeout > LONGEST {
            return Err(SetUpError::new("auth-timeout: it must be more than zero and at most a year"));
        }
        if options.concurrency == 0 {
            return Err(SetUpError::new("auth-concurrency: it must be at least 1"));
        }
        let client = outgoing::client()
            .accept("application/json")
            .output_buffer_size(MAX_HEAD_BYTES)
            .max_idle_connections(options.concurrency)
            .max_idle_connections_per_host(options.concurrency)
            .timeout_global(Some(options.timeout));
        Ok(Self {
            agent: client.build().into(),
            places: Places::new(options.concurrency),
            cache: Mutex::default(),
            failures: LogGate::default(),
            options,
        })
    }

    fn identify(&self, question: &Question) -> Result<Identity, Refusal> {
        let key = question.key();
        let known = lock(&self.cache).get(&key, Instant::now());
        let identity = match known {
            Some(identity) => identity,
            None => match self.ask(question) {
                Ok(Answer::Known { identity, max_age }) => {
                    let left = identity.expires.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
                    let fresh_for = left.map_or(max_age, |left| left.min(max_age));
                    lock(&self.cache).insert(key, &identity, fresh_for, Instant::now());
                    identity
                }
                Ok(Answer::Refused(refusal)) => return Err(refusal),
                Err(failure) => return Err(self.unavailable(&failure)),
            },
        };
        match identity.expires {
            Some(end) if end <= SystemTime::now() => Err(Refusal::unauthorized("the authentication has expired")),
            _ => Ok(identity),
        }
    }

    fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.options.timeout;
        let place = self.places.enter(deadline).ok_or(Failure::Busy)?;
        let left = place.has_waited.then(|| deadline.saturating_duration_since(Instant::now()));
        // The lookup of a name starts a thread and panics where the system grants none; that passes.
        catch_unwind(AssertUnwindSafe(|| self.exchange(question, left))).unwrap_or(Err(Failure::Panic))
    }

    /// Within the usual timeout, or what is left of it: a request with a timeout of its own reads the system's certificates
    /// for itself, unless one without has done so before.
    fn exchange(&self, question: &Question, left: Option<Duration>) -> Result<Answer, Failure> {
        let mut request = self.agent.get(format!("{}{}", self.options.url, question.query()));
        for (name, value) in question.headers() {
            request = request.header(name, value);
        }
        if left.is_some() {
            request = request.config().timeout_global(left).build();
        }
        let mut response = request.call()?;
        let body = response.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_vec()?;
        answer::read(response.status().as_u16(), response.headers(), &body)
    }

    fn unavailable(&self, failure: &Failure) -> Refusal {
        if let Some(held_back) = self.failures.open(Instant::now()) {
            let failure = failure.to_string();
            let failure = Printable(&failure);
            log::error!("the back end did not say who a client is: {failure} ({held_back} more times in the meantime)");
        }
        Refusal::unavailable("who you are cannot be found out at the moment", RETRY_AFTER)
    }
}

/// Blocks until the back end has answered, at most for the timeout of its options.
impl Authenticator for BackEnd {
    fn authenticate(&self, request: &Request) -> Result<Identity, Refusal> {
        self.identify(&Question::of_request(request)?)
    }

    fn renew(&self, connection: &ConnectionInfo, token: &str) -> Result<Identity, Refusal> {
        of_connection(self.identify(&Question::of_renewal(connection, token)?)?, connection)
    }
}

/// The client's query takes the place of one that the address might have.
fn check_url(text: &str) -> Result<(), SetUpError> {
    let checked = parse_url(text).and_then(|_| match text.contains(['?', '#']) {
        true => Err("it must have neither a query nor a fragment"),
        false => Ok(()),
    });
    checked.map_err(|why| SetUpError::new(format!("auth-url: {why}")))
}

/// Why there is no answer that could be used.
#[derive(Debug)]
enum Failure {
    /// As many questions as there may be were being asked all the time.
    Busy,
    /// It was not reached, or said something that is not HTTP, or too slowly, or too much of it.
    Transport(ureq::Error),
    /// The library gave up.
    Panic,
    /// A status that means neither yes nor no.
    Status(u16),
    /// A yes that does not say to whom.
    Body(&'static str),
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        Self::Transport(error)
    }
}

/// Never shows what was sent.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many questions at once"),
            Self::Transport(ureq::Error::Timeout(_)) => f.write_str("it took too long"),
            Self::Transport(ureq::Error::BadUri(_) | ureq::Error::Http(_)) => f.write_str("this cannot be asked"),
            Self::Transport(error) => error.fmt(f),
            Self::Panic => f.write_str("it could not be asked"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Body(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests;
