//! What is known about a datasource besides its rows: name, project, owner, certification, tags, connections (Tableau REST API
//! reference, Data Sources Methods).

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use super::{Connection, Datasource, Datasources};
use crate::call::{Call, gone_is_fine};
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, DatasourceId, ProjectId, UserId};
use crate::version::ApiVersion;
use crate::wire;

/// Changes to a datasource. Only what is set changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct DatasourceUpdate {
    fields: Map<String, Value>,
}

impl DatasourceUpdate {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Another name, of 255 characters at most.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.with("name", name.into())
    }

    /// Another description.
    pub fn description(self, text: impl Into<String>) -> Self {
        self.with("description", text.into())
    }

    /// Moves it to another project.
    pub fn project(self, project: &ProjectId) -> Self {
        self.with("project", json!({ "id": project }))
    }

    /// Gives it to another owner. Tableau drops the passwords of its connections by that.
    pub fn owner(self, owner: &UserId) -> Self {
        self.with("owner", json!({ "id": owner }))
    }

    /// Vouches for it, with a note that says why.
    pub fn certified(self, note: impl Into<String>) -> Self {
        self.with("isCertified", true).with("certificationNote", note.into())
    }

    /// Vouches for it no longer.
    pub fn not_certified(self) -> Self {
        self.with("isCertified", false)
    }

    /// Whether its extract is to be encrypted at rest. The server may do that as a job of its own.
    pub fn encrypt_extracts(self, encrypt: bool) -> Self {
        self.with("encryptExtracts", encrypt)
    }
}

/// Changes to a connection. Only what is set changes; a password can be written and never read.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ConnectionUpdate {
    fields: Map<String, Value>,
    password: Option<SecretString>,
}

impl ConnectionUpdate {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// The server it leads to.
    pub fn server(self, address: impl Into<String>) -> Self {
        self.with("serverAddress", address.into())
    }

    /// The port there.
    pub fn port(self, port: u16) -> Self {
        self.with("serverPort", port.to_string())
    }

    /// As whom.
    pub fn user_name(self, name: impl Into<String>) -> Self {
        self.with("userName", name.into())
    }

    /// With which password, and whether the server keeps it for refreshes.
    pub fn password(mut self, password: impl Into<String>, embed: bool) -> Self {
        self.password = Some(SecretString::from(password.into()));
        self.with("embedPassword", embed)
    }

    fn call(&self, call: Call, extra: Option<(&str, Value)>) -> Result<Call> {
        let mut fields = self.fields.clone();
        if let Some(password) = &self.password {
            fields.insert("password".to_owned(), password.expose_secret().into());
        }
        if fields.is_empty() {
            return Err(Error::config(
                call.operation,
                "nothing of the connection is to change; set at least one thing",
            ));
        }
        let mut body = Map::new();
        if let Some((name, value)) = extra {
            body.insert(name.to_owned(), value);
        }
        body.insert("connection".to_owned(), Value::Object(fields));
        let mut call = call.json(&body).idempotent(true);
        call.secret.clone_from(&self.password);
        Ok(call)
    }
}

impl Datasources {
    /// Changes what is known about a datasource.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) when the project has the name already (409015),
    /// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) for the datasource of somebody else or a project that the user may
    /// not publish to, and everything that can go wrong between here and the server.
    pub async fn update(&self, id: &DatasourceId, update: &DatasourceUpdate) -> Result<Datasource> {
        const OPERATION: &str = "update datasource";
        if update.fields.is_empty() {
            return Err(Error::config(OPERATION, "nothing is to change; set at least one thing"));
        }
        let name = update.fields.get("name").and_then(Value::as_str);
        if name.is_some_and(|name| name.trim().is_empty() || name.chars().count() > 255) {
            return Err(Error::config(OPERATION, "the name is empty or longer than 255 characters"));
        }
        // Setting the same values again changes nothing.
        let call = Call::put(OPERATION, &["datasources", id.as_str()])?.idempotent(true);
        let call = call.json(&json!({ "datasource": update.fields }));
        self.client.run(&call).await?.member("datasource")
    }

