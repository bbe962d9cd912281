//! Changing the rows of a published extract (Tableau REST API reference, Update Data in Hyper Data Source).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use tokio::time::Instant;

use super::Datasources;
use crate::call::{Call, Scope};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::ids::{ConnectionId, DatasourceId};
use crate::jobs::{JobHandle, JobOutcome, WaitPolicy};
use crate::source::{FileSource, FileType};
use crate::uploads::{self, Listener};
use crate::version::ApiVersion;

/// How many bytes of a file one update takes: 100 MB on Cloud and by default on Server.
pub const UPDATE_DATA_LIMIT: u64 = 100 * 1024 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("requestid");

/// A table in an extract. By default the one that Tableau itself makes, `"Extract"."Extract"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    schema: Option<String>,
    name: String,
}

impl Table {
    /// A table of the only schema.
    pub fn new(name: impl Into<String>) -> Self {
        Self { schema: None, name: name.into() }
    }

    /// A table in a schema.
    pub fn in_schema(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: Some(schema.into()), name: name.into() }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::in_schema("Extract", "Extract")
    }
}

/// A column of the datasource or of the uploaded file. Its name must match exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    name: String,
    of_source: bool,
}

/// A column of the datasource.
pub fn target(name: impl Into<String>) -> Column {
    Column { name: name.into(), of_source: false }
}

/// A column of the uploaded file.
pub fn source(name: impl Into<String>) -> Column {
    Column { name: name.into(), of_source: true }
}

/// A constant in a condition.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Constant {
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with binary floating point.
    Double(f64),
    /// A text.
    Text(String),
    /// A moment, as ISO 8601 with its zone.
    Datetime(String),
    /// Null; meaningful only with [`Condition::is`].
    Null,
}

impl Serialize for Constant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        let kind = match self {
            Self::Boolean(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Double(_) => "double",
            Self::Text(_) | Self::Null => "string",
            Self::Datetime(_) => "datetime",
        };
        map.serialize_entry("type", kind)?;
        match self {
            Self::Boolean(value) => map.serialize_entry("v", value)?,
            Self::Integer(value) => map.serialize_entry("v", value)?,
            Self::Double(value) => map.serialize_entry("v", value)?,
            Self::Text(value) | Self::Datetime(value) => map.serialize_entry("v", value)?,
            Self::Null => map.serialize_entry("v", &())?,
        }
        map.end()
    }
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operand {
    /// A column.
    Column(Column),
    /// A constant.
    Constant(Constant),
}

impl From<Column> for Operand {
    fn from(column: Column) -> Self {
        Self::Column(column)
    }
}

impl From<Constant> for Operand {
    fn from(constant: Constant) -> Self {
        Self::Constant(constant)
    }
}

/// Which rows an action is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Always,
    Join(&'static str, Vec<Condition>),
    Compare(&'static str, Column, Operand),
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident = $operator:literal),+ $(,)?) => {$(
        $(#[$doc])*
        pub fn $name(column: Column, other: impl Into<Operand>) -> Self {
            Self(Node::Compare($operator, column, other.into()))
        }
    )+};
}

impl Condition {
    comparisons! {
        /// Equal; never true of null.
        eq = "eq",
        /// Not equal.
        neq = "neq",
        /// Greater.
        gt = "gt",
        /// Greater or equal.
        gte = "gte",
        /// Less.
        lt = "lt",
        /// Less or equal.
        lte = "lte",
        /// Equal, where null equals null.
        is = "is",
        /// A text that contains another.
        has = "has",
    }

    /// Every row.
    pub fn always() -> Self {
        Self(Node::Always)
    }

    /// All of the conditions.
    pub fn and(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self::join("and", conditions)
    }

    /// One of the conditions at least. Keep it small: a long one has corrupted an extract (observed); put the values into the file
    /// and compare columns instead.
    pub fn or(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self::join("or", conditions)
    }

    fn join(operator: &'static str, conditions: impl IntoIterator<Item = Self>) -> Self {
        let mut conditions: Vec<Self> = conditions.into_iter().collect();
        match (conditions.len(), conditions.pop()) {
            (1, Some(only)) => only,
            (_, last) => Self(Node::Join(operator, conditions.into_iter().chain(last).collect())),
        }
    }

