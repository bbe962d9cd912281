//! What can go wrong, by kind, and whether the server may have acted before it did.

mod classify;
mod scrub;
mod service;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

pub(crate) use self::scrub::Scrubber;
use self::service::ServiceError;
use crate::transport::{TransportError, TransportErrorKind};

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting or an argument cannot work.
    Config,
    /// A local file could not be read or written.
    File,
    /// The identity is not accepted, or the session has ended.
    Auth,
    /// The user may not do this.
    Forbidden,
    /// The site, project, datasource, job or upload does not exist or is not visible.
    NotFound,
    /// It conflicts with the state on the server.
    Conflict,
    /// Something of this name exists already.
    AlreadyExists,
    /// The same refresh is queued or running (409093).
    AlreadyQueued,
    /// Another update of the datasource's data is queued or running (409094).
    UpdateInProgress,
    /// There is nothing to refresh it from: a bare extract or a live connection (403104, 409090).
    NoUpstream,
    /// Too large for one call.
    PayloadTooLarge,
    /// Too many requests, or a quota is used up.
    Throttled,
    /// The server or this datasource does not support it.
    Unsupported,
    /// The server refuses the request for another reason.
    Rejected,
    /// The server failed.
    Server,
    /// The exchange with the server failed.
    Transport,
    /// An answer arrived that does not mean what it should.
    Decode,
}

/// Whether the server may have acted on the request. Decides if a change can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The deciding request never reached the server; nothing has changed there.
    NotSent,
    /// No complete answer arrived, or it came from a gateway: the server may or may not have acted.
    Unknown,
    /// The server answered.
    Answered,
}

/// A failed operation.
///
/// `Display` is one line with the cause and the next step and never holds a secret, a body or a row value. What the
/// server itself said is in [`code`](Error::code), [`summary`](Error::summary) and [`detail`](Error::detail), cleaned
/// of the secrets of the client.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    delivery: Delivery,
    operation: Cow<'static, str>,
    message: String,
    hint: Option<Cow<'static, str>>,
    status: Option<StatusCode>,
    service: Option<ServiceError>,
    excerpt: Option<String>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    attempts: u32,
    fate: Fate,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What the retry loop must know beyond kind and delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Kind and delivery decide.
    Ordinary,
    /// Asking again would fail the same way.
    Final,
    /// The session has ended, so a new one is worth one more try.
    StaleToken,
}

/// No more characters of the server's own account than this go into a message.
const LONGEST_REASON: usize = 200;

impl Error {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the server may have acted on the request.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// What was being done, for example `publish datasource`.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The cause alone, without operation and next step.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What an operator can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The HTTP status, when the server answered.
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// Tableau's error code, for example `409093`. Newer parts of the interface use words.
    pub fn code(&self) -> Option<&str> {
        self.0.service.as_ref()?.code.as_deref()
    }

    /// Tableau's summary, in the language of the server.
    pub fn summary(&self) -> Option<&str> {
        self.0.service.as_ref()?.summary.as_deref()
    }

    /// Tableau's detail, in the language of the server. May name content of the site.
    pub fn detail(&self) -> Option<&str> {
        self.0.service.as_ref()?.detail.as_deref()
    }

    /// The beginning of an answer in no known form (a proxy's page, for example): at most 512 characters, cleaned of
    /// secrets.
    pub fn body_excerpt(&self) -> Option<&str> {
        self.0.excerpt.as_deref()
    }

    /// The identifier to give to whoever reads the server's log, when the answer named one.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// How long the server asked to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// How often the request was tried.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }
}

