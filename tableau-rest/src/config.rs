//! Building a client: everything is checked here, so that a client that exists can be used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;
use url::{Host, Url};

use crate::client::{Client, Shared};
use crate::credentials::{Credentials, JwtSource};
use crate::datasources::UpdateLocks;
use crate::error::{Error, Result};
use crate::retry::RetryPolicy;
use crate::session;
use crate::transport::Transport;
use crate::version::ApiVersion;

const OPERATION: &str = "build client";
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);
const DEFAULT_TRANSFER_TIMEOUT: Duration = Duration::from_hours(1);
const DEFAULT_IDLE_LIMIT: Duration = Duration::from_hours(4);
const DEFAULT_CHUNK: usize = 32 * 1024 * 1024;

/// The server refuses larger blocks (Tableau REST API reference, Append to File Upload).
pub(crate) const LARGEST_CHUNK: usize = 64 * 1024 * 1024;

/// Collects the settings of a [`Client`].
#[must_use]
#[derive(Clone)]
pub struct ClientBuilder {
    server_url: String,
    site: String,
    credentials: Option<Credentials>,
    version: Option<String>,
    transport: Option<Arc<dyn Transport>>,
    timeout: Duration,
    transfer_timeout: Duration,
    idle_limit: Duration,
    retry: RetryPolicy,
    chunk_size: usize,
    allow_http: bool,
}

impl ClientBuilder {
    pub(crate) fn new(server_url: &str) -> Self {
        Self {
            server_url: server_url.to_owned(),
            site: String::new(),
            credentials: None,
            version: None,
            transport: None,
            timeout: DEFAULT_TIMEOUT,
            transfer_timeout: DEFAULT_TRANSFER_TIMEOUT,
            idle_limit: DEFAULT_IDLE_LIMIT,
            retry: RetryPolicy::default(),
            chunk_size: DEFAULT_CHUNK,
            allow_http: false,
        }
    }

    /// The content url of the site: what stands behind `/site/` in the address of its pages. Empty, as unless set, is
    /// the default site of a server; Cloud has none.
    pub fn site(mut self, content_url: impl Into<String>) -> Self {
        self.site = content_url.into();
        self
    }

    /// Signs in with a personal access token. It has one session at a time: all clients of this process that use it
    /// share one, and another process that signs in with it ends ours. Use a token of its own for each process.
    pub fn personal_access_token(mut self, name: impl Into<String>, secret: impl Into<String>) -> Self {
        self.credentials =
            Some(Credentials::PersonalAccessToken { name: name.into(), secret: SecretString::from(secret.into()) });
        self
    }

    /// Signs in with user name and password. Cloud refuses them where multi-factor sign-in is required.
    pub fn password(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let password = SecretString::from(password.into());
        self.credentials = Some(Credentials::Password { user: user.into(), password });
        self
    }

