//! Methods of business objects: `POST {root}/api/v2/odata/{company}/{service}/{method}`.
//!
//! One generic call for all of them, in the shape observed everywhere: parameters as one JSON object, the answer as
//! `{"returnObj": …, "parameters": {…}}`, either part of which may be missing.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::client::Client;
use crate::error::{Error, Result, ServiceError};
use crate::exchange::Call;
use crate::raw::Response;

/// A service and its methods. Made by [`Client::service`].
#[derive(Clone, Debug)]
pub struct Service {
    client: Client,
    name: String,
}

impl Service {
    pub(crate) fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// The name, for example `Erp.BO.APInvoiceSvc`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a call of a method.
    pub fn method(&self, name: impl Into<String>) -> MethodCall {
        MethodCall {
            client: self.client.clone(),
            service: self.name.clone(),
            method: name.into(),
            parameters: Ok(b"{}".to_vec()),
            idempotent: false,
        }
    }

    /// Calls a method that may change something: it is never sent again once its answer is unknown.
    ///
    /// # Errors
    /// As [`MethodCall::send`].
    pub async fn call(
        &self,
        method: impl Into<String> + Send,
        parameters: &(impl Serialize + Sync + ?Sized),
    ) -> Result<MethodResponse> {
        self.method(method).parameters(parameters).send().await
    }

    /// Calls a method that only reads, such as `GetByID`, `GetRows` or `GetList`: it is sent again when its answer was
    /// lost.
    ///
    /// # Errors
    /// As [`MethodCall::send`].
    pub async fn read(
        &self,
        method: impl Into<String> + Send,
        parameters: &(impl Serialize + Sync + ?Sized),
    ) -> Result<MethodResponse> {
        self.method(method).parameters(parameters).idempotent().send().await
    }
}

/// A method call in the making.
#[must_use = "a method call does nothing until it is sent"]
#[derive(Clone)]
pub struct MethodCall {
    client: Client,
    service: String,
    method: String,
    parameters: Result<Vec<u8>, String>,
    idempotent: bool,
}

impl MethodCall {
    /// The parameters, as anything that serialises to a JSON object. Names are those of the method and case-sensitive.
    pub fn parameters(mut self, parameters: &(impl Serialize + ?Sized)) -> Self {
        self.parameters = serde_json::to_vec(parameters).map_err(|error| crate::raw::describe(&error));
        self
    }

    /// A JSON object that is written already, so that no number passes through a value tree.
    pub(crate) fn raw_parameters(mut self, body: Vec<u8>) -> Self {
        self.parameters = Ok(body);
        self
    }

    /// Says that repeating the call is harmless. Only true of methods that read.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Calls the method.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when a business rule refused, and also when the server
    /// answered 200 but says inside that it saved nothing (`errorsOccurred`, `requiresUserInput`, `lUpdateRan`);
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when the rows have changed in the meantime. After an error
    /// with [`Delivery::Unknown`](crate::Delivery::Unknown) the change may have been made: read before calling again.
    pub async fn send(self) -> Result<MethodResponse> {
        let operation = format!("call {}.{}", self.service, self.method);
        check_service(&self.service)?;
        if self.method.is_empty() || !self.method.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(Error::config(operation, "the method name is malformed; take it from the metadata"));
        }
        let body = self.parameters.map_err(|why| {
            Error::config(
                operation.clone(),
                format!("the parameters cannot be written as JSON: {why}; check their type"),
            )
        })?;
        if body.first() != Some(&b'{') {
            return Err(Error::config(operation, "the parameters are no JSON object; give a map or a struct"));
        }
        let url = self.client.odata_url(&operation, &[&self.service, &self.method])?;
        let call = Call::post_json(operation, url, body, self.idempotent);
        let response = self.client.execute(&call).await?;
        MethodResponse::read(&response)
    }
}

impl std::fmt::Debug for MethodCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MethodCall")
            .field("service", &self.service)
            .field("method", &self.method)
            .field("idempotent", &self.idempotent)
            .finish_non_exhaustive()
    }
}

/// What a method answered.
///
/// The two values are convenient, but hold numbers as `f64`, which has about 15 digits. Where longer decimals matter,
/// [`MethodResponse::return_obj_as`] and [`MethodResponse::parameter_as`] decode from the body's own text.
#[derive(Clone)]
#[non_exhaustive]
pub struct MethodResponse {
    /// `returnObj`: the return value; a tableset for methods that get. `Null` when there was none.
    pub return_obj: Value,
    /// `parameters`: the output parameters, such as `ds`. Empty when there were none.
    pub parameters: Map<String, Value>,
    operation: String,
    body: Bytes,
}

