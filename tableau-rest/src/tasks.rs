//! Extract refresh tasks (Tableau REST API reference, Extract and Encryption Methods).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::call::{Call, gone_is_fine};
use crate::client::Client;
use crate::datasources::Refresh;
use crate::error::Result;
use crate::ids::{DatasourceId, TaskId, WorkbookId};
use crate::recurrence::Recurrence;
use crate::version::ApiVersion;
use crate::wire;

/// A task that refreshes the extracts of a datasource or workbook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtractRefreshTask {
    /// Its id.
    pub id: TaskId,
    /// What kind of refresh it is, for example `RefreshExtractTask` or `IncrementExtractTask`.
    pub kind: Option<String>,
    /// The priority, 1 being the highest.
    pub priority: Option<i64>,
    /// How often it has failed since it last succeeded.
    pub consecutive_failures: Option<u64>,
    /// The datasource it refreshes.
    pub datasource: Option<DatasourceId>,
    /// The workbook it refreshes.
    pub workbook: Option<WorkbookId>,
    /// The name of its schedule. On Cloud schedules have none.
    pub schedule: Option<String>,
    /// When it runs next.
    pub next_run_at: Option<DateTime<Utc>>,
}

impl ExtractRefreshTask {
    /// The task lies in `extractRefresh`, its schedule in it (Server) or beside it (Cloud).
    fn read(value: &Value) -> Option<Self> {
        let task = value.get("extractRefresh").unwrap_or(value);
        let schedule = task.get("schedule").or_else(|| value.get("schedule"));
        let id_of = |name: &str| wire::text(task.get(name).and_then(|target| target.get("id")));
        let of_schedule = |name: &str| schedule.and_then(|schedule| schedule.get(name));
        Some(Self {
            id: wire::text(task.get("id"))?.into(),
            kind: wire::text(task.get("type")),
            priority: wire::number(task.get("priority")),
            consecutive_failures: wire::count(task.get("consecutiveFailedCount")),
            datasource: id_of("datasource").map(DatasourceId::from),
            workbook: id_of("workbook").map(WorkbookId::from),
            schedule: wire::text(of_schedule("name")),
            next_run_at: wire::moment(of_schedule("nextRunAt")),
        })
    }
}

/// Whether a refresh takes all rows or the new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshKind {
    /// All rows.
    Full,
    /// The new rows, as the extract is set up.
    Incremental,
}

impl RefreshKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FullRefresh",
            Self::Incremental => "IncrementalRefresh",
        }
    }
}

/// What a task refreshes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshTargetId {
    /// A published datasource.
    Datasource(DatasourceId),
    /// The extracts of a workbook.
    Workbook(WorkbookId),
}

/// The extract refresh tasks of the site.
#[derive(Clone, Debug)]
pub struct Tasks {
    client: Client,
}

impl Tasks {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Lists the tasks: all of them for administrators, the user's own for others.
    ///
    /// # Errors
    /// Everything that can go wrong between here and the server.
    pub async fn list(&self) -> Result<Vec<ExtractRefreshTask>> {
        let call = Call::get("list tasks", &["tasks", "extractRefreshes"])?;
        let answer = self.client.run(&call).await?;
        let value = answer.value()?;
        wire::entries(value.get("tasks"), "task")
            .into_iter()
            .map(|task| ExtractRefreshTask::read(task).ok_or_else(|| answer.unfit("a task in the answer has no id")))
            .collect()
    }

    /// What is known of a task.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when it does not exist (404026), and everything that can go wrong
    /// between here and the server.
    pub async fn get(&self, id: &TaskId) -> Result<ExtractRefreshTask> {
        let call = Call::get("read task", &["tasks", "extractRefreshes", id.as_str()])?;
        let answer = self.client.run(&call).await?;
        let value = answer.value()?;
        let task = value.get("task").and_then(ExtractRefreshTask::read);
        task.ok_or_else(|| answer.unfit("the task in the answer has no id"))
    }

