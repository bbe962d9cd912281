//! One request as it is repeated until it succeeds or fails for good, and its answer.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, response};
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::address;
use crate::error::{Delivery, Error, ErrorKind, Fate, Result};
use crate::transport::Body;
use crate::version::ApiVersion;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Whose session a request travels with, and below what it is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// No session. The version is the negotiated one unless it is given.
    Open(Option<ApiVersion>),
    /// With a session, below the site.
    Site,
    /// With a session, below the version.
    Server,
}

#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) method: Method,
    pub(crate) scope: Scope,
    /// Encoded already, without a slash in front.
    pub(crate) path: String,
    /// Encoded already, without the question mark.
    pub(crate) query: String,
    pub(crate) accept: HeaderValue,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether repeating it is harmless: a property of the operation, not of the verb.
    pub(crate) idempotent: bool,
    /// Whether it moves a file, or makes the server do so, and may take long.
    pub(crate) long: bool,
    /// Whether the body of the answer is handed on while it arrives.
    pub(crate) streamed: bool,
    /// A secret in the body that is not one of the client's own, so that it can be cut out of errors.
    pub(crate) secret: Option<SecretString>,
}

impl Call {
    pub(crate) fn new(operation: impl Into<String>, method: Method, scope: Scope, segments: &[&str]) -> Result<Self> {
        let operation = operation.into();
        let mut path = String::new();
        for segment in segments {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&address::segment(&operation, segment)?);
        }
        let idempotent = method == Method::GET;
        Ok(Self {
            operation,
            method,
            scope,
            path,
            query: String::new(),
            accept: JSON,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            idempotent,
            long: false,
            streamed: false,
            secret: None,
        })
    }

    pub(crate) fn get(operation: impl Into<String>, segments: &[&str]) -> Result<Self> {
        Self::new(operation, Method::GET, Scope::Site, segments)
    }

    pub(crate) fn put(operation: impl Into<String>, segments: &[&str]) -> Result<Self> {
        Self::new(operation, Method::PUT, Scope::Site, segments)
    }

    /// Deleting what is gone already is fine, so that it may be repeated; see [`gone_is_fine`].
    pub(crate) fn delete(operation: impl Into<String>, segments: &[&str]) -> Result<Self> {
        Self::new(operation, Method::DELETE, Scope::Site, segments).map(|call| call.idempotent(true))
    }

    pub(crate) fn post(operation: impl Into<String>, segments: &[&str]) -> Result<Self> {
        Self::new(operation, Method::POST, Scope::Site, segments)
    }

    #[must_use]
    pub(crate) fn json(self, body: &impl Serialize) -> Self {
        // The bodies are our own structures of texts and numbers; they always become JSON.
        self.body(JSON, serde_json::to_vec(body).unwrap_or_default())
    }

    #[must_use]
    pub(crate) fn body(mut self, kind: HeaderValue, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, kind);
        self.body = body.into();
        self
    }

    /// Adds a query parameter; the value is encoded here.
    #[must_use]
    pub(crate) fn query(self, name: &str, value: &str) -> Self {
        self.encoded_query(name, &address::value(value))
    }

    /// Adds a query parameter whose value is encoded already.
    #[must_use]
    pub(crate) fn encoded_query(mut self, name: &str, value: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(name);
        self.query.push('=');
        self.query.push_str(value);
        self
    }

    #[must_use]
    pub(crate) fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    #[must_use]
    pub(crate) fn long(mut self) -> Self {
        self.long = true;
        self
    }
}

/// An answer that is a success.
pub(crate) struct Answer {
    pub(crate) operation: String,
    pub(crate) idempotent: bool,
    pub(crate) attempts: u32,
    pub(crate) head: response::Parts,
    pub(crate) body: Bytes,
    /// Set instead of `body` when the call is streamed.
    pub(crate) stream: Option<Body>,
}

impl Answer {
    pub(crate) fn value(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|error| self.not_json(&error))
    }

    /// The member `name` of the answer, as `T`.
    pub(crate) fn member<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let mut value = self.value()?;
        let member = value.get_mut(name).map(Value::take).unwrap_or_default();
        self.read(member)
    }

    pub(crate) fn read<T: DeserializeOwned>(&self, value: Value) -> Result<T> {
        serde_json::from_value(value).map_err(|error| self.not_json(&error))
    }

    /// The answer holds what it should not, or lacks what it should hold.
    pub(crate) fn unfit(&self, message: impl Into<String>) -> Error {
        let error = Error::decode(self.operation.clone(), message);
        if self.idempotent {
            return error.with_hint("check the server address: a proxy may have answered instead of Tableau");
        }
        // The server said yes; what exactly it did must be looked up.
        error.with_delivery(Delivery::Unknown).for_unrepeatable()
    }

    /// The JSON library quotes values in its messages, so only the place is kept.
    pub(crate) fn not_json(&self, error: &serde_json::Error) -> Error {
        if self.body.trim_ascii_start().starts_with(b"<") {
            return self.unfit("the answer is a page or XML, not JSON");
        }
        match (error.line(), error.column()) {
            (0, _) => self.unfit("the answer lacks a field that belongs there"),
            (line, column) => {
                self.unfit(format!("the answer is not the expected JSON at line {line}, column {column}"))
            }
        }
    }
}

/// For errors that mean the thing asked for is gone, which is what a deletion wants whose earlier attempt may have done it.
pub(crate) fn gone_is_fine<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(error)
            if error.kind() == ErrorKind::NotFound
                && error.delivery() == Delivery::Unknown
                && error.fate() == Fate::Final =>
        {
            Ok(T::default())
        }
        other => other,
    }
}
