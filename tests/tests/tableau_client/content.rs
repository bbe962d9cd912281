//! What can be read, refreshed and scheduled.

use chrono::NaiveTime;
use futures_util::TryStreamExt;
use simulators::tableau::TableauSim;
use tableau_rest::{
    DatasourceId, ErrorKind, Filter, JobOutcome, JobState, Recurrence, Refresh, RefreshKind, RefreshTargetId,
    ScheduleId, TaskId, WaitPolicy, Weekday, WorkbookId,
};

use super::{client, published};

fn at(hour: u32) -> NaiveTime {
    NaiveTime::from_hms_opt(hour, 0, 0).unwrap()
}

fn quick() -> WaitPolicy {
    let short = std::time::Duration::from_millis(10);
    WaitPolicy::new(std::time::Duration::from_secs(20)).first_poll(short).longest_poll(short)
}

#[tokio::test]
async fn everything_that_lies_on_a_site_can_be_read_tidy_or_messy() {
    for messy in [false, true] {
        let sim = TableauSim::builder().switches(|switches| switches.messy = messy).start().await.unwrap();
        let workbook = WorkbookId::from(sim.add_workbook("Finance/Payables", "Overview", "Ledger"));
        let client = client(&sim);
        let views = client.views().list().all().await.unwrap();
        assert_eq!(views, client.views().of_workbook(&workbook).await.unwrap());
        assert_eq!(views[0].workbook.as_ref().unwrap().id, workbook);
        let view = client.views().get(&views[0].id).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("view.csv");
        client.views().data(&view.id).await.unwrap().save(&path).await.unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "Workbook,Refreshes\nOverview,0\n");

        let users: Vec<_> = client.users().list().page_size(1).stream().try_collect().await.unwrap();
        assert_eq!(users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["demo", "ann"]);
        assert_eq!(users[0].last_login, None);
        assert_eq!(client.users().get(&users[1].id).await.unwrap(), users[1]);
        let filtered = client.users().list().filter(Filter::equal("name", "ann").unwrap()).all().await.unwrap();
        assert_eq!(filtered, users[1..]);
        let groups = client.groups().list().all().await.unwrap();
        assert_eq!(client.groups().users(&groups[0].id).all().await.unwrap(), users);
        assert_eq!(client.sites().current().await.unwrap().extract_encryption_mode.as_deref(), Some("disabled"));

        let flows = client.flows().list().all().await.unwrap();
        let runs = client.flows().runs().await.unwrap();
        assert!(runs.len() == 2 && runs.iter().all(|run| run.flow.as_ref() == Some(&flows[0].id)));
        assert_eq!(client.flows().run(&runs[1].id).await.unwrap().progress, Some(40));
        assert_eq!(client.flows().run(&"none".into()).await.unwrap_err().kind(), ErrorKind::NotFound);

        let tree = client.projects().tree().await.unwrap();
        let payables = client.projects().find_path(&["Finance", "Payables"]).await.unwrap().unwrap();
        assert_eq!(tree.path(&payables.id), ["Finance", "Payables"]);
        let top: Vec<&str> = tree.children(None).iter().map(|project| project.name.as_str()).collect();
        assert_eq!((top, tree.len()), (vec!["Default", "Finance"], 3));
    }
}

