//! Basic authentication for native Epicor users. Users of single sign-on cannot use it (observed).

use std::fmt;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use secrecy::{ExposeSecret, SecretString};

use super::Credential;
use crate::error::{Error, Result};

pub(crate) struct Basic {
    header: HeaderValue,
}

impl Basic {
    pub(crate) fn new(user: &str, password: &SecretString) -> Result<Self> {
        if user.is_empty() || user.contains(':') || user.chars().any(char::is_control) {
            return Err(Error::config(
                "build client",
                "the user name is empty or holds a colon or control character; use the Kinetic user id",
            ));
        }
        let pair = SecretString::from(STANDARD.encode(format!("{user}:{}", password.expose_secret())));
        let mut header = HeaderValue::from_str(&format!("Basic {}", pair.expose_secret()))
            .map_err(|_| Error::config("build client", "the password cannot be sent; check its characters"))?;
        header.set_sensitive(true);
        Ok(Self { header })
    }
}

#[async_trait]
impl Credential for Basic {
    async fn apply(&self, request: &mut Request<Bytes>) -> Result<()> {
        request.headers_mut().insert(AUTHORIZATION, self.header.clone());
        Ok(())
    }
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Basic")
    }
}
