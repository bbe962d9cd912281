//! Who signs in (Tableau REST API reference, Sign In).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::error::{Result, Scrubber};

/// Makes a JWT for each sign-in: a connected app's, or one that another service of yours hands out.
///
/// Servers remember the id of a JWT and refuse it the second time, so each call must give a new one. `ConnectedApp`, behind
/// the feature `connected-app`, is such a source.
#[async_trait]
pub trait JwtSource: fmt::Debug + Send + Sync + 'static {
    /// A JWT that has not been used before.
    ///
    /// # Errors
    /// Whatever keeps it from being made, as [`Error::credential`](crate::Error::credential). The sign-in fails with it.
    async fn jwt(&self) -> Result<SecretString>;
}

/// One of the ways to sign in.
#[derive(Clone)]
pub(crate) enum Credentials {
    PersonalAccessToken { name: String, secret: SecretString },
    Password { user: String, password: SecretString },
    Jwt { token: SecretString, unified: bool },
    Made { by: Arc<dyn JwtSource>, unified: bool },
}

impl Credentials {
    /// The secret, where it is always the same one.
    pub(crate) fn secret(&self) -> Option<&SecretString> {
        match self {
            Self::PersonalAccessToken { secret, .. } => Some(secret),
            Self::Password { password, .. } => Some(password),
            Self::Jwt { token, .. } => Some(token),
            Self::Made { .. } => None,
        }
    }

    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::PersonalAccessToken { .. } => "personal access token",
            Self::Password { .. } => "user name and password",
            Self::Jwt { .. } => "jwt",
            Self::Made { .. } => "source of jwts",
        }
    }

    /// Whether they are a unified access token, which Cloud alone knows.
    pub(crate) fn is_unified(&self) -> bool {
        matches!(self, Self::Jwt { unified: true, .. } | Self::Made { unified: true, .. })
    }

    /// Servers remember the id of a JWT and refuse it the second time; the others may be sent again.
    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Jwt { .. } | Self::Made { .. })
    }

    /// What to do when the server refuses them.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::PersonalAccessToken { .. } => {
                "check name and secret of the token, the content url of the site, and that the token has not lapsed \
                 (15 days without use); it is not tried again by itself, since that locks accounts"
            }
            Self::Password { .. } => {
                "check user, password and the content url of the site; with multi-factor sign-in a personal access token is \
                 needed; it is not tried again by itself, since that locks accounts"
            }
            Self::Made { .. } => {
                "check client id, secret, user, scopes, clock and the content url of the site, and that the connected app is \
                 enabled; it is not tried again by itself, since that locks accounts"
            }
            Self::Jwt { .. } => {
                "check issuer, scopes, clock and the content url of the site; a jwt works once and for minutes, so make a \
                 client with a new one"
            }
        }
    }

    pub(crate) fn scrubber(&self) -> Scrubber {
        let mut scrubber = Scrubber::default();
        if let Some(secret) = self.secret() {
            scrubber.add(secret.expose_secret());
        }
        scrubber
    }

    /// The body of the sign-in, and the secret in it if it was made for this sign-in.
    pub(crate) async fn body(&self, site: &str) -> Result<(Value, Option<SecretString>)> {
        let made = match self {
            Self::Made { by, .. } => Some(by.jwt().await?),
            _ => None,
        };
        let mut fields = Map::new();
        let mut set = |name: &str, value: &str| fields.insert(name.to_owned(), value.into());
        match self {
            Self::PersonalAccessToken { name, secret } => {
                set("personalAccessTokenName", name);
                set("personalAccessTokenSecret", secret.expose_secret());
            }
            Self::Password { user, password } => {
                set("name", user);
                set("password", password.expose_secret());
            }
            Self::Jwt { token, .. } => {
                set("jwt", token.expose_secret());
            }
            Self::Made { .. } => {
                set("jwt", made.as_ref().map_or("", |token| token.expose_secret()));
            }
        }
        if self.is_unified() {
            fields.insert("isUat".to_owned(), true.into());
        }
        fields.insert("site".to_owned(), serde_json::json!({ "contentUrl": site }));
        Ok((serde_json::json!({ "credentials": fields }), made))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())
    }
}
