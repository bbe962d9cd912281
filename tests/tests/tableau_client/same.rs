//! Tableau's own Python client and ours do the same, each with a server of its own, and leave the same behind.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chrono::NaiveTime;
use simulators::tableau::TableauSim;
use tableau_rest::{
    Action, Capability, Client, Condition, ConnectionUpdate, Constant, DatasourceUpdate, FileSource, Filter, Grantee,
    NewWebhook, PermissionMode, PermissionRule, PublishRequest, Published, Recurrence, Refresh, RefreshKind,
    UpdateData, WaitPolicy, WebhookEvent, target,
};

use super::{builder, extracts};
use crate::python;

async fn server() -> TableauSim {
    let sim = TableauSim::builder().start().await.unwrap();
    sim.add_datasource_with_upstream("Default", "Upstream");
    sim
}

async fn ours(client: &Client, directory: &Path) {
    let short = Duration::from_millis(20);
    let policy = WaitPolicy::new(Duration::from_secs(30)).first_poll(short).longest_poll(short);
    let datasources = client.datasources();
    let project = client.projects().ensure_path(&["Default", "Same"]).await.unwrap();
    let archive = client.projects().ensure_path(&["Default", "Same", "Archive"]).await.unwrap();

    let file = |name: &str| FileSource::path(directory.join(name));
    let new = PublishRequest::new(project.id.clone(), "Ledger", file("large.hyper")).description("of 2026 & <more>");
    let Published::Datasource(ledger) = datasources.publish(new).await.unwrap() else { panic!("no job was asked for") };
    let again = PublishRequest::new(project.id.clone(), "Ledger", file("small.hyper")).overwrite().as_job();
    let Published::Job(job) = datasources.publish(again).await.unwrap() else { panic!("a job was asked for") };
    job.wait(policy).await.unwrap().success().unwrap();

    let more = PublishRequest::new(project.id.clone(), "Ledger", file("small.hyper")).append();
    datasources.publish(more).await.unwrap();

    let update = DatasourceUpdate::new().name("Ledger 2026").certified("checked by hand").project(&archive.id);
    let ledger = datasources.update(&ledger.id, &update).await.unwrap();
    datasources.add_tags(&ledger.id, &["finance", "year end", "old"]).await.unwrap();
    datasources.remove_tag(&ledger.id, "old").await.unwrap();

    let group = Grantee::Group(client.groups().list().all().await.unwrap().remove(0).id);
    let ann = client.users().list().filter(Filter::equal("name", "ann").unwrap()).all().await.unwrap().remove(0);
    let rules = [
        PermissionRule::allow(group.clone(), [Capability::Read, Capability::Connect]),
        PermissionRule::new(Grantee::User(ann.id), [(Capability::Delete, PermissionMode::Deny)]),
    ];
    datasources.add_permissions(&ledger.id, &rules).await.unwrap();
    datasources.remove_permission(&ledger.id, &group, &Capability::Connect, PermissionMode::Allow).await.unwrap();

    let delete = Action::delete(Condition::eq(target("Id"), Constant::Integer(1)));
    let update = UpdateData::new("same-1").action(delete);
    datasources.update_data(&ledger.id, update, None).await.unwrap().wait(policy).await.unwrap().success().unwrap();

    let upstream = datasources.list().filter(Filter::equal("name", "Upstream").unwrap()).all().await.unwrap().remove(0);
    let connection = datasources.connections(&upstream.id).await.unwrap().remove(0);
    let update =
        ConnectionUpdate::new().server("db2.example.com").port(5433).user_name("reader").password("a password", true);
    datasources.update_connection(&upstream.id, &connection.id, &update).await.unwrap();
    let Refresh::Started(job) = datasources.refresh(&upstream.id).await.unwrap() else { panic!("queued already") };
    job.wait(policy).await.unwrap().success().unwrap();

    let daily = Recurrence::daily_at(NaiveTime::from_hms_opt(2, 0, 0).unwrap());
    let schedule = client.schedules().create("Nightly", 40, &daily).await.unwrap();
    client.schedules().add_datasource(&schedule.id, &upstream.id, RefreshKind::Full).await.unwrap();

    let hook = NewWebhook::new("ours", WebhookEvent::DatasourceUpdated, "https://hooks.example.com/secret");
    let hook = client.webhooks().create(&hook).await.unwrap();
    assert!(client.webhooks().test(&hook.id).await.unwrap().is_success());

    let extra = PublishRequest::new(project.id, "Extra", file("small.hyper"));
    let Published::Datasource(extra) = datasources.publish(extra).await.unwrap() else {
        panic!("no job was asked for")
    };
    datasources.delete(&extra.id).await.unwrap();
    client.sign_out().await.unwrap();
}

#[tokio::test]
async fn our_client_leaves_what_the_official_one_leaves() {
    let directory = extracts().await.directory.path();
    let (mine, theirs) = (server().await, server().await);
    let before = mine.state();
    assert_eq!(before, theirs.state());

    let token = builder(&mine).personal_access_token(mine.pat_name(), mine.pat_secret());
    ours(&token.chunk_size(1 << 20).build().unwrap(), directory).await;

    let mut command = Command::new(tokio::task::spawn_blocking(python::environment).await.unwrap());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tsc/same.py"));
    command.args([&theirs.url(), &theirs.site(), theirs.pat_name(), theirs.pat_secret()]).arg(directory);
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.ends_with("ok\n"), "{said}\n{complained}");

    let (mine, theirs) = (mine.state(), theirs.state());
    assert_ne!(mine, before);
    assert_eq!(mine, theirs);
}
