//! Building a client: everything is checked here, so that a client that exists can be used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::auth::{
    Basic, Bearer, ClientCredentials, Credential, Identity, KeyOnly, OAuth2, TokenChannel, TokenResource,
};
use crate::budget::{Bucket, RetryBudget};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::exchange::{Shared, SlowCalls};
use crate::retry::RetryPolicy;
use crate::transport::Transport;

const OPERATION: &str = "build client";
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);
const DEFAULT_CONCURRENCY: usize = 4;

/// The licence type of web services, which is the same on every installation (observed).
const WEB_SERVICE: &str = "00000003-9439-4B30-A6F4-6D2FD4B9FD0F";

/// Which licence a call claims on the server, by the `License` header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum License {
    /// The Web Service type: calls do not use up licences of interactive users.
    #[default]
    WebService,
    /// Another type, by its guid.
    Claim(String),
    /// No header: the server claims a Default User licence for each call.
    None,
}

/// What the `CallSettings` header says beside the company: in which plant, language and culture a call works.
///
/// The server ignores plants that do not exist (observed).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct CallSettings {
    plant: Option<String>,
    language: Option<String>,
    format_culture: Option<String>,
}

impl CallSettings {
    /// Nothing set: the user's own defaults on the server.
    pub fn new() -> Self {
        Self::default()
    }

    /// The plant to work in.
    pub fn plant(mut self, plant: impl Into<String>) -> Self {
        self.plant = Some(plant.into());
        self
    }