    fn check(&self) -> Result<()> {
        let refuse = |message: &str| Err(Error::config("update data", message.to_owned()));
        match &self.0 {
            Node::Join(_, conditions) if conditions.is_empty() => {
                refuse("a condition joins nothing; give it at least one part, or use always")
            }
            Node::Join(_, conditions) => conditions.iter().try_for_each(Self::check),
            Node::Compare(_, one, Operand::Column(other)) if one.of_source == other.of_source => {
                refuse("a condition compares two columns of one side; compare target with source")
            }
            Node::Always | Node::Compare(..) => Ok(()),
        }
    }

    fn reads_source(&self) -> bool {
        match &self.0 {
            Node::Always => false,
            Node::Join(_, conditions) => conditions.iter().any(Self::reads_source),
            Node::Compare(_, one, other) => {
                one.of_source || matches!(other, Operand::Column(column) if column.of_source)
            }
        }
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let side = |column: &Column| {
            if column.of_source { "source-col" } else { "target-col" }
        };
        match &self.0 {
            Node::Always => serializer.serialize_bool(true),
            Node::Join(operator, conditions) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("op", operator)?;
                map.serialize_entry("args", conditions)?;
                map.end()
            }
            Node::Compare(operator, column, other) => {
                let mut map = serializer.serialize_map(Some(3))?;
                map.serialize_entry("op", operator)?;
                map.serialize_entry(side(column), &column.name)?;
                match other {
                    Operand::Column(other) => map.serialize_entry(side(other), &other.name)?,
                    Operand::Constant(constant) => map.serialize_entry("const", constant)?,
                }
                map.end()
            }
        }
    }
}

/// One step of an update.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    verb: &'static str,
    target: Table,
    source: Option<Table>,
    condition: Option<Condition>,
}

impl Action {
    fn new(verb: &'static str, source: bool, condition: Option<Condition>) -> Self {
        Self { verb, target: Table::default(), source: source.then(Table::default), condition }
    }

    /// Appends all rows of the file.
    pub fn insert() -> Self {
        Self::new("insert", true, None)
    }

    /// Updates the rows that match a row of the file.
    pub fn update(condition: Condition) -> Self {
        Self::new("update", true, Some(condition))
    }

    /// Updates the rows that match a row of the file, and appends the rest of the file.
    pub fn upsert(condition: Condition) -> Self {
        Self::new("upsert", true, Some(condition))
    }

    /// Deletes the rows that match: a row of the file, where the condition names its columns, else the constants.
    pub fn delete(condition: Condition) -> Self {
        let source = condition.reads_source();
        Self::new("delete", source, Some(condition))
    }

    /// Deletes all rows and appends those of the file. The columns must be the same.
    pub fn replace() -> Self {
        Self::new("replace", true, None)
    }

    /// The table of the datasource, where it is not `"Extract"."Extract"`.
    #[must_use]
    pub fn target_table(mut self, table: Table) -> Self {
        self.target = table;
        self
    }

    /// The table of the file, where it is not `"Extract"."Extract"`.
    #[must_use]
    pub fn source_table(mut self, table: Table) -> Self {
        self.source = self.source.map(|_| table);
        self
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("action", self.verb)?;
        if let Some(schema) = &self.target.schema {
            map.serialize_entry("target-schema", schema)?;
        }
        map.serialize_entry("target-table", &self.target.name)?;
        if let Some(source) = &self.source {
            if let Some(schema) = &source.schema {
                map.serialize_entry("source-schema", schema)?;
            }
            map.serialize_entry("source-table", &source.name)?;
        }
        if let Some(condition) = &self.condition {
            map.serialize_entry("condition", condition)?;
        }
        map.end()
    }
}

/// An update: actions that take effect in their order, all of them or none.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct UpdateData {
    request_id: String,
    actions: Vec<Action>,
}

#[derive(Serialize)]
struct Body<'a> {
    actions: &'a [Action],
}

impl UpdateData {
    /// An update without actions yet. The server takes updates with one `request_id` for the same for 24 hours and runs them once.
    pub fn new(request_id: impl Into<String>) -> Self {
        Self { request_id: request_id.into(), actions: Vec::new() }
    }