#[derive(Default, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, rename = "returnObj")]
    return_obj: Option<&'a RawValue>,
    #[serde(borrow, default)]
    parameters: Option<std::collections::BTreeMap<String, &'a RawValue>>,
}

#[derive(Default, Deserialize)]
struct Values {
    #[serde(default, rename = "returnObj")]
    return_obj: Value,
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
}

impl MethodResponse {
    fn read(response: &Response) -> Result<Self> {
        let values: Values =
            if response.body().trim_ascii().is_empty() { Values::default() } else { response.json()? };
        let parameters = values.parameters.unwrap_or_default();
        refuse_failure_inside(response, &values.return_obj, &parameters)?;
        Ok(Self {
            return_obj: values.return_obj,
            parameters,
            operation: response.operation().to_owned(),
            body: response.body().clone(),
        })
    }

    /// The answer as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The return value as `T`, decoded from the body's own text.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it does not fit.
    pub fn return_obj_as<T: DeserializeOwned>(&self) -> Result<T> {
        let envelope = self.envelope()?;
        self.decode("returnObj", envelope.return_obj)
    }

    /// An output parameter as `T`, decoded from the body's own text.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it is missing or does not fit.
    pub fn parameter_as<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let envelope = self.envelope()?;
        let value = envelope.parameters.as_ref().and_then(|parameters| parameters.get(name).copied());
        self.decode(name, value)
    }

    fn envelope(&self) -> Result<Envelope<'_>> {
        if self.body.trim_ascii().is_empty() {
            return Ok(Envelope::default());
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::decode(self.operation.clone(), crate::raw::describe(&error)))
    }

    fn decode<T: DeserializeOwned>(&self, name: &str, value: Option<&RawValue>) -> Result<T> {
        serde_json::from_str(value.map_or("null", RawValue::get)).map_err(|error| {
            let why = crate::raw::describe(&error);
            Error::decode(self.operation.clone(), format!("{name} does not fit its type: {why}"))
                .with_hint("compare the type with the method's documentation")
        })
    }
}

impl std::fmt::Debug for MethodResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The rows are business data and stay out.
        f.debug_struct("MethodResponse")
            .field("operation", &self.operation)
            .field("parameters", &self.parameters.keys().collect::<Vec<_>>())
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Output parameters in which methods say what is wrong, without failing.
const MESSAGES: [&str; 6] = ["opMessage", "opMsgChkBankRef", "opChkRevMsg", "opDUAMsg", "confirmMsg", "cMessageText"];

/// A 200 is not yet a success: `UpdateExt` and `UpdateMaster` report failure in their output parameters.
fn refuse_failure_inside(response: &Response, returned: &Value, parameters: &Map<String, Value>) -> Result<()> {
    let is = |name: &str, value: bool| parameters.get(name).and_then(Value::as_bool) == Some(value);
    let reason = if is("errorsOccurred", true) {
        "the server reports errors in some rows (errorsOccurred)"
    } else if is("requiresUserInput", true) {
        "the server asks a question instead of saving (requiresUserInput)"
    } else if is("lUpdateRan", false) {
        "the server did not save (lUpdateRan is false)"
    } else {
        return Ok(());
    };
    let messages: Vec<&str> = MESSAGES
        .iter()
        .filter_map(|name| parameters.get(*name).and_then(Value::as_str))
        .filter(|message| !message.trim().is_empty())
        .collect();
    let rows = returned.get("BOUpdError").unwrap_or(&Value::Null);
    let service = ServiceError::from_outcome(&messages, rows, response.scrubber());
    Err(Error::refused_inside(response.operation().to_owned(), response.status(), reason, service))
}

pub(crate) fn check_service(name: &str) -> Result<()> {
    let sound = !name.is_empty()
        && name.len() <= 200
        && name.split('.').all(|part| {
            part.chars().next().is_some_and(|first| first.is_ascii_alphabetic())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
    if sound {
        return Ok(());
    }
    Err(Error::config("name a service", "the service name is malformed; it looks like Erp.BO.VendorSvc"))
}
