//! Schedules of a Tableau Server (Tableau REST API reference, Jobs, Tasks, and Schedules Methods). Cloud has none: there the task
//! itself says when it runs, see [`Tasks::create`](crate::Tasks::create).

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::{Call, Scope, gone_is_fine};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::ids::{DatasourceId, ScheduleId, TaskId};
use crate::paging::{Listing, sealed::Wrapped};
use crate::recurrence::Recurrence;
use crate::tasks::RefreshKind;
use crate::wire;

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// `Active` or `Suspended`.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub state: Option<String>,
    /// What runs on it: `Extract`, `Subscription`, `Flow`, `System`.
    #[serde(default, rename = "type", deserialize_with = "wire::de_text")]
    pub kind: Option<String>,
    /// `Hourly`, `Daily`, `Weekly`, `Monthly`.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub frequency: Option<String>,
    /// 1 to 100, 1 being the highest.
    #[serde(default, deserialize_with = "wire::de_count")]
    pub priority: Option<u64>,
    /// `Parallel` or `Serial`.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub execution_order: Option<String>,
    /// When it runs next.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub next_run_at: Option<DateTime<Utc>>,
}

impl Wrapped for Schedule {
    const PATH: &'static str = "schedules";
    const OUTER: &'static str = "schedules";
    const INNER: &'static str = "schedule";
    const OF_SERVER: bool = true;
}

/// The schedules of the server. All calls but listing are for server administrators.
#[derive(Clone, Debug)]
pub struct Schedules {
    client: Client,
}

impl Schedules {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Lists the schedules.
    pub fn list(&self) -> Listing<Schedule> {
        Listing::new(self.client.clone())
    }

    /// What is known of a schedule.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when it does not exist (404023), and everything that can go wrong
    /// between here and the server.
    pub async fn get(&self, id: &ScheduleId) -> Result<Schedule> {
        let call = Call::new("read schedule", Method::GET, Scope::Server, &["schedules", id.as_str()])?;
        self.client.run(&call).await?.member("schedule")
    }

    /// Makes a schedule for extract refreshes, that run side by side. `priority` is 1 to 100, 1 being the highest; 50 is usual.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) for others than server administrators,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) on Cloud (409091). With delivery
    /// [`Unknown`](crate::Delivery::Unknown) it may have been made.
    pub async fn create(&self, name: &str, priority: u8, when: &Recurrence) -> Result<Schedule> {
        const OPERATION: &str = "create schedule";
        if name.trim().is_empty() || !(1..=100).contains(&priority) {
            return Err(Error::config(OPERATION, "the name is empty, or the priority is not 1 to 100"));
        }
        let mut schedule = when.write(OPERATION)?;
        schedule.insert("name".to_owned(), name.into());
        schedule.insert("priority".to_owned(), priority.to_string().into());
        schedule.insert("type".to_owned(), "Extract".into());
        schedule.insert("executionOrder".to_owned(), "Parallel".into());
        let call = Call::new(OPERATION, Method::POST, Scope::Server, &["schedules"])?;
        self.client.run(&call.json(&json!({ "schedule": schedule }))).await?.member("schedule")
    }

    /// Changes when a schedule runs.
    ///
    /// # Errors
    /// As [`Schedules::get`] and [`Schedules::create`].
    pub async fn reschedule(&self, id: &ScheduleId, when: &Recurrence) -> Result<Schedule> {
        const OPERATION: &str = "update schedule";
        self.change(OPERATION, id, &Value::Object(when.write(OPERATION)?)).await
    }

    /// Suspends a schedule, or lets it run again.
    ///
    /// # Errors
    /// As [`Schedules::get`] and [`Schedules::create`].
    pub async fn set_active(&self, id: &ScheduleId, active: bool) -> Result<Schedule> {
        let state = if active { "Active" } else { "Suspended" };
        self.change("update schedule", id, &json!({ "state": state })).await
    }

    async fn change(&self, operation: &str, id: &ScheduleId, fields: &Value) -> Result<Schedule> {
        let call = Call::new(operation, Method::PUT, Scope::Server, &["schedules", id.as_str()])?.idempotent(true);
        self.client.run(&call.json(&json!({ "schedule": fields }))).await?.member("schedule")
    }

    /// Deletes a schedule.
    ///
    /// # Errors
    /// As [`Schedules::get`].
    pub async fn delete(&self, id: &ScheduleId) -> Result<()> {
        let call = Call::new("delete schedule", Method::DELETE, Scope::Server, &["schedules", id.as_str()])?;
        gone_is_fine(self.client.run(&call.idempotent(true)).await.map(|_| ()))
    }

    /// Lets a datasource be refreshed on a schedule, and answers the task that does so.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such datasource. For a schedule that does not exist the
    /// server is documented to answer 500000, so that it looks like a failure of its own.
    pub async fn add_datasource(
        &self,
        id: &ScheduleId,
        datasource: &DatasourceId,
        kind: RefreshKind,
    ) -> Result<Option<TaskId>> {
        let segments = ["schedules", id.as_str(), "datasources"];
        let refresh = json!({ "type": kind.as_str(), "datasource": { "id": datasource } });
        // Adding what is there already adds nothing.
        let call = Call::put("add to schedule", &segments)?.idempotent(true);
        let answer = self.client.run(&call.json(&json!({ "task": { "extractRefresh": refresh } }))).await?;
        let value = answer.value()?;
        let task = value.get("task").and_then(|task| task.get("extractRefresh")).and_then(|task| task.get("id"));
        Ok(wire::text(task).map(TaskId::from))
    }
}