    /// Adds an action.
    pub fn action(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    fn check(&self, file: Option<&FileSource>) -> Result<HeaderValue> {
        let refuse = |message: &str| Error::config("update data", message.to_owned());
        if self.actions.is_empty() {
            return Err(refuse("there is no action; add at least one"));
        }
        if self.actions.iter().any(|action| action.source.is_some()) != file.is_some() {
            return Err(refuse("an action needs a file that is not there, or a file is there that no action reads"));
        }
        for action in &self.actions {
            if let Some(condition) = &action.condition {
                condition.check()?;
            }
        }
        HeaderValue::from_str(&self.request_id)
            .ok()
            .filter(|id| !id.is_empty())
            .ok_or_else(|| refuse("the request id is empty or holds characters that cannot be sent"))
    }
}

/// One lock for each datasource that is being updated: the server takes one update at a time.
#[derive(Default)]
pub(crate) struct UpdateLocks(Mutex<HashMap<DatasourceId, Arc<tokio::sync::Mutex<()>>>>);

impl UpdateLocks {
    fn of(&self, id: &DatasourceId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(id.clone()).or_default())
    }
}

impl fmt::Debug for UpdateLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpdateLocks")
    }
}

impl Datasources {
    /// Changes the rows of a published extract by those of a file, as a job.
    ///
    /// Repeats itself, with a fresh upload, when an answer was lost: the request id makes that harmless. Only the owner of the
    /// datasource may do it, and only one update of a datasource goes on at a time.
    ///
    /// # Errors
    /// [`ErrorKind::UpdateInProgress`] while another one goes on (409094), [`ErrorKind::PayloadTooLarge`] for a file above
    /// [`UPDATE_DATA_LIMIT`] (nothing is sent then) or above what the server takes, [`ErrorKind::Unsupported`] or
    /// [`ErrorKind::NotFound`] when it is no published extract (404008), and everything that can go wrong between here and the
    /// server. That the actions themselves failed is seen in the job only.
    pub async fn update_data(
        &self,
        id: &DatasourceId,
        update: UpdateData,
        file: Option<FileSource>,
    ) -> Result<JobHandle> {
        self.send_update(id, None, &update, file.as_ref()).await
    }

    /// As [`Datasources::update_data`], for one connection of a datasource that has several (403062 says so).
    ///
    /// # Errors
    /// As [`Datasources::update_data`]; [`ErrorKind::NotFound`] when there is no such connection (404020).
    pub async fn update_connection_data(
        &self,
        id: &DatasourceId,
        connection: &ConnectionId,
        update: UpdateData,
        file: Option<FileSource>,
    ) -> Result<JobHandle> {
        self.send_update(id, Some(connection), &update, file.as_ref()).await
    }

