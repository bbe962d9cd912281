//! Tasks of the system agent (table `SysTask`): postings, reports, MRP and other batch processes.
//!
//! Columns as in the database of an installation; service and set as in the harvested interface (observed, not tried).

use super::rows;
use crate::value::ServerTime;

rows! {
    /// A task of the system agent, running or done. Its key has no company.
    SysTask of SYS_TASKS {
        keys {
            sys_task_num: i64 = "SysTaskNum",
        }
        columns {
            /// The company it works for; tasks of the system have none.
            company: String = "Company",
            /// The name of the process, for example `Process MRP`.
            task_description: String = "TaskDescription",
            task_type: String = "TaskType",
            /// See [`SysTask::status`].
            task_status: String = "TaskStatus",
            started_on: ServerTime = "StartedOn",
            ended_on: ServerTime = "EndedOn",
            submit_user: String = "SubmitUser",
            /// The program, which stays the same in every language.
            run_procedure: String = "RunProcedure",
            activity_msg: String = "ActivityMsg",
            /// Whether it has moved to the history.
            history: bool = "History",
            progress_percent: i32 = "ProgressPercent",
            sys_rev_id: i64 = "SysRevID",
            sys_row_id: String = "SysRowID",
        }
    }
}

/// How far a task is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskStatus {
    /// It waits for the agent.
    Pending,
    /// It runs.
    Active,
    /// It has ended well.
    Complete,
    /// It has ended with an error.
    Error,
    /// Somebody has ended it.
    Cancelled,
    /// Any other text.
    Other(String),
}

impl TaskStatus {
    /// Whether nothing more will happen.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Complete | Self::Error | Self::Cancelled)
    }
}

impl SysTask {
    /// How far it is. The texts are compared without their case.
    pub fn status(&self) -> TaskStatus {
        let text = self.task_status.as_deref().unwrap_or_default();
        match text.trim().to_ascii_lowercase().as_str() {
            "pending" => TaskStatus::Pending,
            "active" => TaskStatus::Active,
            "complete" | "completed" => TaskStatus::Complete,
            "error" => TaskStatus::Error,
            "cancelled" | "canceled" => TaskStatus::Cancelled,
            _ => TaskStatus::Other(text.to_owned()),
        }
    }
}
