//! Who may ask: the API key and, apart from it, the identity.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, header};
use serde_json::json;
use uuid::Uuid;

use super::Switches;
use super::answer::{Answer, Failure, ok};
use crate::faults::plain;

/// The credentials that are right.
#[derive(Clone)]
pub(crate) struct Secrets {
    pub(crate) api_key: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The tokens that were handed out.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Until when, and for how many more requests.
    live: HashMap<String, (Instant, u64)>,
}

impl Tokens {
    fn issue(&mut self, switches: &Switches) -> String {
        let fresh = || format!("{}.{}.{}", Uuid::new_v4().simple(), Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let token = switches.token.clone().unwrap_or_else(fresh);
        self.live.insert(token.clone(), (Instant::now() + switches.token_life, switches.token_uses));
        token
    }

    /// Ends all tokens at once.
    pub(crate) fn expire(&mut self) {
        self.live.clear();
    }

    fn accepts(&mut self, token: &str) -> bool {
        let Some((until, uses)) = self.live.get_mut(token) else { return false };
        let fine = *until > Instant::now() && *uses > 0;
        *uses = uses.saturating_sub(1);
        fine
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Refuses a request whose key or identity is wrong.
pub(crate) fn check(headers: &HeaderMap, secrets: &Secrets, tokens: &mut Tokens) -> Result<(), Failure> {
    let key = text(headers, "x-api-key").unwrap_or_default();
    if key != secrets.api_key {
        // As on real servers, the key that was sent comes back in clear.
        let message = format!("Invalid API Key {key}\r\nThe key is not valid for company EPIC06.");
        return Err(Failure::unauthorized(401, message));
    }
    let denied = || Failure::unauthorized(401, "Invalid username or password.");
    let Some(authorization) = text(headers, "authorization") else {
        return Err(Failure { challenge: true, ..denied() });
    };
    let accepted = match authorization.split_once(' ') {
        Some(("Basic", credentials)) => {
            credentials == base64(format!("{}:{}", secrets.user, secrets.password).as_bytes())
        }
        Some(("Bearer", token)) => tokens.accepts(token),
        _ => false,
    };
    if accepted { Ok(()) } else { Err(denied()) }
}

/// `TokenResource.svc`: user and password in headers, a token in the answer.
pub(crate) fn token_resource(
    headers: &HeaderMap,
    secrets: &Secrets,
    tokens: &mut Tokens,
    switches: &Switches,
) -> Answer {
    let right = text(headers, "username") == Some(secrets.user.as_str())
        && text(headers, "password") == Some(secrets.password.as_str());
    if !right {
        return Err(Failure::unauthorized(401, "Invalid username or password."));
    }
    let (token, seconds) = (tokens.issue(switches), switches.token_life.as_secs());
    if text(headers, "accept").is_some_and(|accept| accept.contains("json")) {
        return Ok(ok(&json!({"AccessToken": token, "ExpiresIn": seconds, "RefreshToken": "", "TokenType": "Bearer"})));
    }
    Ok(plain(
        200,
        "application/xml",
        format!(
            "<Token><AccessToken>{token}</AccessToken><ExpiresIn>{seconds}</ExpiresIn><RefreshToken/>\
             <TokenType>Bearer</TokenType></Token>"
        ),
    ))
}

/// The token endpoint of an identity provider: client credentials in a form.
pub(crate) fn client_credentials(
    body: &[u8],
    secrets: &Secrets,
    tokens: &mut Tokens,
    switches: &Switches,
) -> Response<Body> {
    let form = super::pairs(std::str::from_utf8(body).unwrap_or_default());
    let field = |wanted: &str| form.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let right = field("grant_type") == Some("client_credentials")
        && field("client_id") == Some(secrets.client_id.as_str())
        && field("client_secret") == Some(secrets.client_secret.as_str());
    if right {
        let token = tokens.issue(switches);
        return ok(
            &json!({"access_token": token, "expires_in": switches.token_life.as_secs(), "token_type": "Bearer"}),
        );
    }
    let mut refused = ok(&json!({"error": "invalid_client"}));
    *refused.status_mut() = StatusCode::BAD_REQUEST;
    refused.headers_mut().remove(header::RETRY_AFTER);
    refused
}

/// How long tokens last unless told otherwise.
pub(crate) const TOKEN_LIFE: Duration = Duration::from_hours(1);

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for nth in 0..4_u32 {
            let letter = LETTERS.get((group >> (18 - 6 * nth) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if nth as usize <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_everybody() {
        for (plain, coded) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("user:pass", "dXNlcjpwYXNz")]
        {
            assert_eq!(super::base64(plain.as_bytes()), coded);
        }
    }
}
