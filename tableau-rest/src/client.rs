//! The client: one site of one server as one user, and the one way in which requests are sent.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_LENGTH, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use secrecy::ExposeSecret as _;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;

use crate::call::{Answer, Call, Scope};
use crate::config::ClientBuilder;
use crate::content::{Flows, Groups, Sites, Users, Views};
use crate::credentials::Credentials;
use crate::datasources::{Datasources, UpdateLocks};
use crate::error::{Delivery, Error, ErrorKind, Fate, Result, Scrubber};
use crate::ids::UserId;
use crate::jobs::Jobs;
use crate::projects::Projects;
use crate::raw::RequestBuilder;
use crate::retry::RetryPolicy;
use crate::schedules::Schedules;
use crate::session::{self, Live, Session, SessionCell};
use crate::tasks::Tasks;
use crate::trace;
use crate::transport::{Body, Transport, TransportError, TransportErrorKind};
use crate::uploads::Uploads;
use crate::version::{ApiVersion, ServerInfo};
use crate::webhooks::Webhooks;
use crate::wire;
use crate::workbooks::Workbooks;

/// No answer that is not a file is longer than this.
const LONGEST_ANSWER: usize = 128 * 1024 * 1024;
const AUTH: HeaderName = HeaderName::from_static("x-tableau-auth");

/// A client for one site of one Tableau server, or of Tableau Cloud.
///
/// Cheap to clone; all clones share connections and session. Signing in happens by itself with the first call that needs
/// it; [`sign_out`](Client::sign_out) is explicit.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) base: Url,
    pub(crate) site: String,
    pub(crate) credentials: Credentials,
    pub(crate) session: Arc<SessionCell>,
    pub(crate) wanted: ApiVersion,
    pub(crate) negotiated: OnceCell<ApiVersion>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) timeout: Duration,
    pub(crate) transfer_timeout: Duration,
    pub(crate) idle_limit: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) chunk_size: usize,
    pub(crate) updates: UpdateLocks,
}

impl Client {
    /// Begins a client for the server at `server_url`, for example `https://tableau.example.com` or
    /// `https://10ay.online.tableau.com`.
    pub fn builder(server_url: impl AsRef<str>) -> ClientBuilder {
        ClientBuilder::new(server_url.as_ref())
    }

    /// The address of the server, with a slash at its end.
    pub fn server_url(&self) -> &Url {
        &self.shared.base
    }

    /// The content url of the site; empty for the default site.
    pub fn site(&self) -> &str {
        &self.shared.site
    }

    /// Projects.
    pub fn projects(&self) -> Projects {
        Projects::new(self.clone())
    }

    /// Published datasources.
    pub fn datasources(&self) -> Datasources {
        Datasources::new(self.clone())
    }

    /// Workbooks.
    pub fn workbooks(&self) -> Workbooks {
        Workbooks::new(self.clone())
    }

    /// Files on their way up, block by block.
    pub fn uploads(&self) -> Uploads {
        Uploads::new(self.clone())
    }

    /// Views, to read.
    pub fn views(&self) -> Views {
        Views::new(self.clone())
    }

    /// Users, to read.
    pub fn users(&self) -> Users {
        Users::new(self.clone())
    }

    /// Groups, to read.
    pub fn groups(&self) -> Groups {
        Groups::new(self.clone())
    }

    /// Sites, to read.
    pub fn sites(&self) -> Sites {
        Sites::new(self.clone())
    }

    /// Flows and their runs, to read.
    pub fn flows(&self) -> Flows {
        Flows::new(self.clone())
    }

    /// Schedules of a Tableau Server.
    pub fn schedules(&self) -> Schedules {
        Schedules::new(self.clone())
    }

    /// Webhooks.
    pub fn webhooks(&self) -> Webhooks {
        Webhooks::new(self.clone())
    }

    /// Extract refresh tasks.
    pub fn tasks(&self) -> Tasks {
        Tasks::new(self.clone())
    }

    /// Background jobs.
    pub fn jobs(&self) -> Jobs {
        Jobs::new(self.clone())
    }

