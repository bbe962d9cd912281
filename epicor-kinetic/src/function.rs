//! Epicor Functions: `POST {root}/api/v2/efx/{company}/{library}/{function}`.
//!
//! Request and answer are flat JSON objects. Outputs that are null are left out of the answer, inputs that are missing
//! get their default, and unknown ones are ignored (observed).

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::Call;

/// A function call in the making. Made by [`Client::function`].
#[must_use = "a function call does nothing until it is sent"]
#[derive(Clone)]
pub struct FunctionCall {
    client: Client,
    library: String,
    function: String,
    inputs: Result<Vec<u8>, String>,
    staging: bool,
    idempotent: bool,
}

impl Client {
    /// Begins a call of a function of a library. The key's access scope must include the library.
    pub fn function(&self, library: impl Into<String>, function: impl Into<String>) -> FunctionCall {
        FunctionCall {
            client: self.clone(),
            library: library.into(),
            function: function.into(),
            inputs: Ok(b"{}".to_vec()),
            staging: false,
            idempotent: false,
        }
    }
}

impl FunctionCall {
    /// The inputs, as anything that serialises to a JSON object. The server ignores names that it does not know.
    pub fn inputs(mut self, inputs: &(impl Serialize + ?Sized)) -> Self {
        self.inputs = serde_json::to_vec(inputs).map_err(|error| crate::raw::describe(&error));
        self
    }

    /// Calls the version that is not published yet (`efx/staging`).
    pub fn staging(mut self) -> Self {
        self.staging = true;
        self
    }

    /// Says that repeating the call is harmless. Only true of functions that read.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Calls the function. What it reports inside of its outputs is its author's convention and not looked at here.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the function threw, [`ErrorKind::NotFound`] when it is not published or out of the
    /// key's scope; some releases answer so for a while although it is there (observed). After an error with
    /// [`Delivery::Unknown`](crate::Delivery::Unknown) it may have run.
    pub async fn send(self) -> Result<FunctionOutputs> {
        let operation = format!("call function {}.{}", self.library, self.function);
        for (what, name) in [("library", &self.library), ("function", &self.function)] {
            crate::address::check_segment(&operation, what, name)?;
        }
        let body = self.inputs.map_err(|why| {
            Error::config(operation.clone(), format!("the inputs cannot be written as JSON: {why}; check their type"))
        })?;
        if body.first() != Some(&b'{') {
            return Err(Error::config(operation, "the inputs are no JSON object; give a map or a struct"));
        }
        let segment = crate::address::segment;
        let path = format!(
            "api/v2/efx{}/{}/{}/{}",
            if self.staging { "/staging" } else { "" },
            segment(self.client.company()),
            segment(&self.library),
            segment(&self.function)
        );
        let url = self.client.join(&operation, &path)?;
        let call = Call::post_json(operation.clone(), url, body, self.idempotent);
        let response = self.client.execute(&call).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.with_hint(
                "check library, function and their case, that it is published, and that the access scope of the api \
                 key includes the library; some releases answer so for a while, then try again",
            ),
            _ => error,
        })?;
        response.refuse_html()?;
        Ok(FunctionOutputs { operation, body: response.into_body() })
    }
}

impl std::fmt::Debug for FunctionCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionCall")
            .field("library", &self.library)
            .field("function", &self.function)
            .field("staging", &self.staging)
            .finish_non_exhaustive()
    }
}

/// What a function answered.
#[derive(Clone)]
pub struct FunctionOutputs {
    operation: String,
    body: Bytes,
}

impl FunctionOutputs {
    /// An output as `T`. `Option<T>` takes those that are null, which the server leaves out.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] when it does not fit.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let outputs: std::collections::BTreeMap<String, &RawValue> = self.parse()?;
        let text = outputs.get(name).map_or("null", |value| value.get());
        serde_json::from_str(text).map_err(|error| {
            let why = crate::raw::describe(&error);
            Error::decode(self.operation.clone(), format!("output {name} does not fit its type: {why}"))
                .with_hint("compare the type with the signature of the function; null outputs are left out")
        })
    }

    /// All outputs as `T`. Give fields that can be null a default.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] when they do not fit.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        self.parse()
    }

    /// The answer as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    fn parse<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T> {
        let body = if self.body.trim_ascii().is_empty() { b"{}" } else { self.body.as_ref() };
        serde_json::from_slice(body).map_err(|error| {
            Error::decode(self.operation.clone(), crate::raw::describe(&error))
                .with_hint("compare the type with the signature of the function; null outputs are left out")
        })
    }
}

impl std::fmt::Debug for FunctionOutputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionOutputs")
            .field("operation", &self.operation)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
