//! What the subcommands that ask a running server have in common: where it is, the key, one request and its answer.

use super::Failure;
use clap::Args;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body, RequestBuilder};

/// For all of a request: longer than the server waits for its router.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// Which server, and the key to it.
#[derive(Args)]
pub(super) struct Server {
    /// The address of the server's HTTP interface
    #[arg(long, env = "HEARTWIRE_ADMIN", value_name = "URL", default_value = "http://127.0.0.1:8081")]
    #[arg(value_parser = base)]
    admin: String,

    /// The key to it, where one is asked for
    #[arg(long, env = "HEARTWIRE_ADMIN_KEY", value_name = "KEY", hide_env_values = true)]
    admin_key: Option<String>,

    #[arg(skip = agent())]
    agent: Agent,
}

impl Server {
    /// One that asks for no key, at an address such as `http://127.0.0.1:8081`.
    #[cfg(feature = "bench")]
    pub(super) fn at(admin: String) -> Self {
        Self { admin, admin_key: None, agent: agent() }
    }

    /// Posts a body of JSON and returns the answer's, on one line.
    pub(super) fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Result<String, Failure> {
        let mut request = self.authorized(self.agent.post(self.url(path))).content_type("application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request.send(body))
    }

    /// Asks for what is at a path, with these parameters behind those that it has, and returns the answer's body.
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, Failure> {
        let request = self.authorized(self.agent.get(self.url(path)));
        self.answer(query.iter().fold(request, |request, (name, value)| request.query(name, value)).call())
    }

    /// The address, as it is written in front of a path.
    pub(super) fn address(&self) -> &str {
        &self.admin
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.admin)
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.admin_key {
            Some(key) => request.header("Authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    fn answer(&self, answered: Result<Response<Body>, ureq::Error>) -> Result<String, Failure> {
        let failed = |error: ureq::Error| Failure::Run(format!("cannot ask {}: {error}", self.admin));
        let mut response = answered.map_err(failed)?;
        let text = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string().map_err(failed)?;
        if response.status().is_success() {
            Ok(text)
        } else {
            Err(Failure::Run(format!("{} answered {}: {}", self.admin, response.status().as_u16(), message(&text))))
        }
    }
}

/// An address as it must be, so that a host alone is told what it lacks.
fn base(text: &str) -> Result<String, &'static str> {
    match text.starts_with("http://") || text.starts_with("https://") {
        true => Ok(text.trim_end_matches('/').into()),
        false => Err("it must begin with http:// or https://"),
    }
}

/// What a refusal says; one that is none of ours, of a proxy perhaps, as it is.
fn message(body: &str) -> String {
    refusal(body.as_bytes()).unwrap_or_else(|| body.lines().next().unwrap_or_default().into())
}

/// What a refusal over HTTP says, or an `error` frame; none where it is none of ours.
pub(super) fn refusal(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        error: Wrong,
    }
    #[derive(Deserialize)]
    struct Wrong {
        message: String,
    }
    serde_json::from_slice::<Refusal>(body).ok().map(|refusal| refusal.error.message)
}

/// Follows no redirects, which would take the key elsewhere, and looks for no proxy in the environment.
fn agent() -> Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .build();
    config.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        assert_eq!(
            message(r#"{"error":{"code":101,"reason":"unauthorized","message":"a key is needed"}}"#),
            "a key is needed"
        );
        assert_eq!(message("<html>\n<body>"), "<html>");
        assert_eq!(message(""), "");
    }
}