    /// Makes a task that refreshes something on a recurrence of its own. Cloud only; on a server add the datasource to a
    /// schedule, with [`Schedules::add_datasource`](crate::Schedules::add_datasource).
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) before version 3.20 of the interface,
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a recurrence that breaks a rule of the server. With delivery
    /// [`Unknown`](crate::Delivery::Unknown) it may have been made: look at the list.
    pub async fn create(
        &self,
        target: &RefreshTargetId,
        kind: RefreshKind,
        when: &Recurrence,
    ) -> Result<ExtractRefreshTask> {
        self.write("create task", &["tasks", "extractRefreshes"], target, kind, when).await
    }

    /// Changes when a task runs. Cloud only.
    ///
    /// # Errors
    /// As [`Tasks::get`] and [`Tasks::create`].
    pub async fn reschedule(
        &self,
        id: &TaskId,
        target: &RefreshTargetId,
        kind: RefreshKind,
        when: &Recurrence,
    ) -> Result<ExtractRefreshTask> {
        let segments = ["tasks", "extractRefreshes", id.as_str()];
        self.write("update task", &segments, target, kind, when).await
    }

    async fn write(
        &self,
        operation: &str,
        segments: &[&str],
        target: &RefreshTargetId,
        kind: RefreshKind,
        when: &Recurrence,
    ) -> Result<ExtractRefreshTask> {
        let schedule = when.write(operation)?;
        self.client.require(operation, ApiVersion::TASKS).await?;
        let (name, id) = match target {
            RefreshTargetId::Datasource(id) => ("datasource", id.as_str()),
            RefreshTargetId::Workbook(id) => ("workbook", id.as_str()),
        };
        let refresh = json!({ "type": kind.as_str(), name: { "id": id } });
        // A change to the same values again changes nothing; a new task would be there twice.
        let call = Call::post(operation, segments)?.idempotent(segments.len() > 2);
        let answer = self.client.run(&call.json(&json!({ "extractRefresh": refresh, "schedule": schedule }))).await?;
        ExtractRefreshTask::read(&answer.value()?).ok_or_else(|| answer.unfit("the task in the answer has no id"))
    }

    /// Deletes a task.
    ///
    /// # Errors
    /// As [`Tasks::get`].
    pub async fn delete(&self, id: &TaskId) -> Result<()> {
        let call = Call::delete("delete task", &["tasks", "extractRefreshes", id.as_str()])?;
        gone_is_fine(self.client.run(&call).await.map(|_| ()))
    }

    /// Runs a task now.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the site does not allow it (409082), and everything
    /// that can go wrong between here and the server.
    pub async fn run_now(&self, id: &TaskId) -> Result<Refresh> {
        let segments = ["tasks", "extractRefreshes", id.as_str(), "runNow"];
        Refresh::start(&self.client, "run task", &segments).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_is_read_in_the_shapes_of_server_and_cloud() {
        let server = json!({"extractRefresh": {"id": "t", "type": "RefreshExtractTask", "priority": "50",
            "consecutiveFailedCount": "2", "datasource": {"id": "d"}, "schedule": {"id": "s", "name": "Nightly",
            "nextRunAt": "2026-11-24T02:00:00Z"}}});
        let task = ExtractRefreshTask::read(&server).unwrap();
        assert_eq!((task.priority, task.consecutive_failures), (Some(50), Some(2)));
        assert_eq!(task.datasource, Some(DatasourceId::from("d")));
        assert_eq!(task.schedule.as_deref(), Some("Nightly"));
        let cloud = json!({"extractRefresh": {"id": "t", "workbook": {"id": "w"}},
            "schedule": {"frequency": "Daily", "nextRunAt": "2026-11-24T02:00:00-0700"}});
        let task = ExtractRefreshTask::read(&cloud).unwrap();
        assert_eq!(task.workbook, Some(WorkbookId::from("w")));
        assert_eq!(task.next_run_at, Some("2026-11-24T09:00:00Z".parse().unwrap()));
        assert_eq!(ExtractRefreshTask::read(&json!({})), None);
    }
}
