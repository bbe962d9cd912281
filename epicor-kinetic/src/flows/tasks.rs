//! Tasks of the system agent: when a posting, a report or another batch process has ended.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::client::Client;
use crate::entities::{SysTask, TaskStatus};
use crate::error::{Delivery, Error, ErrorKind, Fate, Result};
use crate::paging::KeysetColumns;
use crate::query::{Filter, Literal, Order, field};

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Tasks of the system agent. Made by [`Client::tasks`].
#[derive(Clone, Debug)]
pub struct Tasks {
    client: Client,
}

/// What was seen of a process so far; finds what has ended since. Can be stored between runs of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskWatch {
    process: String,
    seen: i64,
    /// Tasks that had not ended when they were seen: a task with a lower number can end later.
    open: BTreeSet<i64>,
}

impl Client {
    /// Tasks of the system agent.
    pub fn tasks(&self) -> Tasks {
        Tasks { client: self.clone() }
    }
}

/// By the name that people see, or by the program, which is the same in every language.
fn of_process(process: &str) -> Filter {
    field("TaskDescription").eq(process).or(field("RunProcedure").eq(process))
}

fn has_ended(task: &SysTask) -> bool {
    task.status().is_over() || task.ended_on.is_some()
}

impl Tasks {
    /// Reads a task by its number.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn get(&self, number: i64) -> Result<SysTask> {
        self.client.query::<SysTask>().get([Literal::from(number)]).await
    }

    /// The newest tasks of a process, by its name (`TaskDescription`) or program (`RunProcedure`), newest first.
    ///
    /// # Errors
    /// As [`Query::send`](crate::Query::send).
    pub async fn newest(&self, process: &str, at_most: u64) -> Result<Vec<SysTask>> {
        let query = self.client.query::<SysTask>().filter(of_process(process)).top(at_most);
        Ok(query.order_by("SysTaskNum", Order::Descending).send().await?.items)
    }

    /// Begins to watch a process: what [`TaskWatch::ended`] finds are tasks that end from now on.
    ///
    /// # Errors
    /// As [`Query::send`](crate::Query::send).
    pub async fn watch(&self, process: impl Into<String>) -> Result<TaskWatch> {
        let process = process.into();
        let query = self.client.query::<SysTask>().filter(of_process(&process));
        let mut watch = TaskWatch { process, seen: 0, open: BTreeSet::new() };
        if let Some(newest) = self.newest(&watch.process, 1).await?.first() {
            watch.seen = newest.sys_task_num;
            let running = query.and_filter(field("SysTaskNum").le(watch.seen)).and_filter(field("EndedOn").is_null());
            let columns = KeysetColumns::new().integer("SysTaskNum");
            let running: Vec<SysTask> = running.keyset(columns).into_stream().try_collect().await?;
            watch.open = running.iter().filter(|task| !task.status().is_over()).map(|task| task.sys_task_num).collect();
        }
        Ok(watch)
    }

    /// Waits until a task has ended, looking more and more rarely, at most every 30 s. Requests are not held open.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the task ended with an error or was cancelled; [`ErrorKind::Server`] when it has
    /// not ended within `limit`; otherwise as [`Tasks::get`].
    pub async fn wait(&self, number: i64, limit: Duration) -> Result<SysTask> {
        let begun = Instant::now();
        let mut pause = Duration::from_secs(1);
        let failed = |kind, message: String| {
            Error::new(kind, Delivery::Answered, format!("wait for task {number}"), message).with_fate(Fate::Final)
        };
        loop {
            let task = self.get(number).await?;
            match task.status() {
                TaskStatus::Complete => return Ok(task),
                TaskStatus::Error => {
                    return Err(failed(ErrorKind::Rejected, "the task ended with an error".to_owned())
                        .with_hint("read its log in the system monitor"));
                }
                TaskStatus::Cancelled => {
                    return Err(failed(ErrorKind::Rejected, "the task was cancelled".to_owned()));
                }
                _ if begun.elapsed() + pause > limit => {
                    return Err(failed(
                        ErrorKind::Server,
                        format!("the task has not ended after {} s", limit.as_secs()),
                    )
                    .with_hint("look at the system monitor; wait longer if it still runs"));
                }
                _ => tokio::time::sleep(pause).await,
            }
            pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
        }
    }
}

impl TaskWatch {
    /// The process that is watched.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// The tasks that have ended since the last look, in the order of their numbers; each is found once. After an error
    /// nothing is forgotten.
    ///
    /// Where the newest task has a lower number than what was seen, the database was put back to an older state, or the
    /// newest tasks were purged. The watch begins anew from there, and the newest task counts as ended since, if it is
    /// over: which ones have ended since the restore nobody can tell.
    ///
    /// # Errors
    /// As [`Query::send`](crate::Query::send).
    pub async fn ended(&mut self, client: &Client) -> Result<Vec<SysTask>> {
        // The newest task that was seen is asked for as well: as long as it is there, numbers go on behind it.
        let query =
            client.query::<SysTask>().filter(of_process(&self.process)).and_filter(field("SysTaskNum").ge(self.seen));
        let columns = KeysetColumns::new().integer("SysTaskNum");
        let mut met: Vec<SysTask> = query.keyset(columns).into_stream().try_collect().await?;
        if met.is_empty() && self.seen > 0 {
            let anew = client.tasks().watch(&*self.process).await?;
            if anew.seen < self.seen {
                let newest = client.tasks().newest(&self.process, 1).await?;
                *self = anew;
                return Ok(newest.into_iter().filter(has_ended).collect());
            }
        }
        met.retain(|task| task.sys_task_num > self.seen);
        let known: Vec<i64> = self.open.iter().copied().collect();
        let again = client.query::<SysTask>().stream_in::<SysTask, _>("SysTaskNum", known)?;
        met.extend(again.try_collect::<Vec<SysTask>>().await?);
        met.sort_by_key(|task| task.sys_task_num);
        // A task that was open and is not there any more was purged; nobody can say how it ended.
        self.open.retain(|number| met.iter().any(|task| task.sys_task_num == *number));
        let mut ended = Vec::new();
        for task in met {
            self.seen = self.seen.max(task.sys_task_num);
            if has_ended(&task) {
                self.open.remove(&task.sys_task_num);
                ended.push(task);
            } else {
                self.open.insert(task.sys_task_num);
            }
        }
        Ok(ended)
    }
}
