//! Refreshes and their jobs: one that is queued already, one watched to its end, one that fails and says why; and when they run by
//! themselves.

use std::time::Duration;

use chrono::NaiveTime;
use futures_util::TryStreamExt;
use simulators::tableau::TableauSim;
use tableau_rest::{Client, DatasourceId, Recurrence, Refresh, RefreshKind, RefreshTargetId, WaitPolicy, Weekday};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let slow = Duration::from_millis(400);
    let server = TableauSim::builder().switches(|switches| switches.job_time = slow).start().await?;
    let ledger = DatasourceId::from(server.add_datasource_with_upstream("Finance", "Ledger"));
    let sign_in = |sim: &TableauSim| {
        let client = Client::builder(sim.url()).site(sim.site());
        client.personal_access_token(sim.pat_name(), sim.pat_secret()).build()
    };
    let client = sign_in(&server)?;
    let often = Duration::from_millis(50);
    let policy = WaitPolicy::new(Duration::from_secs(30)).first_poll(often).longest_poll(often);

    let Refresh::Started(job) = client.datasources().refresh(&ledger).await? else {
        return Err("it is queued already".into());
    };
    // A second wish while it runs. The server does not say which job it is, but there is a way to find out.
    let again = matches!(client.datasources().refresh(&ledger).await?, Refresh::AlreadyQueued);
    let found = client.jobs().find_refresh("Ledger").await?.ok_or("the job is not in the list")?;
    println!("queued already: {again}, as job {}", found.id());
    let mut steps = found.watch(policy);
    let mut seen = 0;
    while let Some(status) = steps.try_next().await? {
        println!("  {:?} {} %", status.state(), status.progress.unwrap_or_default());
        seen += 1;
    }
    job.wait(policy).await?.success()?;

    server.fail_next_refresh("the database does not answer");
    let Refresh::Started(failing) = client.datasources().refresh_incremental(&ledger).await? else {
        return Err("it is queued already".into());
    };
    let Err(error) = failing.wait(policy).await?.success() else { return Err("a failed job counts as done".into()) };
    println!("failed: {error}");

    // On a server, schedules that everybody shares; on Cloud, a recurrence for each task.
    let nightly = Recurrence::daily_at(NaiveTime::from_hms_opt(2, 0, 0).ok_or("no such time")?);
    let schedule = client.schedules().create("Nightly", 50, &nightly).await?;
    client.schedules().add_datasource(&schedule.id, &ledger, RefreshKind::Full).await?;
    let task = client.tasks().list().await?.into_iter().next().ok_or("no task")?;
    println!("on the schedule {:?}", task.schedule);
    client.sign_out().await?;

    let cloud = TableauSim::builder().switches(|switches| switches.cloud = true).start().await?;
    let ledger = RefreshTargetId::Datasource(cloud.add_datasource_with_upstream("Finance", "Ledger").into());
    let client = sign_in(&cloud)?;
    let mornings = Recurrence::Hourly {
        start: NaiveTime::from_hms_opt(6, 30, 0).ok_or("no such time")?,
        end: NaiveTime::from_hms_opt(11, 30, 0).ok_or("no such time")?,
        days: Weekday::WORKING.to_vec(),
    };
    let made = client.tasks().create(&ledger, RefreshKind::Incremental, &mornings).await?;
    println!("task {} runs next at {:?}", made.id, made.next_run_at);
    client.tasks().delete(&made.id).await?;
    client.sign_out().await?;

    if !again || seen < 2 || !error.to_string().contains("does not answer") {
        return Err("the jobs told something else".into());
    }
    println!("ok: every job's end is known");
    Ok(())
}