    /// The language of the server's texts, for example `en-us`.
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.language = Some(language.into());
        self
    }

    /// The culture in which the server formats texts, for example `de-CH` (`FormatCulture`).
    pub fn format_culture(mut self, culture: impl Into<String>) -> Self {
        self.format_culture = Some(culture.into());
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("Plant", &self.plant), ("Language", &self.language), ("FormatCulture", &self.format_culture)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// Collects the settings of a [`Client`].
#[must_use]
#[derive(Clone)]
pub struct ClientBuilder {
    root: String,
    company: String,
    api_key: Option<SecretString>,
    identity: Identity,
    transport: Option<Arc<dyn Transport>>,
    license: License,
    settings: CallSettings,
    timeout: Duration,
    retry: RetryPolicy,
    budget: RetryBudget,
    concurrency: usize,
    allow_http: bool,
}

impl ClientBuilder {
    pub(crate) fn new(root: &str) -> Self {
        Self {
            root: root.to_owned(),
            company: String::new(),
            api_key: None,
            identity: Identity::Missing,
            transport: None,
            license: License::default(),
            settings: CallSettings::default(),
            timeout: DEFAULT_TIMEOUT,
            retry: RetryPolicy::default(),
            budget: RetryBudget::default(),
            concurrency: DEFAULT_CONCURRENCY,
            allow_http: false,
        }
    }

    /// The company to work in, for example `EPIC06`. Required.
    pub fn company(mut self, company: impl Into<String>) -> Self {
        self.company = company.into();
        self
    }

    /// The API key, which version 2 of the interface wants with every call. Required.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(SecretString::from(key.into()));
        self
    }

    /// Identity: Basic, for native Epicor users.
    pub fn basic(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.identity = Identity::Basic { user: user.into(), password: SecretString::from(password.into()) };
        self
    }

    /// Identity: a bearer token from Kinetic's own `TokenResource.svc`.
    pub fn token_resource(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.identity = Identity::TokenResource { user: user.into(), password: SecretString::from(password.into()) };
        self
    }

    /// Identity: a bearer token from an `OAuth2` service.
    pub fn oauth2(mut self, settings: OAuth2) -> Self {
        self.identity = Identity::OAuth2(settings);
        self
    }

    /// Identity: the caller's own.
    pub fn credential(mut self, credential: Arc<dyn Credential>) -> Self {
        self.identity = Identity::Own(credential);
        self
    }

    /// Identity: none beside the API key, for servers that are set up so.
    pub fn api_key_only(mut self) -> Self {
        self.identity = Identity::KeyOnly;
        self
    }

    /// The caller's own way to the network.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// A `reqwest` client with the caller's proxy, extra certificates and timeouts. Build it with
    /// `redirect(reqwest::redirect::Policy::none())`: a redirect to another host would carry the API key there.
    ///
    /// The type is of reqwest 0.13; a new minor version of reqwest is a breaking change of this method only.
    #[cfg(feature = "reqwest")]
    pub fn http_client(self, client: ::reqwest::Client) -> Self {
        self.transport(Arc::new(crate::transport::ReqwestTransport::new(client)))
    }

    /// Which licence calls claim. The Web Service type unless set.
    pub fn license(mut self, license: License) -> Self {
        self.license = license;
        self
    }

    /// How many retries all calls together may make. See [`RetryBudget`].
    pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.budget = budget;
        self
    }

    /// The plant to work in. The server ignores one that does not exist (observed).
    pub fn plant(mut self, plant: impl Into<String>) -> Self {
        self.settings.plant = Some(plant.into());
        self
    }

    /// The language of the server's texts, for example `en-us`.
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.settings.language = Some(language.into());
        self
    }

    /// Plant, language and culture together. See also [`Client::with_call_settings`].
    pub fn call_settings(mut self, settings: CallSettings) -> Self {
        self.settings = settings;
        self
    }

    /// How long one attempt may take, from sending to the last byte of the answer. 120 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How failed requests are repeated.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How many requests are under way at the same time, over all clones of the client. 4 unless set; 0 counts as 1.
    pub fn max_concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// Whether plain `http` is allowed to hosts other than this one. Key and identity are readable on the way then.
    pub fn allow_http(mut self, allow: bool) -> Self {
        self.allow_http = allow;
        self
    }

    /// Checks the settings and makes the client. Nothing is sent.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the setting that cannot work.
    pub fn build(self) -> Result<Client> {
        let root = root(&self.root, self.allow_http)?;
        let company = Client::checked_company(&self.company)?;
        let api_key = match &self.api_key {
            Some(key) if !key.expose_secret().trim().is_empty() => key.expose_secret().trim(),
            _ => {
                return Err(Error::config(OPERATION, "the api key is missing; create one in API Key Maintenance"));
            }
        };
        let mut api_key = HeaderValue::from_str(api_key)
            .map_err(|_| Error::config(OPERATION, "the api key holds characters that no key has; copy it again"))?;
        api_key.set_sensitive(true);
        if self.timeout.is_zero() {
            return Err(Error::config(OPERATION, "a timeout of zero lets no request through; set a longer one"));
        }
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport()?,
        };
        let channel = TokenChannel {
            transport: Arc::clone(&transport),
            timeout: self.timeout,
            root: root.clone(),
            allow_http: self.allow_http,
        };
        let credential: Arc<dyn Credential> = match self.identity {
            Identity::Missing => {
                return Err(Error::config(
                    OPERATION,
                    "the identity is missing; set basic, token_resource, oauth2 or a credential",
                ));
            }
            Identity::KeyOnly => Arc::new(KeyOnly),
            Identity::Basic { user, password } => Arc::new(Basic::new(&user, &password)?),
            Identity::TokenResource { user, password } => {
                Arc::new(Bearer::new(TokenResource::new(channel, &user, &password)?))
            }
            Identity::OAuth2(settings) => Arc::new(Bearer::new(ClientCredentials::new(channel, settings)?)),
            Identity::Own(credential) => credential,
        };
        let license = license_header(&self.license)?;
        Ok(Client::assemble(
            Shared {
                root,
                api_key,
                license,
                bucket: Bucket::new(self.budget),
                slow: SlowCalls::default(),
                credential,
                transport,
                timeout: self.timeout,
                retry: self.retry,
                permits: tokio::sync::Semaphore::new(self.concurrency),
            },
            company,
            self.settings,
        ))
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
pub(crate) fn checked_url(text: &str, what: &str, allow_http: bool) -> Result<Url> {
    let refuse = |why: &str| Err(Error::config(OPERATION, format!("the {what} {why}")));
    let Ok(url) = Url::parse(text.trim()) else {
        return refuse("is no address; it looks like https://host/instance");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("holds a user name or password; set the identity in the builder instead");
    }
    let local = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return refuse("names no host; it looks like https://host/instance"),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if local || allow_http => Ok(url),
        "http" => refuse("is not encrypted; use https, or allow_http(true) if the network is trusted"),
        _ => refuse("must begin with https"),
    }
}

fn root(text: &str, allow_http: bool) -> Result<Url> {
    let mut url = checked_url(text, "root address", allow_http)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::config(OPERATION, "the root address has a query; it ends with the instance name"));
    }
    let path = url.path().to_ascii_lowercase();
    if path.contains("/api/v1") || path.contains("/api/v2") {
        return Err(Error::config(OPERATION, "the root address goes too deep; leave out everything from /api on"));
    }
    if !path.ends_with('/') {
        let with_slash = format!("{}/", url.path());
        url.set_path(&with_slash);
    }
    Ok(url)
}

fn license_header(license: &License) -> Result<Option<HeaderValue>> {
    let guid = match license {
        License::WebService => WEB_SERVICE,
        License::Claim(guid) => guid.as_str(),
        License::None => return Ok(None),
    };
    if !crate::query::is_guid(guid) {
        return Err(Error::config(OPERATION, "the licence type is no guid; copy it from the licence page in Kinetic"));
    }
    HeaderValue::from_str(&format!(r#"{{"ClaimedLicense":"{guid}"}}"#))
        .map(Some)
        .map_err(|_| Error::config(OPERATION, "the licence type cannot be sent; check the guid"))
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The root is left out: until it is checked it may hold a password.
        f.debug_struct("ClientBuilder")
            .field("company", &self.company)
            .field("identity", &self.identity)
            .field("license", &self.license)
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .field("max_concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
