//! The one error type of the crate: what failed, whether the server may have acted on it, and what to do next.

mod classify;
mod scrub;
mod service;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

pub(crate) use scrub::Scrubber;
pub use service::{ErrorDetail, ServiceError};

use crate::transport::{TransportError, TransportErrorKind};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was; the thing to match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's settings or arguments cannot work: bad URL, bad name, bad combination.
    Config,
    /// The API key or the identity was not accepted.
    Auth,
    /// Known to the server, but not allowed to do this.
    Forbidden,
    /// The company, service, entity set, query or record does not exist.
    NotFound,
    /// The record exists already or was changed by somebody else in the meantime.
    Conflict,
    /// Too many requests, or no licence is free at the moment.
    Throttled,
    /// The server understood and refused: a business rule, a bad filter, an unknown column.
    Rejected,
    /// The server failed.
    Server,
    /// The network failed before a complete answer arrived.
    Transport,
    /// An answer arrived that does not mean what it should.
    Decode,
}

/// Whether the server may have acted on the request. Decides if a write can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The request never reached the server; nothing happened.
    NotSent,
    /// No complete answer arrived: the server may or may not have acted.
    Unknown,
    /// The server answered.
    Answered,
}

/// A failed operation.
///
/// `Display` is one line with the cause and the next step and never holds a secret, a body or a row value. What the
/// server itself said is in [`Error::service_error`], with the secrets of the request removed.
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
    /// The 401 may be about an outdated token, so a new one is worth one more try.
    StaleToken,
}

impl Error {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the server may have acted on the request.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// What was being done, for example `read Vendors` or `call Erp.BO.POSvc.Update`.
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

    /// What the server said about the failure, when it said it in a known form. May hold business data.
    pub fn service_error(&self) -> Option<&ServiceError> {
        self.0.service.as_ref()
    }

    /// The identifier to give to whoever reads the server's log.
    pub fn correlation_id(&self) -> Option<&str> {
        self.0.service.as_ref().and_then(|service| service.correlation_id.as_deref())
    }

    /// The beginning of an answer in no known form (a proxy's page, for example): at most 512 characters, with the
    /// secrets of the request removed. May hold business data.
    pub fn body_excerpt(&self) -> Option<&str> {
        self.0.excerpt.as_deref()
    }

    /// How long the server asked to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// How often the request was tried.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// For implementors of [`Credential`](crate::Credential): the credential could not be provided. The request it
    /// was meant for has not been sent. `message` must be one line without secrets.
    pub fn credential(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Auth, Delivery::NotSent, "authenticate", message.into())
            .with_hint("check the source of the credential")
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
            retry_after: None,
            attempts: 0,
            fate: Fate::Ordinary,
            source: None,
        }))
    }

    /// The caller's mistake, found before anything was sent. The message names the next step itself.
    pub(crate) fn config(operation: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, Delivery::NotSent, operation, message).with_fate(Fate::Final)
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
            TransportErrorKind::Timeout => {
                "raise the timeout, ask for fewer rows or columns, or look at the server's load"
            }
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
        let verdict = classify::classify(status, parsed.as_ref());
        let mut error = Self::new(verdict.kind, Delivery::Answered, operation, verdict.message).with_hint(verdict.hint);
        error.0.fate = verdict.fate;
        error.0.status = Some(status);
        error.0.retry_after = crate::retry::retry_after(headers);
        // A proxy that gave up waiting, or lost the server, does not know what the server did.
        if parsed.is_none() && matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
            error.0.delivery = Delivery::Unknown;
        }
        if parsed.is_none() {
            error.0.excerpt = service::excerpt(body, scrubber);
        }
        error.0.service = parsed;
        error
    }

    /// A 200 that says inside that nothing was saved.
    pub(crate) fn refused_inside(
        operation: impl Into<Cow<'static, str>>,
        status: StatusCode,
        message: impl Into<String>,
        service: ServiceError,
    ) -> Self {
        let mut error = Self::new(ErrorKind::Rejected, Delivery::Answered, operation, message)
            .with_hint("read the server's messages in the service error, correct the rows and call again")
            .with_fate(Fate::Final);
        error.0.status = Some(status);
        error.0.service = Some(service);
        error
    }

    #[must_use]
    pub(crate) fn with_message(mut self, message: String) -> Self {
        self.0.message = message;
        self
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

    /// The credential could not be provided, so the operation it was for has not been sent.
    #[must_use]
    pub(crate) fn before(mut self, operation: &str) -> Self {
        self.0.message = format!("{}: {}", self.0.operation, self.0.message);
        self.0.operation = Cow::Owned(operation.to_owned());
        self.0.delivery = Delivery::NotSent;
        self
    }

    /// A token service that does not know the client, whatever the status it says so with.
    #[must_use]
    pub(crate) fn into_refused_client(mut self) -> Self {
        self.0.kind = ErrorKind::Auth;
        "the token service does not accept the client id, its secret or the scope".clone_into(&mut self.0.message);
        self.with_hint("check id, secret and scope of the registered application").with_fate(Fate::Final)
    }

    /// Tells the caller of a write whose answer was lost how to find out.
    #[must_use]
    pub(crate) fn for_unrepeatable(mut self) -> Self {
        if self.0.delivery == Delivery::Unknown {
            self.0.hint =
                Some(Cow::Borrowed("the change may have been made: read the record again before you repeat the call"));
        }
        self
    }

    /// It would have been tried again, had not so many other calls failed before.
    #[must_use]
    pub(crate) fn without_budget(self) -> Self {
        if self.0.hint.is_some() {
            return self;
        }
        self.with_hint("not tried again, since the retry budget of the client is used up: the server fails often")
    }

    pub(crate) fn fate(&self) -> Fate {
        self.0.fate
    }
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
