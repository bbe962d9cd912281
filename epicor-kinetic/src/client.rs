//! The client: one company of one Kinetic instance, and where everything begins.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};
use tokio::time::Instant;
use url::Url;

use crate::config::{CallSettings, ClientBuilder};
use crate::entity::EntitySet;
use crate::error::{Error, Result};
use crate::exchange::{Call, LICENCE_WAIT, Shared};
use crate::metadata::Metadata;
use crate::query::Query;
use crate::raw::RequestBuilder;
use crate::service::Service;

/// What an operator should know about calls that take 20 s and more.
const LICENCE_HINT: &str =
    "the server takes over 20 s for calls: this is how it slows them down when all web service licences are in use";

/// A client for one company of one Kinetic instance.
///
/// Cheap to clone; all clones share connections, token and concurrency limit.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    company: Arc<str>,
    settings: Option<Arc<CallSettings>>,
}

/// What [`Client::ping`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ping {
    /// How long the answer took.
    pub elapsed: Duration,
}

/// An entry of a service document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[non_exhaustive]
pub struct ServiceItem {
    /// The name, for example `Vendors`.
    pub name: String,
    /// What it is; `EntitySet` unless the server says otherwise.
    #[serde(default = "entity_set")]
    pub kind: String,
    /// Its address, relative to the document.
    #[serde(default)]
    pub url: String,
}

/// What OData lets a server leave out.
fn entity_set() -> String {
    "EntitySet".to_owned()
}

impl Ping {
    /// What an operator should know although the ping succeeded.
    pub fn hint(&self) -> Option<&'static str> {
        (self.elapsed >= LICENCE_WAIT).then_some(LICENCE_HINT)
    }
}

impl Client {
    /// Begins a client for the instance at `root`, for example `https://host/instance`.
    pub fn builder(root: impl AsRef<str>) -> ClientBuilder {
        ClientBuilder::new(root.as_ref())
    }

    /// The company this client works in.
    pub fn company(&self) -> &str {
        &self.company
    }

    /// The root address of the instance, with a slash at its end.
    pub fn root(&self) -> &Url {
        &self.shared.root
    }

    /// The same client for another company. Connections, token and limits stay shared.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when `company` cannot be a company's id.
    pub fn for_company(&self, company: impl AsRef<str>) -> Result<Self> {
        Ok(Self { company: Self::checked_company(company.as_ref())?, ..self.clone() })
    }

    /// The same client in another plant, language or culture. Connections, token and limits stay shared.
    #[must_use]
    pub fn with_call_settings(&self, settings: CallSettings) -> Self {
        Self { settings: (!settings.is_empty()).then(|| Arc::new(settings)), ..self.clone() }
    }