    /// Runs updates of one datasource, one after the other, each to its end: rows beyond [`UPDATE_DATA_LIMIT`] are split over
    /// several files that way. Updates of the same datasource through this client and its clones wait for each other, and one
    /// that somebody else runs is waited for as well. Stops after the first that does not succeed; the answer has an outcome
    /// for each that was begun.
    ///
    /// # Errors
    /// As [`Datasources::update_data`], of the update that could not be begun. Those before it have succeeded, and none of them
    /// runs a second time when all are sent again under the same request ids within 24 hours.
    pub async fn update_data_in_turn(
        &self,
        id: &DatasourceId,
        updates: impl IntoIterator<Item = (UpdateData, Option<FileSource>)>,
        policy: WaitPolicy,
    ) -> Result<Vec<JobOutcome>> {
        let turn = self.client.shared.updates.of(id);
        let _turn = turn.lock().await;
        let mut outcomes = Vec::new();
        for (update, file) in updates {
            let begun = Instant::now();
            let mut pause = Duration::from_millis(500);
            let job = loop {
                match self.send_update(id, None, &update, file.as_ref()).await {
                    Err(error) if error.kind() == ErrorKind::UpdateInProgress && begun.elapsed() < policy.limit() => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(Duration::from_secs(30));
                    }
                    other => break other?,
                }
            };
            let outcome = job.wait(policy).await?;
            let done = outcome.is_success();
            outcomes.push(outcome);
            if !done {
                break;
            }
        }
        Ok(outcomes)
    }

    async fn send_update(
        &self,
        id: &DatasourceId,
        connection: Option<&ConnectionId>,
        update: &UpdateData,
        file: Option<&FileSource>,
    ) -> Result<JobHandle> {
        const OPERATION: &str = "update data";
        let request_id = update.check(file)?;
        self.client.require(OPERATION, ApiVersion::UPDATE_DATA).await?;
        let size = match file {
            Some(file) => {
                if file.kind(OPERATION)? != FileType::Hyper {
                    return Err(Error::config(OPERATION, "the file is no .hyper; write the rows as an extract"));
                }
                file.size().await?
            }
            None => 0,
        };
        if size > UPDATE_DATA_LIMIT {
            return Err(Error::config(
                OPERATION,
                format!("the file has {size} bytes, an update takes {UPDATE_DATA_LIMIT}"),
            )
            .with_kind(ErrorKind::PayloadTooLarge)
            .with_hint("split it into several updates, or publish the whole extract"));
        }
        let segments: &[&str] = match connection {
            Some(connection) => &["datasources", id.as_str(), "connections", connection.as_str(), "data"],
            None => &["datasources", id.as_str(), "data"],
        };
        let mut call =
            Call::new(OPERATION, Method::PATCH, Scope::Site, segments)?.json(&Body { actions: &update.actions }).long();
        call.headers.insert(REQUEST_ID, request_id);
        let Some(file) = file else {
            let answer = self.client.run(&call.idempotent(true)).await?;
            return JobHandle::of_answer(&self.client, &answer);
        };
        let (mut attempt, mut lost) = (1, false);
        loop {
            let session = uploads::upload(&self.client, OPERATION, file, size, &Listener::default()).await;
            let session = session.map_err(|error| error.after_lost(lost))?;
            let commit = call.clone().query("uploadSessionId", session.as_str());
            match self.client.run(&commit).await {
                Err(error) if uploads::may_begin_anew(&error, true, attempt) => {
                    attempt += 1;
                    lost |= error.delivery() == Delivery::Unknown;
                }
                ended => {
                    let answer = ended.map_err(|error| error.after_lost(lost))?;
                    return JobHandle::of_answer(&self.client, &answer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_upsert_by_key_is_written_as_documented() {
        let key = Condition::and([
            Condition::eq(target("Company"), source("Company")),
            Condition::eq(target("VendorNum"), source("VendorNum")),
        ]);
        let update = UpdateData::new("r").action(Action::upsert(key));
        assert_eq!(
            serde_json::to_value(Body { actions: &update.actions }).unwrap(),
            json!({"actions": [{
                "action": "upsert",
                "target-schema": "Extract", "target-table": "Extract",
                "source-schema": "Extract", "source-table": "Extract",
                "condition": {"op": "and", "args": [
                    {"op": "eq", "target-col": "Company", "source-col": "Company"},
                    {"op": "eq", "target-col": "VendorNum", "source-col": "VendorNum"},
                ]},
            }]})
        );
    }

    #[test]
    fn constants_and_tables_of_ones_own_are_written_as_documented() {
        let of = |action: Action| serde_json::to_value(action).unwrap();
        let delete = Action::delete(Condition::or([
            Condition::lt(target("Year"), Constant::Integer(2020)),
            Condition::is(target("Name"), Constant::Null),
        ]));
        assert_eq!(
            of(delete.target_table(Table::new("rows"))),
            json!({"action": "delete", "target-table": "rows", "condition": {"op": "or", "args": [
                {"op": "lt", "target-col": "Year", "const": {"type": "integer", "v": 2020}},
                {"op": "is", "target-col": "Name", "const": {"type": "string", "v": null}},
            ]}})
        );
        assert_eq!(of(Action::delete(Condition::always())).get("condition"), Some(&json!(true)));
        assert!(of(Action::replace()).get("condition").is_none());
        assert_eq!(Condition::and([Condition::always()]), Condition::always());
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_is_sent() {
        let file = FileSource::bytes(FileType::Hyper, &b"x"[..]);
        let refused = |update: UpdateData, file: Option<&FileSource>| update.check(file).is_err();
        assert!(refused(UpdateData::new("r"), None), "no action");
        assert!(refused(UpdateData::new("r").action(Action::insert()), None), "no file");
        let by_constant = Action::delete(Condition::eq(target("a"), Constant::Integer(1)));
        assert!(refused(UpdateData::new("r").action(by_constant.clone()), Some(&file)), "a file that nothing reads");
        assert!(refused(UpdateData::new("").action(by_constant.clone()), None), "no request id");
        assert!(refused(UpdateData::new("a\nb").action(by_constant.clone()), None), "a line break in the request id");
        assert!(!refused(UpdateData::new("r").action(by_constant), None));
        let one_sided = Action::upsert(Condition::eq(target("a"), target("b")));
        assert!(refused(UpdateData::new("r").action(one_sided), Some(&file)));
        assert!(refused(UpdateData::new("r").action(Action::update(Condition::and([]))), Some(&file)));
    }
}
