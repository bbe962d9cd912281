//! `OAuth2` client credentials: Epicor's identity provider (`https://login.epicor.com/connect/token`, scope
//! `epicor_erp`, observed) and Entra ID.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::TokenChannel;
use super::bearer::{FreshToken, TokenSource};
use crate::error::{Error, Result, Scrubber};

/// How to get a token from an `OAuth2` service.
///
/// The id and secret go to the token address and nowhere else. The application must be mapped to a Kinetic user.
#[derive(Clone)]
pub struct OAuth2 {
    token_url: String,
    client_id: String,
    client_secret: SecretString,
    scope: Option<String>,
}

impl OAuth2 {
    /// The client credentials grant, with id and secret in the form body.
    ///
    /// ```
    /// use epicor_kinetic::OAuth2;
    /// let identity = OAuth2::client_credentials("https://login.epicor.com/connect/token", "my-app", "secret")
    ///     .scope("epicor_erp");
    /// assert!(!format!("{identity:?}").contains("secret\""));
    /// ```
    pub fn client_credentials(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
    ) -> Self {
        Self {
            token_url: token_url.into(),
            client_id: client_id.into(),
            client_secret: SecretString::from(client_secret.into()),
            scope: None,
        }
    }

    /// Epicor's identity provider, for tenants in its cloud: its token address and the scope for Kinetic (observed).
    pub fn epicor(client_id: impl Into<String>, client_secret: impl Into<String>) -> Self {
        Self::client_credentials("https://login.epicor.com/connect/token", client_id, client_secret).scope("epicor_erp")
    }

    /// Entra ID, for a tenant by its id or domain and a Kinetic that is registered as the application
    /// `application_uri`, for example `api://…`. The calling application must be mapped to a Kinetic user.
    pub fn entra(
        tenant: impl AsRef<str>,
        application_uri: impl AsRef<str>,
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
    ) -> Self {
        let tenant = crate::address::segment(tenant.as_ref().trim());
        let address = format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token");
        let scope = format!("{}/.default", application_uri.as_ref().trim().trim_end_matches('/'));
        Self::client_credentials(address, client_id, client_secret).scope(scope)
    }

    /// The scopes to ask for, separated by spaces.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }
}

impl fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2").field("client_id", &self.client_id).field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// The token source behind [`OAuth2`].
pub(crate) struct ClientCredentials {
    channel: TokenChannel,
    url: Url,
    settings: OAuth2,
}

impl ClientCredentials {
    pub(crate) fn new(channel: TokenChannel, settings: OAuth2) -> Result<Self> {
        let url = crate::config::checked_url(&settings.token_url, "token address", channel.allow_http)?;
        if settings.client_id.is_empty() {
            return Err(Error::config(
                "build client",
                "the client id is empty; use the id of the registered application",
            ));
        }
        Ok(Self { channel, url, settings })
    }

    fn form(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            encode(&self.settings.client_id),
            encode(self.settings.client_secret.expose_secret())
        );
        if let Some(scope) = &self.settings.scope {
            form.push_str("&scope=");
            form.push_str(&encode(scope));
        }
        form
    }
}

#[async_trait]
impl TokenSource for ClientCredentials {
    async fn fetch(&self) -> Result<FreshToken> {
        let mut request = Request::new(Bytes::from(self.form()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = crate::exchange::to_uri(&self.url, "fetch token")?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let mut scrubber = Scrubber::default();
        scrubber.add(self.settings.client_secret.expose_secret());
        let answer = self.channel.exchange(request).await?;
        if !answer.status().is_success() {
            let error = Error::response("fetch token", answer.status(), answer.headers(), answer.body(), &scrubber);
            // RFC 6749 lets a service answer a wrong client with 400 as well as with 401.
            let wrong_client = error
                .service_error()
                .and_then(|service| service.error_type.as_deref())
                .is_some_and(|code| matches!(code, "invalid_client" | "unauthorized_client" | "invalid_scope"));
            return Err(if wrong_client { error.into_refused_client() } else { error });
        }
        super::token_resource::read(answer.body())
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials")
            .field("host", &self.url.host_str())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_known_services_have_their_address_and_scope() {
        let epicor = OAuth2::epicor("id", "secret");
        assert_eq!(epicor.token_url, "https://login.epicor.com/connect/token");
        assert_eq!(epicor.scope.as_deref(), Some("epicor_erp"));
        let entra = OAuth2::entra("example.com/../x", "api://kinetic/", "id", "secret");
        assert_eq!(entra.token_url, "https://login.microsoftonline.com/example.com%2F..%2Fx/oauth2/v2.0/token");
        assert_eq!(entra.scope.as_deref(), Some("api://kinetic/.default"));
    }
}
