//! Who signs in (Tableau REST API reference, Sign In).

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::error::Scrubber;

/// One of the ways to sign in.
#[derive(Clone)]
pub(crate) enum Credentials {
    PersonalAccessToken { name: String, secret: SecretString },
    Password { user: String, password: SecretString },
    Jwt(SecretString),
}

impl Credentials {
    pub(crate) fn secret(&self) -> &SecretString {
        match self {
            Self::PersonalAccessToken { secret, .. } => secret,
            Self::Password { password, .. } => password,
            Self::Jwt(token) => token,
        }
    }

    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::PersonalAccessToken { .. } => "personal access token",
            Self::Password { .. } => "user name and password",
            Self::Jwt(_) => "jwt",
        }
    }

    /// Servers remember the id of a JWT and refuse it the second time; the others may be sent again.
    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Jwt(_))
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
            Self::Jwt(_) => {
                "check issuer, scopes, clock and the content url of the site; a jwt works once and for minutes, so make a \
                 client with a new one"
            }
        }
    }

    pub(crate) fn scrubber(&self) -> Scrubber {
        let mut scrubber = Scrubber::default();
        scrubber.add(self.secret().expose_secret());
        scrubber
    }

    /// The body of the sign-in.
    pub(crate) fn body(&self, site: &str) -> Value {
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
            Self::Jwt(token) => {
                set("jwt", token.expose_secret());
            }
        }
        fields.insert("site".to_owned(), serde_json::json!({ "contentUrl": site }));
        serde_json::json!({ "credentials": fields })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())
    }
}