    /// Moves a datasource to another project.
    ///
    /// # Errors
    /// As [`Datasources::update`].
    pub async fn move_to(&self, id: &DatasourceId, project: &ProjectId) -> Result<Datasource> {
        self.update(id, &DatasourceUpdate::new().project(project)).await
    }

    /// Vouches for a datasource.
    ///
    /// # Errors
    /// As [`Datasources::update`].
    pub async fn certify(&self, id: &DatasourceId, note: &str) -> Result<Datasource> {
        self.update(id, &DatasourceUpdate::new().certified(note)).await
    }

    /// Gives a datasource to another owner.
    ///
    /// # Errors
    /// As [`Datasources::update`].
    pub async fn set_owner(&self, id: &DatasourceId, owner: &UserId) -> Result<Datasource> {
        self.update(id, &DatasourceUpdate::new().owner(owner)).await
    }

    /// Adds tags, and answers all that there are then.
    ///
    /// # Errors
    /// As [`Datasources::get`].
    pub async fn add_tags(&self, id: &DatasourceId, labels: &[&str]) -> Result<Vec<String>> {
        const OPERATION: &str = "add tags";
        if labels.is_empty() || labels.iter().any(|label| label.trim().is_empty() || label.contains('"')) {
            return Err(Error::config(OPERATION, "there is no tag, or one that is empty or holds a quote"));
        }
        // Without quotes a label ends at a blank or comma.
        let quoted =
            |label: &&str| if label.contains([' ', ',']) { format!("\"{label}\"") } else { (*label).to_owned() };
        let tags: Vec<Value> = labels.iter().map(|label| json!({ "label": quoted(label) })).collect();
        let call = Call::put(OPERATION, &["datasources", id.as_str(), "tags"])?.idempotent(true);
        let answer = self.client.run(&call.json(&json!({ "tags": { "tag": tags } }))).await?;
        let value = answer.value()?;
        Ok(wire::entries(value.get("tags"), "tag").into_iter().filter_map(|tag| wire::text(tag.get("label"))).collect())
    }

    /// Takes a tag away.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such tag (404007) or datasource.
    pub async fn remove_tag(&self, id: &DatasourceId, label: &str) -> Result<()> {
        let call = Call::delete("remove tag", &["datasources", id.as_str(), "tags", label])?;
        gone_is_fine(self.client.run(&call).await.map(|_| ()))
    }

    /// Changes a connection. Of a datasource with several connections Tableau changes all of them by this; use
    /// [`Datasources::update_connections`] for some.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such connection (404020), and everything that can go
    /// wrong between here and the server. No error holds the password.
    pub async fn update_connection(
        &self,
        id: &DatasourceId,
        connection: &ConnectionId,
        update: &ConnectionUpdate,
    ) -> Result<Connection> {
        let segments = ["datasources", id.as_str(), "connections", connection.as_str()];
        let call = update.call(Call::put("update connection", &segments)?, None)?;
        self.client.run(&call).await?.member("connection")
    }

    /// Changes some connections, and leaves the others. From version 3.27 of the interface on. How the ids are written in JSON is
    /// inferred from the XML form.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) with an older server, and as
    /// [`Datasources::update_connection`].
    pub async fn update_connections(
        &self,
        id: &DatasourceId,
        connections: &[ConnectionId],
        update: &ConnectionUpdate,
    ) -> Result<Vec<Connection>> {
        const OPERATION: &str = "update connections";
        if connections.is_empty() {
            return Err(Error::config(OPERATION, "no connection is named"));
        }
        self.client.require(OPERATION, ApiVersion::BULK_CONNECTIONS).await?;
        let ids = json!({ "connectionLUID": connections });
        let call = Call::put(OPERATION, &["datasources", id.as_str(), "connections"])?;
        let answer = self.client.run(&update.call(call, Some(("connectionLUIDs", ids)))?).await?;
        let value = answer.value()?;
        wire::entries(value.get("connections"), "connection")
            .into_iter()
            .map(|entry| answer.read(entry.clone()))
            .collect()
    }
}
