//! Kinetic's own token service: `POST {root}/TokenResource.svc/` with the credentials in two request headers.
//!
//! It answers JSON only when asked to, XML otherwise; both are read. There is no refresh: renewing is logging in again
//! (observed).

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH};
use http::{HeaderName, HeaderValue, Method, Request};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::TokenChannel;
use super::bearer::{FreshToken, TokenSource};
use crate::error::{Error, Result, Scrubber};

pub(crate) struct TokenResource {
    channel: TokenChannel,
    user: HeaderValue,
    password: HeaderValue,
}

impl TokenResource {
    pub(crate) fn new(channel: TokenChannel, user: &str, password: &SecretString) -> Result<Self> {
        let header = |text: &str, what: &str| {
            HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
                Error::config("build client", format!("the {what} cannot travel in a header; use basic instead"))
            })
        };
        if user.is_empty() {
            return Err(Error::config("build client", "the user name is empty; use the Kinetic user id"));
        }
        let user = header(user, "user name")?;
        let mut password = header(password.expose_secret(), "password")?;
        password.set_sensitive(true);
        Ok(Self { channel, user, password })
    }
}

#[async_trait]
impl TokenSource for TokenResource {
    async fn fetch(&self) -> Result<FreshToken> {
        let url = self
            .channel
            .root
            .join("TokenResource.svc/")
            .map_err(|_| Error::config("fetch token", "the root address has no place for the token service"))?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = crate::exchange::to_uri(&url, "fetch token")?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        headers.insert(HeaderName::from_static("username"), self.user.clone());
        headers.insert(HeaderName::from_static("password"), self.password.clone());
        let scrubber = Scrubber::of(headers);
        let answer = self.channel.exchange(request).await?;
        if !answer.status().is_success() {
            return Err(Error::response("fetch token", answer.status(), answer.headers(), answer.body(), &scrubber));
        }
        read(answer.body())
    }
}

/// Reads a token answer of either service. Nothing of the body goes into an error: it holds the token.
pub(super) fn read(body: &[u8]) -> Result<FreshToken> {
    let unreadable = || {
        Error::decode("fetch token", "the answer of the token service holds no token")
            .with_hint("check that the address belongs to a token service and not to a sign-in page")
    };
    let text = std::str::from_utf8(body).map_err(|_| unreadable())?.trim_start_matches('\u{feff}').trim_start();
    let pairs: Vec<(String, String)> = if text.starts_with('<') {
        crate::xml::leaves(text).map_err(|_| unreadable())?
    } else {
        let object: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|_| unreadable())?;
        object
            .into_iter()
            .filter_map(|(name, value)| match value {
                Value::String(text) => Some((name, text)),
                Value::Number(number) => Some((name, number.to_string())),
                _ => None,
            })
            .collect()
    };
    // `AccessToken` here, `access_token` at OAuth2 services.
    let find = |wanted: &str| {
        pairs
            .iter()
            .find(|(name, _)| name.replace('_', "").eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    };
    let value = find("accesstoken").ok_or_else(unreadable)?;
    let lifetime = find("expiresin")
        .and_then(|seconds| seconds.split('.').next()?.parse::<u64>().ok())
        .filter(|seconds| *seconds > 0)
        // A longer promise would overflow the clock, and means "for ever" anyway.
        .map(|seconds| Duration::from_secs(seconds.min(10 * 365 * 24 * 3_600)));
    Ok(FreshToken { value: SecretString::from(value.to_owned()), lifetime })
}

impl fmt::Debug for TokenResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResource").field("root", &self.channel.root.as_str()).finish_non_exhaustive()
    }
}