    /// Signs in with a JWT of a connected app that the caller has made. It works once and for minutes, so a client
    /// whose session has ended needs a new one; [`jwt_source`](Self::jwt_source) makes one for each sign-in.
    pub fn jwt(mut self, token: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::Jwt { token: SecretString::from(token.into()), unified: false });
        self
    }

    /// Signs in with a JWT that is made anew for each sign-in.
    pub fn jwt_source(mut self, source: Arc<dyn JwtSource>) -> Self {
        self.credentials = Some(Credentials::Made { by: source, unified: false });
        self
    }

    /// Signs in as a user through a connected app with direct trust.
    #[cfg(feature = "connected-app")]
    pub fn connected_app(self, app: crate::ConnectedApp) -> Self {
        self.jwt_source(Arc::new(app))
    }

    /// Signs in with unified access tokens (UAT), a JWT for the whole of a Cloud tenant, made anew for each sign-in. Cloud
    /// only, from version 3.27 of the interface on.
    pub fn unified_access_token(mut self, source: Arc<dyn JwtSource>) -> Self {
        self.credentials = Some(Credentials::Made { by: source, unified: true });
        self
    }

    /// The version of the interface to use, for example `3.29`, which it is unless set. A server that knows a lower
    /// one only is asked in that.
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The caller's own way to the network.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// A `reqwest` client with the caller's proxy, extra certificates and timeouts. Build it with
    /// `redirect(reqwest::redirect::Policy::none())`: a redirect to another host would carry the session there.
    ///
    /// The type is of reqwest 0.13; a new minor version of reqwest is a breaking change of this method only.
    #[cfg(feature = "reqwest")]
    pub fn http_client(self, client: ::reqwest::Client) -> Self {
        self.transport(Arc::new(crate::transport::ReqwestTransport::new(client)))
    }

    /// How long one attempt may take, from sending to the last byte of the answer. 120 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// As [`timeout`](Self::timeout), for requests that carry a file or make the server take one in. 1 h unless set.
    pub fn transfer_timeout(mut self, timeout: Duration) -> Self {
        self.transfer_timeout = timeout;
        self
    }

    /// How failed requests are repeated.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Whether plain `http` is allowed to hosts other than this one. Credentials are readable on the way then.
    pub fn allow_http(mut self, allow: bool) -> Self {
        self.allow_http = allow;
        self
    }

    /// After how long without a call the server ends a session: 240 minutes unless set, which is Server's default; Cloud
    /// typically takes 120. The session is renewed a little ahead.
    pub fn idle_limit(mut self, limit: Duration) -> Self {
        self.idle_limit = limit;
        self
    }

    /// How many bytes one request carries at most when a file goes up; a larger file goes in several. 32 MiB unless
    /// set, 64 MiB at most. About this much memory is used, whatever the size of the file.
    pub fn chunk_size(mut self, bytes: usize) -> Self {
        self.chunk_size = bytes;
        self
    }

    /// Checks the settings and makes the client. Nothing is sent.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the setting that cannot work.
    pub fn build(self) -> Result<Client> {
        let refuse = |message: &'static str| Err(Error::config(OPERATION, message));
        let base = base(&self.server_url, self.allow_http)?;
        let site = self.site.trim();
        if site.contains(['/', '?', '#', '\\']) || site.chars().any(char::is_control) {
            return refuse("the site is no content url; it is the one word behind /site/ in the address of its pages");
        }
        let Some(credentials) = self.credentials else {
            return refuse(
                "the credentials are missing; set a personal access token, a password, a connected app or a jwt",
            );
        };
        let name = match &credentials {
            Credentials::PersonalAccessToken { name, .. } => name.as_str(),
            Credentials::Password { user, .. } => user.as_str(),
            Credentials::Jwt { .. } | Credentials::Made { .. } => "jwt",
        };
        let empty = credentials.secret().is_some_and(|secret| secret.expose_secret().trim().is_empty());
        if name.trim().is_empty() || empty {
            return refuse("the name or the secret of the credentials is empty; copy it again");
        }
        if self.timeout.is_zero() || self.transfer_timeout.is_zero() || self.idle_limit.is_zero() {
            return refuse("a timeout or limit of zero lets no request through; set a longer one");
        }
        if self.chunk_size == 0 || self.chunk_size > LARGEST_CHUNK {
            return refuse("the chunk size must be between 1 byte and 64 MiB");
        }
        let wanted = match &self.version {
            Some(version) => version.parse::<ApiVersion>()?,
            None => ApiVersion::LATEST,
        };
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport()?,
        };
        let session = session::cell(base.as_str(), site, &credentials)?;
        let shared = Shared {
            site: site.to_owned(),
            base,
            credentials,
            session,
            wanted,
            negotiated: OnceCell::new(),
            transport,
            timeout: self.timeout,
            transfer_timeout: self.transfer_timeout,
            idle_limit: self.idle_limit,
            retry: self.retry,
            chunk_size: self.chunk_size,
            updates: UpdateLocks::default(),
        };
        Ok(Client { shared: Arc::new(shared) })
    }
}

