//! A transport that answers from a closure and remembers what it was asked.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use epicor_kinetic::{Client, ClientBuilder, Transport, TransportError};
use http::{Request, Response};

pub(crate) type Answer = Result<Response<Bytes>, TransportError>;

pub(crate) struct Fake<F> {
    answer: F,
    log: Arc<Log>,
}

#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<Request<Bytes>>>);

impl Log {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn last(&self) -> Request<Bytes> {
        self.0.lock().unwrap().last().expect("a request").clone()
    }

    /// A header of each request.
    pub(crate) fn headers(&self, name: &str) -> Vec<Option<String>> {
        let log = self.0.lock().unwrap();
        log.iter().map(|request| Some(request.headers().get(name)?.to_str().unwrap().to_owned())).collect()
    }

    /// The decoded pairs of the query of each request.
    pub(crate) fn queries(&self) -> Vec<Vec<(String, String)>> {
        self.0.lock().unwrap().iter().map(query).collect()
    }
}

impl<F> fmt::Debug for Fake<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

#[async_trait]
impl<F> Transport for Fake<F>
where
    F: Fn(usize, &Request<Bytes>) -> Answer + Send + Sync + 'static,
{
    async fn send(&self, request: Request<Bytes>) -> Answer {
        let number = {
            let mut log = self.log.0.lock().unwrap();
            log.push(request.clone());
            log.len()
        };
        (self.answer)(number, &request)
    }
}

pub(crate) fn builder<F>(answer: F) -> (ClientBuilder, Arc<Log>)
where
    F: Fn(usize, &Request<Bytes>) -> Answer + Send + Sync + 'static,
{
    let log = Arc::new(Log::default());
    let fake = Fake { answer, log: Arc::clone(&log) };
    let builder = Client::builder("https://erp.example.com/live")
        .company("EPIC06")
        .api_key("CANARY-KEY-1")
        .basic("svc", "CANARY-PASS-1")
        .transport(Arc::new(fake));
    (builder, log)
}

/// A client whose requests are answered by `answer(number of the request, request)`.
pub(crate) fn client<F>(answer: F) -> (Client, Arc<Log>)
where
    F: Fn(usize, &Request<Bytes>) -> Answer + Send + Sync + 'static,
{
    let (builder, log) = builder(answer);
    (builder.build().unwrap(), log)
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where a transport's answer is wanted")]
pub(crate) fn answer(status: u16, body: impl Into<String>) -> Answer {
    let mut response = Response::new(Bytes::from(body.into()));
    *response.status_mut() = status.try_into().unwrap();
    Ok(response)
}

pub(crate) fn rows(rows: &[serde_json::Value]) -> Answer {
    answer(200, serde_json::json!({ "@odata.context": "x", "value": rows }).to_string())
}

pub(crate) fn failure(status: u16, message: &str, class: &str) -> Answer {
    let body = serde_json::json!({
        "HttpStatus": status, "ReasonPhrase": "REST API Exception", "ErrorMessage": message, "ErrorType": class
    });
    answer(status, body.to_string())
}

pub(crate) fn query(request: &Request<Bytes>) -> Vec<(String, String)> {
    let url = url::Url::parse(&request.uri().to_string()).unwrap();
    url.query_pairs().into_owned().collect()
}

pub(crate) fn option(request: &Request<Bytes>, name: &str) -> Option<String> {
    query(request).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

pub(crate) fn number(request: &Request<Bytes>, name: &str) -> Option<usize> {
    option(request, name).map(|value| value.parse().unwrap())
}