    /// What an operator should know although calls succeed: several of them in a row took over 20 s, which is how the
    /// server slows calls down when all web service licences are in use (observed).
    pub fn hint(&self) -> Option<&'static str> {
        self.shared.slow.suspicious().then_some(LICENCE_HINT)
    }

    /// Begins a query of an entity set.
    pub fn entity_set(&self, set: EntitySet) -> Query {
        Query::of_set(self.clone(), set)
    }

    /// Begins a query of a BAQ, by its id. A BAQ must be shared or owned by the API user and in the key's scope.
    pub fn baq(&self, id: impl Into<String>) -> Query {
        Query::of_baq(self.clone(), id.into())
    }

    /// The methods of a service, for example `Erp.BO.APInvoiceSvc`.
    pub fn service(&self, name: impl Into<String>) -> Service {
        Service::new(self.clone(), name.into())
    }

    /// Reads what a service offers in this instance: its entity sets with keys, columns and types.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for an impossible name, [`ErrorKind::Decode`](crate::ErrorKind::Decode) when the answer is no such document, and
    /// everything that can go wrong between here and the server.
    pub async fn metadata(&self, service: impl AsRef<str>) -> Result<Metadata> {
        let service = service.as_ref();
        let operation = format!("read metadata of {service}");
        let url = self.odata_url(&operation, &[service, "$metadata"])?;
        self.read_metadata(operation, url).await
    }

    /// Reads which columns a BAQ delivers, and their types.
    ///
    /// # Errors
    /// As [`Client::metadata`].
    pub async fn baq_metadata(&self, id: impl AsRef<str>) -> Result<Metadata> {
        let id = id.as_ref();
        let operation = format!("read metadata of query {id}");
        let url = self.odata_url(&operation, &["BaqSvc", id, "$metadata"])?;
        self.read_metadata(operation, url).await
    }

    /// Reads the names of the entity sets of a service: its service document. Short, where the metadata of a service
    /// can have megabytes.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such service, otherwise as
    /// [`Client::metadata`].
    pub async fn service_document(&self, service: impl AsRef<str>) -> Result<Vec<ServiceItem>> {
        #[derive(serde::Deserialize)]
        struct Document {
            value: Vec<ServiceItem>,
        }
        let service = service.as_ref();
        let operation = format!("read service document of {service}");
        crate::service::check_service(service)?;
        let url = self.odata_url(&operation, &[service])?;
        Ok(self.execute(&Call::get(operation, url)).await?.json::<Document>()?.value)
    }

    async fn read_metadata(&self, operation: String, url: Url) -> Result<Metadata> {
        let mut call = Call::get(operation, url);
        call.accept = HeaderValue::from_static("application/xml");
        let response = self.execute(&call).await?;
        Metadata::parse(&call.operation, response.body())
    }

    /// Proves that address, company, API key and identity work, by reading one column of one vendor.
    ///
    /// # Errors
    /// What is wrong, by kind, with the next step in [`Error::hint`].
    pub async fn ping(&self) -> Result<Ping> {
        self.ping_entity_set(EntitySet::VENDORS).await
    }

    /// As [`Client::ping`], for keys whose access scope leaves vendors out.
    ///
    /// # Errors
    /// As [`Client::ping`].
    pub async fn ping_entity_set(&self, set: EntitySet) -> Result<Ping> {
        let begun = Instant::now();
        let column = set.keys().last().map(ToOwned::to_owned);
        self.entity_set(set).select(column).top(1).send::<serde::de::IgnoredAny>().await?;
        Ok(Ping { elapsed: begun.elapsed() })
    }

    /// Any other request below the root address, with the same identity, retry and errors as all others. `path` may
    /// have a query, for example `api/v2/efx/EPIC06/Library/Function`.
    pub fn request(&self, method: Method, path: impl Into<String>) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, path.into())
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn settings(&self) -> Option<&CallSettings> {
        self.settings.as_deref()
    }

    pub(crate) fn assemble(shared: Shared, company: Arc<str>, settings: CallSettings) -> Self {
        Self { shared: Arc::new(shared), company, settings: (!settings.is_empty()).then(|| Arc::new(settings)) }
    }

    pub(crate) fn checked_company(company: &str) -> Result<Arc<str>> {
        let company = company.trim();
        if company.is_empty() {
            return Err(Error::config("choose company", "the company is missing; use its id, for example EPIC06"));
        }
        crate::address::check_segment("choose company", "company", company)?;
        Ok(Arc::from(company))
    }

    /// `{root}/api/v2/odata/{company}/…`, each part encoded as one segment.
    pub(crate) fn odata_url(&self, operation: &str, segments: &[&str]) -> Result<Url> {
        let mut path = format!("api/v2/odata/{}", crate::address::segment(&self.company));
        for segment in segments {
            crate::address::check_segment(operation, "name in the address", segment)?;
            path.push('/');
            path.push_str(&crate::address::segment(segment));
        }
        self.join(operation, &path)
    }

    /// A path below the root, as it is. What leads out of the root's origin is refused: key and identity go along.
    pub(crate) fn join(&self, operation: &str, path: &str) -> Result<Url> {
        let url = self
            .shared
            .root
            .join(path.strip_prefix('/').unwrap_or(path))
            .map_err(|_| Error::config(operation.to_owned(), "the path cannot be part of an address; check it"))?;
        if url.origin() != self.shared.root.origin() || !url.path().starts_with(self.shared.root.path()) {
            return Err(Error::config(
                operation.to_owned(),
                "the path leads away from the root address; give it relative to the root",
            ));
        }
        Ok(url)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("root", &self.shared.root.as_str())
            .field("company", &self.company)
            .field("credential", &self.shared.credential)
            .finish_non_exhaustive()
    }
}