#[tokio::test]
async fn tasks_of_cloud_are_made_changed_run_and_deleted() {
    let sim = TableauSim::builder().switches(|switches| switches.cloud = true).start().await.unwrap();
    let ledger = sim.add_datasource_with_upstream("Finance", "Ledger");
    let client = client(&sim);
    let target = RefreshTargetId::Datasource(DatasourceId::from(ledger.as_str()));
    let tasks = client.tasks();
    let made = tasks.create(&target, RefreshKind::Full, &Recurrence::daily_at(at(2))).await.unwrap();
    assert_eq!(made.next_run_at, Some("2026-11-24T09:00:00Z".parse().unwrap()));
    let read = tasks.get(&made.id).await.unwrap();
    assert_eq!((read.datasource, read.kind.as_deref()), (made.datasource.clone(), Some("RefreshExtractTask")));
    let weekly = Recurrence::Weekly { start: at(3), day: Weekday::Sunday };
    tasks.reschedule(&made.id, &target, RefreshKind::Incremental, &weekly).await.unwrap();
    assert_eq!(tasks.list().await.unwrap()[0].kind.as_deref(), Some("IncrementExtractTask"));
    let Refresh::Started(job) = tasks.run_now(&made.id).await.unwrap() else { panic!("it is queued already") };
    assert!(job.wait(quick()).await.unwrap().is_success());
    tasks.delete(&made.id).await.unwrap();
    assert_eq!(tasks.delete(&made.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    let odd = Recurrence::daily_at(NaiveTime::from_hms_opt(2, 3, 0).unwrap());
    let before = sim.faults().requests().len();
    assert_eq!(tasks.create(&target, RefreshKind::Full, &odd).await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(sim.faults().requests().len(), before);
    let error = client.schedules().create("Nightly", 50, &Recurrence::daily_at(at(2))).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, Some("409091")));
}

#[tokio::test]
async fn schedules_of_a_server_are_made_changed_filled_and_deleted() {
    let sim = TableauSim::builder().start().await.unwrap();
    let ledger = DatasourceId::from(sim.add_datasource_with_upstream("Finance", "Ledger"));
    let client = client(&sim);
    let schedules = client.schedules();
    let made = schedules.create("Nightly", 40, &Recurrence::daily_at(at(2))).await.unwrap();
    assert_eq!((made.state.as_deref(), made.priority), (Some("Active"), Some(40)));
    let weekly = Recurrence::Weekly { start: at(3), day: Weekday::Sunday };
    assert_eq!(schedules.reschedule(&made.id, &weekly).await.unwrap().frequency.as_deref(), Some("Weekly"));
    assert_eq!(schedules.set_active(&made.id, false).await.unwrap().state.as_deref(), Some("Suspended"));
    let task = schedules.add_datasource(&made.id, &ledger, RefreshKind::Full).await.unwrap().unwrap();
    assert_eq!(schedules.add_datasource(&made.id, &ledger, RefreshKind::Full).await.unwrap().unwrap(), task);
    let listed = client.tasks().list().await.unwrap();
    assert_eq!((listed.len(), listed[0].schedule.as_deref()), (1, Some("Nightly")));
    let none = ScheduleId::from("none");
    let error = schedules.add_datasource(&none, &ledger, RefreshKind::Full).await.unwrap_err();
    assert_eq!(error.code(), Some("500000"));
    assert_eq!(schedules.list().all().await.unwrap().len(), 1);
    schedules.delete(&made.id).await.unwrap();
    assert_eq!(schedules.get(&made.id).await.unwrap_err().code(), Some("404023"));
    // A server makes no tasks of their own.
    let target = RefreshTargetId::Datasource(ledger);
    let error = client.tasks().create(&target, RefreshKind::Full, &weekly).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(client.tasks().get(&TaskId::from("none")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_refresh_that_is_queued_already_is_found_watched_and_its_failure_is_told() {
    let sim = TableauSim::builder()
        .switches(|switches| switches.job_time = std::time::Duration::from_millis(300))
        .start()
        .await
        .unwrap();
    let ledger = DatasourceId::from(sim.add_datasource_with_upstream("Finance", "Ledger"));
    let client = client(&sim);
    sim.fail_next_refresh("the gateway said no");
    let Refresh::Started(job) = client.datasources().refresh(&ledger).await.unwrap() else { panic!("queued already") };
    assert!(matches!(client.datasources().refresh(&ledger).await.unwrap(), Refresh::AlreadyQueued));
    let found = client.jobs().find_refresh("Ledger").await.unwrap().unwrap();
    assert_eq!(found.id(), job.id());
    assert!(client.jobs().find_refresh("Other").await.unwrap().is_none());
    let seen: Vec<_> = found.watch(quick()).try_collect().await.unwrap();
    let states: Vec<JobState> = seen.iter().map(tableau_rest::JobStatus::state).collect();
    assert!(states.len() >= 3 && states.last() == Some(&JobState::Failed), "{states:?}");
    assert!(seen.windows(2).all(|two| two[0] != two[1] && two[0].progress <= two[1].progress));
    let error = job.wait(quick()).await.unwrap().success().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("the gateway said no"), "{error}");

    let Refresh::Started(job) = client.datasources().refresh_incremental(&ledger).await.unwrap() else { panic!() };
    client.jobs().cancel(job.id()).await.unwrap();
    let outcome = job.wait(quick()).await.unwrap();
    assert!(matches!(outcome, JobOutcome::Cancelled(_)));
    assert_eq!(outcome.success().unwrap_err().kind(), ErrorKind::Conflict);
    let listed =
        client.jobs().list().filter(Filter::equal("jobType", "refresh_extracts").unwrap()).all().await.unwrap();
    let statuses: Vec<_> = listed.iter().filter_map(|job| job.status.as_deref()).collect();
    assert_eq!(statuses, ["Failed", "Cancelled"]);
}

#[tokio::test]
async fn an_old_server_is_not_asked_for_what_it_would_pass_over() {
    let sim = TableauSim::builder().switches(|switches| switches.version = "3.19".to_owned()).start().await.unwrap();
    let client = client(&sim);
    let ledger = DatasourceId::from(sim.add_datasource_with_upstream("Finance", "Ledger"));
    let error = client.datasources().refresh_incremental(&ledger).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("3.25 of the interface (Tableau 2025.1)"), "{error}");
    assert_eq!(sim.datasource("Finance", "Ledger").unwrap().refreshes, 0);
    // What it can, it does.
    let small = published(&client, "Small").await;
    client.datasources().delete(&small.id).await.unwrap();
}