    /// Any other request below the site, with the same session, retry and errors as all others. `path` may have a
    /// query, for example `views?pageSize=10`, and must be encoded.
    pub fn request(&self, method: Method, path: impl Into<String>) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, path.into())
    }

    /// Signs in, unless there is a session that can be used, and says who one is then. Needed only to find out early;
    /// every other call signs in by itself. After the server has refused the credentials (401001), this is the only call
    /// that tries them again.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`] when the server does not accept the credentials, and everything that can go wrong between
    /// here and the server.
    pub async fn sign_in(&self) -> Result<Session> {
        self.live(true).await.map(|live| live.session.clone())
    }

    /// Who one is signed in as; signs in when there is no session.
    ///
    /// # Errors
    /// As [`Client::sign_in`].
    pub async fn session(&self) -> Result<Session> {
        self.live(false).await.map(|live| live.session.clone())
    }

    /// Ends the session, if there is one. A session that has ended already is fine. The next call signs in again.
    ///
    /// # Errors
    /// When the server could not be told; the session is forgotten here all the same.
    pub async fn sign_out(&self) -> Result<()> {
        let Some(live) = self.shared.session.take() else {
            return Ok(());
        };
        let call = Call::new("sign out", Method::POST, Scope::Server, &["auth", "signout"])?.idempotent(true);
        match self.repeat(&call, Some(live)).await {
            Ok(_) => Ok(()),
            Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Goes to another site with the same session, and answers the client for it. The session at the site before ends; this
    /// client and its clones would have to sign in again, and with a personal access token end the new one by that. Server
    /// only: on Cloud make a client for each site.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`] when the user has no access there (401003), [`ErrorKind::Rejected`] when it is the site one is
    /// at (403070), and everything that can go wrong between here and the server.
    pub async fn switch_site(self, content_url: &str) -> Result<Self> {
        let call = Call::new("switch site", Method::POST, Scope::Server, &["auth", "switchSite"])?
            .json(&serde_json::json!({ "site": { "contentUrl": content_url } }));
        let answer = self.run(&call).await?;
        let live = Live::read(&answer.value()?, content_url)
            .ok_or_else(|| answer.unfit("the answer to the switch lacks token, site or user"))?;
        self.shared.session.take();
        let shared = &self.shared;
        let session = session::switched(shared.base.as_str(), content_url, &shared.credentials, live);
        Ok(Self {
            shared: Arc::new(Shared {
                base: shared.base.clone(),
                site: content_url.to_owned(),
                credentials: shared.credentials.clone(),
                session,
                wanted: shared.wanted,
                negotiated: shared.negotiated.clone(),
                transport: Arc::clone(&shared.transport),
                timeout: shared.timeout,
                transfer_timeout: shared.transfer_timeout,
                idle_limit: shared.idle_limit,
                retry: shared.retry,
                chunk_size: shared.chunk_size,
                updates: UpdateLocks::default(),
            }),
        })
    }

    /// Asks the server whether the session is alive, and as whom. Signs in when there is none.
    ///
    /// # Errors
    /// As [`Client::sign_in`].
    pub async fn check_session(&self) -> Result<UserId> {
        let call = Call::new("read session", Method::GET, Scope::Server, &["sessions", "current"])?;
        let answer = self.run(&call).await?;
        let value = answer.value()?;
        let user = value.get("session").and_then(|session| session.get("user")).and_then(|user| user.get("id"));
        wire::text(user).map(UserId::from).ok_or_else(|| answer.unfit("the answer names no user"))
    }

    /// What the server says about itself. Needs no session.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is no Tableau server at the address, and everything that can go wrong between
    /// here and there.
    pub async fn server_info(&self) -> Result<ServerInfo> {
        let mut unknown = None;
        // A server answers at every version it knows, so one that knows ours needs one question only.
        for version in [self.shared.wanted.max(ApiVersion::FLOOR), ApiVersion::FLOOR] {
            let scope = Scope::Open(Some(version));
            let call = Call::new("read server info", Method::GET, scope, &["serverinfo"])?;
            match self.run(&call).await {
                Ok(answer) => {
                    return ServerInfo::read(&answer.value()?)
                        .ok_or_else(|| answer.unfit("the answer names no version of the interface"));
                }
                Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => unknown = Some(error),
                Err(error) => return Err(error),
            }
        }
        let error = unknown.unwrap_or_else(|| Error::config("read server info", "there is no version to ask for"));
        Err(error.with_kind(ErrorKind::Config).with_hint("check the server address: no Tableau server answers there"))
    }

    /// The version of the interface in use: the one asked for, or the server's if that is lower.
    ///
    /// # Errors
    /// As [`Client::server_info`].
    pub async fn api_version(&self) -> Result<ApiVersion> {
        let found = self.shared.negotiated.get_or_try_init(|| async {
            self.server_info().await.map(|info| info.rest_api_version.min(self.shared.wanted))
        });
        found.await.copied()
    }

    /// The session, signed in if need be. Boxed, since signing in sends a request itself.
    fn live(&self, again: bool) -> BoxFuture<'_, Result<Arc<Live>>> {
        let shared = &self.shared;
        async move { shared.session.live(shared.idle_limit, again, self.sign_in_now().boxed()).await }.boxed()
    }

    async fn sign_in_now(&self) -> Result<Live> {
        let credentials = &self.shared.credentials;
        if credentials.is_unified() {
            self.require("sign in with a unified access token", ApiVersion::UNIFIED_TOKENS).await?;
        }
        let (body, secret) = credentials.body(&self.shared.site).await?;
        let mut call = Call::new("sign in", Method::POST, Scope::Open(None), &["auth", "signin"])?
            .json(&body)
            .idempotent(credentials.is_repeatable());
        call.secret = secret;
        let answer = self.run(&call).await.map_err(|error| match error.code() {
            Some("401001" | "401009") => error.with_hint(credentials.hint()),
            _ => error,
        })?;
        let value = answer.value()?;
        Live::read(&value, &self.shared.site)
            .ok_or_else(|| answer.unfit("the answer to the sign-in lacks token, site or user"))
    }

    /// Sends a call, again if that can help, until it succeeds or fails for good.
    pub(crate) async fn run(&self, call: &Call) -> Result<Answer> {
        trace::call(&call.operation, self.repeat(call, None)).await
    }

    /// `fixed` is a session that is to be used as it is and not renewed.
    async fn repeat(&self, call: &Call, fixed: Option<Arc<Live>>) -> Result<Answer> {
        let begun = Instant::now();
        let (mut attempts, mut renewed, mut lost) = (0_u32, false, false);
        loop {
            attempts = attempts.saturating_add(1);
            let live = match (&fixed, call.scope) {
                (Some(live), _) => Some(Arc::clone(live)),
                (None, Scope::Open(_)) => None,
                (None, Scope::Site | Scope::Server) => {
                    let live = self.live(false).await;
                    Some(live.map_err(|error| error.before(&call.operation).after_lost(lost))?)
                }
            };
            let error = match self.attempt(call, live.as_deref()).await {
                Ok(mut answer) => {
                    if let Some(live) = &live {
                        live.touch();
                    }
                    answer.attempts = attempts;
                    return Ok(answer);
                }
                Err(error) => error,
            };
            trace::failed(&error, attempts);
            if let Some(live) = live.filter(|_| fixed.is_none() && error.fate() == Fate::StaleToken) {
                self.shared.session.invalidate(&live);
                if renewed {
                    return Err(self.evicted(error).with_attempts(attempts).after_lost(lost));
                }
                // Refused before anything was done, so that even a change may go out again.
                renewed = true;
                trace::session_lost();
                continue;
            }
            let Some(delay) = self.shared.retry.delay(&error, call.idempotent, attempts, begun.elapsed()) else {
                let error = error.with_attempts(attempts).after_lost(lost);
                return Err(if call.idempotent { error } else { error.for_unrepeatable() });
            };
            // For a read it does not matter what became of it.
            lost |= call.method != Method::GET && error.delivery() == Delivery::Unknown;
            trace::repeated(&call.operation);
            tokio::time::sleep(delay).await;
        }
    }

    /// A new session was refused as well.
    fn evicted(&self, error: Error) -> Error {
        if matches!(self.shared.credentials, Credentials::PersonalAccessToken { .. }) {
            return error.with_hint(
                "a personal access token has one session at a time: another process that signs in with the same token ends \
                 ours; give each process a token of its own",
            );
        }
        error.with_hint("the server ends sessions at once; check its clock and session settings")
    }

    async fn attempt(&self, call: &Call, live: Option<&Live>) -> Result<Answer> {
        let version = match call.scope {
            Scope::Open(Some(version)) => version,
            _ => self.negotiated().await.map_err(|error| error.before(&call.operation))?,
        };
        let request = self.assemble(call, version, live)?;
        let sent = request.headers().clone();
        let limit = if call.long { self.shared.transfer_timeout } else { self.shared.timeout };
        let fail = |error: TransportError| Error::transport(call.operation.clone(), error);
        let whole = async {
            let answer = self.shared.transport.send(request).await?;
            let (head, body) = answer.into_parts();
            if call.streamed && head.status.is_success() {
                return Ok((head, Bytes::new(), Some(body)));
            }
            let body = body.collect(LONGEST_ANSWER).await?;
            Ok((head, body, None))
        };
        let (head, body, stream) = tokio::time::timeout(limit, whole)
            .await
            .unwrap_or_else(|_| Err(TransportError::new(TransportErrorKind::Timeout)))
            .and_then(|answer| complete(call, answer))
            .map_err(fail)?;
        if head.status.is_success() {
            let (operation, idempotent) = (call.operation.clone(), call.idempotent);
            return Ok(Answer { operation, idempotent, attempts: 1, head, body, stream });
        }
        let mut scrubber: Scrubber = self.shared.credentials.scrubber();
        scrubber.add_headers(&sent);
        if let Some(secret) = &call.secret {
            scrubber.add(secret.expose_secret());
        }
        let error = Error::response(call.operation.clone(), head.status, &head.headers, &body, &scrubber);
        Err(if head.status.is_redirection() { self.redirected(error, &head.headers) } else { error })
    }

    /// The secrets of this client and of its session.
    pub(crate) fn scrubber(&self) -> Scrubber {
        let mut scrubber = self.shared.credentials.scrubber();
        if let Some(live) = self.shared.session.current() {
            scrubber.add(&String::from_utf8_lossy(live.token.as_bytes()));
        }
        scrubber
    }

    /// Boxed, since asking for the version sends a request itself.
    fn negotiated(&self) -> BoxFuture<'_, Result<ApiVersion>> {
        self.api_version().boxed()
    }

    fn redirected(&self, error: Error, headers: &HeaderMap) -> Error {
        let target = headers
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| self.shared.base.join(location).ok());
        match target.as_ref().and_then(|target| Some((target.scheme(), target.host_str()?))) {
            Some((scheme, host)) => error.with_hint(format!(
                "the server points to {scheme}://{host}; use that as server address, if it is the right one"
            )),
            None => error,
        }
    }

    fn assemble(&self, call: &Call, version: ApiVersion, live: Option<&Live>) -> Result<Request<Bytes>> {
        let mut address = format!("{}api/{version}/", self.shared.base);
        if let (Scope::Site, Some(live)) = (call.scope, live) {
            address.push_str("sites/");
            address.push_str(&crate::address::segment(&call.operation, live.session.site_id.as_str())?);
            address.push('/');
        }
        address.push_str(&call.path);
        if !call.query.is_empty() {
            address.push('?');
            address.push_str(&call.query);
        }
        let uri: Uri = address.parse().map_err(|_| {
            Error::config(call.operation.clone(), "the address is too long or malformed; shorten the filter")
        })?;
        let mut request = Request::new(call.body.clone());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.clone_from(&call.headers);
        headers.insert(ACCEPT, call.accept.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("tableau-rest/", env!("CARGO_PKG_VERSION"))));
        if call.body.is_empty() && matches!(call.method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if let Some(live) = live {
            headers.insert(AUTH, live.token.clone());
        }
        Ok(request)
    }
}

