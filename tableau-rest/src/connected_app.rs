//! Connected apps with direct trust (Tableau help, Configure Connected Apps with Direct Trust).

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::Sha256;
use uuid::Uuid;

use crate::credentials::JwtSource;
use crate::error::{Error, Result};

/// The server refuses longer lives.
const LONGEST_LIFE: Duration = Duration::from_mins(10);
/// Clocks differ a little.
const SKEW: Duration = Duration::from_secs(5);

/// A connected app with direct trust, which signs in as a user without that user's password.
///
/// The JWT it makes names the user and the scopes and lives for 5 minutes; the session it opens is limited to the scopes. A scope
/// that the app was not granted makes the server refuse all of it, so ask for what is used only.
///
/// ```
/// # fn main() -> tableau_rest::Result<()> {
/// use tableau_rest::{Client, ConnectedApp};
/// let app = ConnectedApp::new("client id", "secret id", "secret value", "pipeline@example.com")
///     .scopes(ConnectedApp::PUBLISHING_SCOPES.iter().copied());
/// let client = Client::builder("https://tableau.example.com").site("finance").connected_app(app).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ConnectedApp {
    client_id: String,
    secret_id: String,
    secret: SecretString,
    user: String,
    scopes: Vec<String>,
    life: Duration,
}

impl ConnectedApp {
    /// What finding, publishing, updating and refreshing datasources needs.
    pub const PUBLISHING_SCOPES: &'static [&'static str] = &[
        "tableau:content:read",
        "tableau:datasources:create",
        "tableau:datasources:update",
        "tableau:datasources:download",
        "tableau:file_uploads:create",
        "tableau:hyper_data:update",
        "tableau:projects:create",
        "tableau:tasks:run",
        "tableau:tasks:read",
        "tableau:jobs:read",
    ];

    /// An app by the client id, the id and the value of its secret, and the user to act as.
    pub fn new(
        client_id: impl Into<String>,
        secret_id: impl Into<String>,
        secret_value: impl Into<String>,
        user: impl Into<String>,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            secret_id: secret_id.into(),
            secret: SecretString::from(secret_value.into()),
            user: user.into(),
            scopes: Vec::new(),
            life: Duration::from_mins(5),
        }
    }

    /// What the session may do, for example `tableau:content:read`.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    /// How long a JWT lives: 5 minutes unless set, 10 at most. The session it opens lives longer.
    pub fn jwt_life(mut self, life: Duration) -> Self {
        self.life = life.min(LONGEST_LIFE);
        self
    }

    fn signed(&self, now: i64, id: &str) -> Result<SecretString> {
        let refuse = |message: &str| Err(Error::credential(message.to_owned()));
        let named = [&self.client_id, &self.secret_id, &self.user].iter().all(|name| !name.trim().is_empty());
        if !named || self.secret.expose_secret().trim().is_empty() {
            return refuse("the connected app lacks client id, secret id, secret value or user; copy them again");
        }
        if self.scopes.is_empty() {
            return refuse("the connected app asks for no scope; name those that the calls need");
        }
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(0);
        let begun = now - seconds(SKEW);
        let header = json!({ "alg": "HS256", "typ": "JWT", "kid": self.secret_id, "iss": self.client_id });
        let claims = json!({
            "iss": self.client_id, "aud": "tableau", "sub": self.user, "jti": id, "scp": self.scopes,
            "iat": begun, "nbf": begun, "exp": begun + seconds(self.life),
        });
        let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes()) else {
            return refuse("the secret of the connected app cannot be used as a key; copy it again");
        };
        mac.update(text.as_bytes());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        Ok(SecretString::from(format!("{text}.{signature}")))
    }
}

#[async_trait]
impl JwtSource for ConnectedApp {
    async fn jwt(&self) -> Result<SecretString> {
        self.signed(Utc::now().timestamp(), &Uuid::new_v4().to_string())
    }
}

impl fmt::Debug for ConnectedApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectedApp").field("user", &self.user).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> ConnectedApp {
        ConnectedApp::new("app-1", "key-1", "CANARY-VALUE", "ann@example.com").scopes(["tableau:content:read"])
    }

    #[test]
    fn a_jwt_has_the_documented_claims_and_verifies() {
        let token = app().signed(1_700_000_000, "id-1").unwrap();
        let parts: Vec<&str> = token.expose_secret().split('.').collect();
        let read = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(read(parts[0]), json!({ "alg": "HS256", "typ": "JWT", "kid": "key-1", "iss": "app-1" }));
        assert_eq!(
            read(parts[1]),
            json!({ "iss": "app-1", "aud": "tableau", "sub": "ann@example.com", "jti": "id-1",
                "scp": ["tableau:content:read"], "iat": 1_699_999_995, "nbf": 1_699_999_995, "exp": 1_700_000_295 })
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(b"CANARY-VALUE").unwrap();
        mac.update(format!("{}.{}", parts[0], parts[1]).as_bytes());
        mac.verify_slice(&BASE64_URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
    }

    #[test]
    fn no_jwt_lives_longer_than_the_server_takes() {
        let token = app().jwt_life(Duration::from_hours(2)).signed(1_000, "i").unwrap();
        let claims = token.expose_secret().split('.').nth(1).unwrap().to_owned();
        let claims: serde_json::Value =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    }

    #[test]
    fn what_cannot_sign_in_is_told_and_nothing_of_the_secret_with_it() {
        assert!(ConnectedApp::new("", "k", "v", "u").scopes(["s"]).signed(0, "i").is_err());
        let error = ConnectedApp::new("c", "k", "CANARY", "u").signed(0, "i").unwrap_err();
        assert!(error.to_string().contains("scope"), "{error}");
        assert!(!format!("{:?} {:?} {error:?}", app(), ConnectedApp::new("c", "k", "CANARY", "u")).contains("CANARY"));
    }
}
