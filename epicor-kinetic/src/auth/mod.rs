//! Who is calling: the identity that goes along with the API key.
//!
//! Basic, a bearer token from Kinetic's own `TokenResource.svc`, a bearer token by `OAuth2` client credentials (Epicor's
//! identity provider, Entra ID), or a caller's own [`Credential`].

mod basic;
mod bearer;
mod oauth2;
mod token_resource;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request};
use secrecy::SecretString;
use url::Url;

use crate::error::Result;
use crate::transport::Transport;

pub(crate) use basic::Basic;
pub(crate) use bearer::Bearer;
pub(crate) use oauth2::ClientCredentials;
pub use oauth2::OAuth2;
pub(crate) use token_resource::TokenResource;

/// Adds an identity to each request.
///
/// Mark the header value sensitive ([`http::HeaderValue::set_sensitive`]): sensitive values are cut out of whatever
/// the server says in its errors.
#[async_trait]
pub trait Credential: fmt::Debug + Send + Sync + 'static {
    /// Called once per attempt, before the request is sent.
    ///
    /// # Errors
    /// When the identity cannot be provided; make one with [`Error::credential`](crate::Error::credential).
    async fn apply(&self, request: &mut Request<Bytes>) -> Result<()>;

    /// Called after the server refused the identity with 401; `refused` are the headers that were sent. Returns
    /// whether another try with a renewed identity is worth it. It is tried once.
    async fn invalidate(&self, refused: &HeaderMap) -> bool {
        let _ = refused;
        false
    }
}

/// No identity beside the API key.
#[derive(Debug)]
pub(crate) struct KeyOnly;

#[async_trait]
impl Credential for KeyOnly {
    async fn apply(&self, _request: &mut Request<Bytes>) -> Result<()> {
        Ok(())
    }
}

/// What the builder collects until the transport is known.
#[derive(Clone)]
pub(crate) enum Identity {
    Missing,
    KeyOnly,
    Basic { user: String, password: SecretString },
    TokenResource { user: String, password: SecretString },
    OAuth2(OAuth2),
    Own(Arc<dyn Credential>),
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "none",
            Self::KeyOnly => "api key only",
            Self::Basic { .. } => "basic",
            Self::TokenResource { .. } => "token resource",
            Self::OAuth2(_) => "oauth2",
            Self::Own(_) => "own credential",
        })
    }
}

/// How token requests travel: the same transport and time limit as all others, and no credential on them.
#[derive(Clone, Debug)]
pub(crate) struct TokenChannel {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) timeout: Duration,
    pub(crate) root: Url,
    pub(crate) allow_http: bool,
}