impl Error {
    pub(crate) fn new(
        kind: ErrorKind,
        delivery: Delivery,
        operation: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            kind,
            delivery,
            operation: operation.into(),
            message: message.into(),
            hint: None,
            status: None,
            service: None,
            excerpt: None,
            request_id: None,
            retry_after: None,
            attempts: 0,
            fate: Fate::Ordinary,
            source: None,
        }))
    }

    /// For a [`JwtSource`](crate::JwtSource) that has nothing to sign in with. The message must not hold secrets.
    pub fn credential(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Auth, Delivery::NotSent, "make jwt", message).with_fate(Fate::Final)
    }

    /// The caller's mistake, found before anything was sent. The message names the next step itself.
    pub(crate) fn config(operation: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, Delivery::NotSent, operation, message).with_fate(Fate::Final)
    }

    /// A local file that could not be used. The path is the caller's own and no secret.
    pub(crate) fn file(
        operation: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        cause: std::io::Error,
    ) -> Self {
        let mut error = Self::new(ErrorKind::File, Delivery::NotSent, operation, message).with_fate(Fate::Final);
        error.0.source = Some(Arc::new(cause));
        error
    }

    /// An answer that arrived whole and cannot be used.
    pub(crate) fn decode(operation: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Decode, Delivery::Answered, operation, message).with_fate(Fate::Final)
    }

    pub(crate) fn transport(operation: impl Into<Cow<'static, str>>, cause: TransportError) -> Self {
        let delivery = cause.delivery();
        let hint = match cause.kind() {
            TransportErrorKind::Connect => "check host name, port, network, proxy and the server's certificate",
            TransportErrorKind::Invalid => "check the address and the header values",
            TransportErrorKind::Timeout => "raise the timeout, or look at the server's load",
            TransportErrorKind::Redirected => "use the address that the server redirects to, if it is the right one",
            TransportErrorKind::Interrupted | TransportErrorKind::Truncated => {
                "check the network and any proxy between; reads may be repeated"
            }
        };
        let mut error = Self::new(ErrorKind::Transport, delivery, operation, cause.to_string()).with_hint(hint);
        if matches!(cause.kind(), TransportErrorKind::Invalid | TransportErrorKind::Redirected) {
            error.0.kind = ErrorKind::Config;
            error.0.fate = Fate::Final;
        }
        error.0.source = cause.into_source();
        error
    }

    /// An answer that is not a success.
    pub(crate) fn response(
        operation: impl Into<Cow<'static, str>>,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        scrubber: &Scrubber,
    ) -> Self {
        let parsed = ServiceError::parse(body, scrubber);
        let verdict = classify::classify(status, parsed.as_ref().and_then(|service| service.code.as_deref()));
        let mut message = scrubber.clean(&verdict.message);
        // What is wrong on the server itself, nobody but the server can tell.
        if let (ErrorKind::Server, Some(detail)) =
            (verdict.kind, parsed.as_ref().and_then(|service| service.detail.as_deref()))
        {
            message.push_str(": ");
            message.extend(detail.chars().take(LONGEST_REASON));
        }
        let mut error = Self::new(verdict.kind, verdict.delivery, operation, message)
            .with_hint(verdict.hint)
            .with_fate(verdict.fate);
        error.0.status = Some(status);
        error.0.retry_after = crate::retry::retry_after(headers);
        error.0.request_id = request_id(headers).map(|id| scrubber.clean(id));
        if parsed.is_none() {
            error.0.excerpt = service::excerpt(body, scrubber);
        }
        error.0.service = parsed;
        error
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_fate(mut self, fate: Fate) -> Self {
        self.0.fate = fate;
        self
    }

    #[must_use]
    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    #[must_use]
    pub(crate) fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = delivery;
        self
    }

    #[must_use]
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// A step that had to come first has failed, so the operation it was for has not been sent.
    #[must_use]
    pub(crate) fn before(mut self, operation: &str) -> Self {
        if self.0.operation != operation {
            self.0.message = format!("{}: {}", self.0.operation, self.0.message);
            self.0.operation = Cow::Owned(operation.to_owned());
        }
        self.0.delivery = Delivery::NotSent;
        self
    }

    /// An upload on its own changes nothing that anybody sees.
    #[must_use]
    pub(crate) fn of_upload(mut self, operation: &str) -> Self {
        if self.0.delivery == Delivery::Unknown {
            self.0.delivery = Delivery::NotSent;
        }
        self.0.message = format!("{}: {}", self.0.operation, self.0.message);
        self.0.operation = Cow::Owned(operation.to_owned());
        self
    }

    /// Tells the caller of a change whose answer was lost how to find out.
    #[must_use]
    pub(crate) fn for_unrepeatable(mut self) -> Self {
        if self.0.delivery == Delivery::Unknown {
            self.0.hint =
                Some(Cow::Borrowed("it may have been done: look at the state on the server before repeating it"));
        }
        self
    }

    /// `lost` says that an earlier attempt of the same change got no answer: it may have been done, whatever became of the last one.
    #[must_use]
    pub(crate) fn after_lost(mut self, lost: bool) -> Self {
        if lost && self.0.delivery != Delivery::Unknown {
            self.0.delivery = Delivery::Unknown;
            return self.for_unrepeatable();
        }
        self
    }

    pub(crate) fn fate(&self) -> Fate {
        self.0.fate
    }

    /// Whether the same question may be answered a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        self.0.fate == Fate::Ordinary
            && matches!(self.0.kind, ErrorKind::Transport | ErrorKind::Server | ErrorKind::Throttled)
    }
}

/// Tableau documents no such header; gateways and newer services send one of these (observed).
fn request_id(headers: &HeaderMap) -> Option<&str> {
    ["x-tableau-request-id", "x-request-id", "x-correlation-id"]
        .into_iter()
        .find_map(|name| headers.get(name)?.to_str().ok())
        .filter(|id| !id.is_empty() && id.len() <= 200)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)?;
        if self.0.attempts > 1 {
            write!(f, " after {} attempts", self.0.attempts)?;
        }
        match &self.0.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("delivery", &self.0.delivery)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("hint", &self.0.hint)
            .field("status", &self.0.status)
            .field("service_error", &self.0.service)
            .field("body_excerpt", &self.0.excerpt)
            .field("request_id", &self.0.request_id)
            .field("retry_after", &self.0.retry_after)
            .field("attempts", &self.0.attempts)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
