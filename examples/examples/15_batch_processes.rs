//! A batch process in Kinetic, such as posting, has ended: the moment to read what it changed.

use std::time::Duration;

use chrono::NaiveDate;
use epicor_kinetic::{Client, TaskWatch};
use simulators::kinetic::{KineticSim, Seed, Value};

const PROCESS: &str = "Post AP Invoices";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kinetic = KineticSim::builder().start().await?;
    kinetic.seed(Seed::default());
    let client = Client::builder(kinetic.url())
        .company("EPIC06")
        .api_key(kinetic.api_key())
        .basic(kinetic.user(), kinetic.password())
        .build()?;
    task(&kinetic, 1, "Complete")?;
    task(&kinetic, 2, "Active")?;

    let mut watch = client.tasks().watch(PROCESS).await?;
    println!("ended since: {}", watch.ended(&client).await?.len());

    // What the watch knows is one small text, kept until the next run of a program.
    let kept = serde_json::to_string(&watch)?;
    task(&kinetic, 2, "Complete")?;
    let mut watch: TaskWatch = serde_json::from_str(&kept)?;
    let ended = watch.ended(&client).await?;
    for task in &ended {
        println!("{} {} has ended: {:?}", watch.process(), task.sys_task_num, task.status());
    }
    let done = client.tasks().wait(2, Duration::from_secs(5)).await?;
    let again = watch.ended(&client).await?.len();
    if ended.len() != 1 || again != 0 || done.sys_task_num != 2 {
        return Err(format!("told of {} ends, then of {again}", ended.len()).into());
    }
    println!("ok: the end was told once");
    Ok(())
}

/// A row of the task monitor, as the task agent writes it.
fn task(kinetic: &KineticSim, number: i64, status: &str) -> Result<(), Box<dyn std::error::Error>> {
    let at =
        |minute| NaiveDate::from_ymd_opt(2026, 11, 2).and_then(|day| day.and_hms_opt(8, minute, 0)).map(Value::Moment);
    let ended = if status == "Complete" { at(5).ok_or("no such time")? } else { Value::Null };
    let columns = [
        ("SysTaskNum", number.into()),
        ("TaskDescription", PROCESS.into()),
        ("TaskStatus", status.into()),
        ("StartedOn", at(0).ok_or("no such time")?),
        ("EndedOn", ended),
    ];
    kinetic.database().write("SysTasks", columns);
    Ok(())
}