#[cfg(feature = "reqwest")]
fn default_transport() -> Result<Arc<dyn Transport>> {
    let transport = crate::transport::ReqwestTransport::with_defaults()
        .map_err(|error| Error::transport("start the default transport", error))?;
    Ok(Arc::new(transport))
}

#[cfg(not(feature = "reqwest"))]
fn default_transport() -> Result<Arc<dyn Transport>> {
    Err(Error::config(OPERATION, "there is no transport; set one, or turn on the feature `reqwest`"))
}

/// An address that credentials may be sent to. The text itself never goes into the error: it may hold a password.
fn base(text: &str, allow_http: bool) -> Result<Url> {
    let refuse = |why: &str| Err(Error::config(OPERATION, format!("the server address {why}")));
    let Ok(mut url) = Url::parse(text.trim()) else {
        return refuse("is no address; it looks like https://tableau.example.com");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("holds a user name or password; set the credentials in the builder instead");
    }
    let local = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return refuse("names no host; it looks like https://tableau.example.com"),
    };
    match url.scheme() {
        "https" => {}
        "http" if local || allow_http => {}
        "http" => {
            return refuse("is not encrypted; use https, or allow_http(true) if the network is trusted");
        }
        _ => return refuse("must begin with https"),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("goes too deep; leave out everything behind the host, and set the site apart from it");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if path.to_ascii_lowercase().split('/').any(|part| matches!(part, "api" | "t" | "site" | "views")) {
        return refuse("goes too deep; leave out everything behind the host, and set the site apart from it");
    }
    url.set_path(&format!("{path}/"));
    Ok(url)
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address is left out: until it is checked it may hold a password.
        f.debug_struct("ClientBuilder")
            .field("site", &self.site)
            .field("credentials", &self.credentials)
            .field("api_version", &self.version)
            .field("timeout", &self.timeout)
            .field("transfer_timeout", &self.transfer_timeout)
            .field("idle_limit", &self.idle_limit)
            .field("retry", &self.retry)
            .field("chunk_size", &self.chunk_size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::transport::{Body, TransportError, TransportErrorKind};

    /// There without the feature `reqwest` too.
    #[derive(Debug)]
    struct Nowhere;

    #[async_trait::async_trait]
    impl Transport for Nowhere {
        async fn send(&self, _: http::Request<bytes::Bytes>) -> Result<http::Response<Body>, TransportError> {
            Err(TransportError::new(TransportErrorKind::Connect))
        }
    }

    fn builder(url: &str) -> ClientBuilder {
        Client::builder(url).transport(Arc::new(Nowhere)).password("user", "canary-password")
    }

    fn build(url: &str) -> Result<Client> {
        builder(url).build()
    }

    #[test]
    fn only_addresses_that_credentials_may_go_to_are_taken() {
        for good in [
            "https://tableau.example.com",
            "https://h/prefix/",
            "http://localhost:80",
            "http://127.0.0.1",
            "http://[::1]",
        ] {
            assert!(build(good).is_ok(), "{good}");
        }
        for bad in [
            "tableau.example.com",
            "http://tableau.example.com",
            "ftp://h",
            "https://u:canary-password@h",
            "https://h/#/site/finance/home",
            "https://h/api/3.29",
            "https://h/t/finance",
            "https://h/?x=1",
        ] {
            let error = build(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{bad}");
        }
        assert!(builder("http://h").allow_http(true).build().is_ok());
    }

    #[test]
    fn settings_that_cannot_work_are_refused_early() {
        let builder = || builder("https://h");
        assert!(builder().build().is_ok());
        let kinds = [
            Client::builder("https://h").transport(Arc::new(Nowhere)).build(),
            builder().personal_access_token("name", " ").build(),
            builder().site("a/b").build(),
            builder().api_version("three").build(),
            builder().chunk_size(0).build(),
            builder().chunk_size(LARGEST_CHUNK + 1).build(),
            builder().timeout(Duration::ZERO).build(),
        ];
        for result in kinds {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
