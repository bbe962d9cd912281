//! Answers, and errors in Epicor's own form.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::faults::plain;

/// A refusal, before it becomes an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// Whether the answer asks for Basic credentials.
    pub(crate) challenge: bool,
}

impl Failure {
    pub(crate) fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), challenge: false }
    }

    /// A query that cannot be answered as it is.
    pub(crate) fn query(message: impl Into<String>) -> Self {
        Self::new(400, "Microsoft.OData.ODataException", message)
    }

    pub(crate) fn unknown(what: &str) -> Self {
        Self::new(404, "Epicor.RESTApi.ErrorHandling.ApiException", format!("The resource '{what}' cannot be found."))
    }

    pub(crate) fn record_not_found() -> Self {
        Self::new(404, "Ice.Common.RecordNotFoundException", "Record not found.")
    }

    pub(crate) fn business(message: impl Into<String>) -> Self {
        Self::new(400, "Ice.Common.BusinessObjectException", message)
    }

    pub(crate) fn unauthorized(status: u16, message: impl Into<String>) -> Self {
        Self::new(status, "System.UnauthorizedAccessException", message)
    }

    pub(crate) fn body(&self) -> Json {
        json!({
            "HttpStatus": self.status,
            "ReasonPhrase": "REST API Exception",
            "ErrorMessage": self.message,
            "ErrorType": self.kind,
            "ErrorDetails": [{"Message": self.message, "Type": "Error"}],
            "CorrelationId": Uuid::new_v4().to_string(),
        })
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = plain(self.status, "application/json; charset=utf-8", self.body().to_string());
        if self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Epicor\""));
        }
        response
    }
}

/// What a request is answered with.
pub(crate) type Answer = Result<Response<Body>, Failure>;

pub(crate) fn ok(body: &Json) -> Response<Body> {
    plain(200, "application/json; charset=utf-8", body.to_string())
}
