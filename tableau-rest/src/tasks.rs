//! Extract refresh tasks (Tableau REST API reference, Extract and Encryption Methods).

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::call::Call;
use crate::client::Client;
use crate::datasources::Refresh;
use crate::error::Result;
use crate::ids::{DatasourceId, TaskId, WorkbookId};
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