type Parts = (http::response::Parts, Bytes, Option<Body>);

/// Refuses a body that is shorter or longer than its head promised; not every transport checks that.
fn complete(call: &Call, answer: Parts) -> Result<Parts, TransportError> {
    let (head, body, stream) = &answer;
    let bodiless = call.method == Method::HEAD
        || stream.is_some()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || head.headers.contains_key(http::header::CONTENT_ENCODING);
    let promised =
        head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse::<usize>().ok());
    match promised {
        Some(length) if !bodiless && length != body.len() => Err(TransportError::new(TransportErrorKind::Truncated)),
        _ => Ok(answer),
    }
}

impl Client {
    /// Refuses what the server is too old for, before anything is sent.
    pub(crate) async fn require(&self, operation: &str, least: ApiVersion) -> Result<()> {
        let version = self.api_version().await.map_err(|error| error.before(operation))?;
        if version >= least {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            Delivery::NotSent,
            operation.to_owned(),
            format!("it needs version {least} of the interface{}, and {version} is in use", least.release()),
        )
        .with_hint("update the server, or raise the version asked for")
        .with_fate(Fate::Final))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server_url", &self.shared.base.as_str())
            .field("site", &self.shared.site)
            .field("credentials", &self.shared.credentials)
            .field("api_version", &self.shared.wanted)
            .finish_non_exhaustive()
    }
}
