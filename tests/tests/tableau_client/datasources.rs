//! Datasources besides their rows: names, owners, tags, permissions, connections, revisions; and updates one after the other.

use std::time::Duration;

use simulators::faults::{Effect, Fault};
use simulators::tableau::TableauSim;
use tableau_rest::{
    Action, Capability, Condition, ConnectionId, ConnectionUpdate, Constant, DatasourceId, DatasourceUpdate, Delivery,
    ErrorKind, FileSource, Filter, Grantee, PermissionMode, PermissionRule, PublishRequest, Published, UpdateData,
    UserId, WaitPolicy, target,
};

use super::{client, extracts, project, published};

#[tokio::test]
async fn a_datasource_is_renamed_moved_certified_and_given_away() {
    for messy in [false, true] {
        let sim = TableauSim::builder().switches(|switches| switches.messy = messy).start().await.unwrap();
        let client = client(&sim);
        let datasources = client.datasources();
        let small = published(&client, "Small").await;
        let elsewhere = client.projects().ensure_path(&["Archive"]).await.unwrap();
        let ann = client.users().list().filter(Filter::equal("name", "ann").unwrap()).all().await.unwrap().remove(0);
        let update = DatasourceUpdate::new().name("Smaller & <better>").description("of 2026");
        assert_eq!(datasources.update(&small.id, &update).await.unwrap().name, "Smaller & <better>");
        let moved = datasources.move_to(&small.id, &elsewhere.id).await.unwrap();
        assert_eq!(moved.project.unwrap().id, elsewhere.id);
        let certified = datasources.certify(&small.id, "checked by hand").await.unwrap();
        assert_eq!(
            (certified.is_certified, certified.certification_note.as_deref()),
            (Some(true), Some("checked by hand"))
        );
        assert_eq!(datasources.set_owner(&small.id, &ann.id).await.unwrap().owner.unwrap().id, ann.id);
        let now = sim.datasource("Archive", "smaller & <better>").unwrap();
        assert_eq!((now.id, now.owner), (small.id.to_string(), Some(ann.id.to_string())));
        let back = datasources.update(&small.id, &DatasourceUpdate::new().not_certified()).await.unwrap();
        assert_eq!((back.is_certified, back.description.as_deref()), (Some(false), Some("of 2026")));

        let other = published(&client, "Other").await;
        let clash = DatasourceUpdate::new().name("OTHER").project(&other.project.unwrap().id);
        assert_eq!(datasources.update(&small.id, &clash).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        for bad in
            [DatasourceUpdate::new(), DatasourceUpdate::new().name(" "), DatasourceUpdate::new().name("x".repeat(256))]
        {
            assert_eq!(datasources.update(&small.id, &bad).await.unwrap_err().kind(), ErrorKind::Config);
        }
        let nobody = DatasourceUpdate::new().owner(&UserId::from("nobody"));
        assert_eq!(datasources.update(&small.id, &nobody).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_made_once_more_and_a_deletion_counts_as_done() {
    let sim = TableauSim::builder().start().await.unwrap();
    let client = client(&sim);
    let small = published(&client, "Small").await;
    sim.faults().push(Fault::on("PUT", Effect::DropAfter));
    client.datasources().certify(&small.id, "twice").await.unwrap();
    sim.faults().push(Fault::on("DELETE", Effect::DropAfter));
    client.datasources().delete(&small.id).await.unwrap();
    assert!(sim.datasource("Finance/Payables", "Small").is_none());
    assert_eq!(client.datasources().delete(&small.id).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn tags_come_and_go_whatever_is_in_them() {
    let sim = TableauSim::builder().start().await.unwrap();
    let client = client(&sim);
    let small = published(&client, "Small").await;
    let datasources = client.datasources();
    let labels = ["finance", "year end", "a,b", "Zürich/東京"];
    assert_eq!(datasources.add_tags(&small.id, &labels).await.unwrap(), labels);
    assert_eq!(datasources.add_tags(&small.id, &["finance"]).await.unwrap(), labels);
    assert_eq!(datasources.get(&small.id).await.unwrap().tags, labels);
    for label in labels {
        datasources.remove_tag(&small.id, label).await.unwrap();
    }
    assert!(datasources.get(&small.id).await.unwrap().tags.is_empty());
    assert_eq!(datasources.remove_tag(&small.id, "finance").await.unwrap_err().code(), Some("404007"));
    assert!(datasources.add_tags(&small.id, &["\"quoted\""]).await.is_err());
}

#[tokio::test]
async fn permissions_are_given_taken_and_do_not_contradict_each_other() {
    for messy in [false, true] {
        let sim = TableauSim::builder().switches(|switches| switches.messy = messy).start().await.unwrap();
        let client = client(&sim);
        let small = published(&client, "Small").await;
        let datasources = client.datasources();
        assert_eq!(datasources.permissions(&small.id).await.unwrap(), []);
        let group = Grantee::Group(client.groups().list().all().await.unwrap()[0].id.clone());
        let me = Grantee::User(client.session().await.unwrap().user_id);
        let new = Capability::Other("SomethingNew".to_owned());
        let rules = [
            PermissionRule::allow(group.clone(), [Capability::Read, Capability::Connect, new.clone()]),
            PermissionRule::new(me.clone(), [(Capability::Delete, PermissionMode::Deny)]),
        ];
        assert_eq!(datasources.add_permissions(&small.id, &rules).await.unwrap(), rules);
        assert_eq!(datasources.permissions(&small.id).await.unwrap(), rules);
        let contrary = [PermissionRule::allow(me.clone(), [Capability::Delete])];
        assert_eq!(datasources.add_permissions(&small.id, &contrary).await.unwrap_err().kind(), ErrorKind::Conflict);
        datasources.remove_permission(&small.id, &me, &Capability::Delete, PermissionMode::Deny).await.unwrap();
        datasources.remove_permission(&small.id, &group, &new, PermissionMode::Allow).await.unwrap();
        datasources.add_permissions(&small.id, &contrary).await.unwrap();
        assert_eq!(datasources.permissions(&small.id).await.unwrap().len(), 2);
        let gone = datasources.remove_permission(&small.id, &group, &new, PermissionMode::Allow).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn connections_get_other_credentials_and_no_error_holds_them() {
    let sim = TableauSim::builder().start().await.unwrap();
    let ledger = DatasourceId::from(sim.add_datasource_with_upstream("Finance", "Ledger"));
    let client = client(&sim);
    let datasources = client.datasources();
    let connection = datasources.connections(&ledger).await.unwrap().remove(0);
    let update =
        ConnectionUpdate::new().server("db2.example.com").port(5433).user_name("reader").password("CANARY", true);
    let changed = datasources.update_connection(&ledger, &connection.id, &update).await.unwrap();
    assert_eq!((changed.server_port.as_deref(), changed.embed_password), (Some("5433"), Some(true)));
    assert_eq!(datasources.connections(&ledger).await.unwrap(), std::slice::from_ref(&changed));
    let all = datasources.update_connections(&ledger, &[connection.id], &update).await.unwrap();
    assert_eq!(all, [changed]);
    let none = ConnectionId::from("none");
    let error = datasources.update_connection(&ledger, &none, &update).await.unwrap_err();
    assert_eq!(error.code(), Some("404020"));
    let echo = r#"{"error":{"summary":"Bad","detail":"bad password CANARY","code":"400003"}}"#;
    sim.faults()
        .push(Fault::on("connections", Effect::Status { status: 400, body: echo.to_owned(), retry_after: None }));
    let error = datasources.update_connection(&ledger, &none, &update).await.unwrap_err();
    assert!(!format!("{error} {error:?} {update:?}").contains("CANARY"), "{error:?}");
    assert!(datasources.update_connection(&ledger, &none, &ConnectionUpdate::new()).await.is_err());
}

#[tokio::test]
async fn earlier_publishes_can_be_had_back() {
    let sim = TableauSim::builder().switches(|switches| switches.keep_revisions = true).start().await.unwrap();
    let client = client(&sim);
    let datasources = client.datasources();
    let first = published(&client, "Small").await;
    let large = FileSource::path(extracts().await.large());
    let request = PublishRequest::new(project(&client).await.id, "Small", large).overwrite();
    datasources.publish(request).await.unwrap();
    let revisions = datasources.revisions(&first.id).await.unwrap();
    assert_eq!(revisions.iter().map(|revision| revision.is_current).collect::<Vec<_>>(), [false, true]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("first.hyper");
    datasources.download_revision(&first.id, &revisions[0].number).await.unwrap().save(&path).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), std::fs::read(extracts().await.small()).unwrap());
    let error = datasources.delete_revision(&first.id, &revisions[1].number).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, Some("403055")));
    datasources.delete_revision(&first.id, &revisions[0].number).await.unwrap();
    let error = datasources.download_revision(&first.id, &revisions[0].number).await.unwrap_err();
    assert_eq!(error.code(), Some("404024"));
}

#[tokio::test]
async fn updates_of_one_datasource_wait_for_each_other() {
    let sim = TableauSim::builder()
        .switches(|switches| switches.job_time = Duration::from_millis(100))
        .start()
        .await
        .unwrap();
    let client = client(&sim);
    let small = published(&client, "Small").await;
    let delete = |number: i64| {
        let action = Action::delete(Condition::eq(target("Id"), Constant::Integer(number)));
        (UpdateData::new(format!("delete-{number}")).action(action), None)
    };
    let short = Duration::from_millis(10);
    let policy = WaitPolicy::new(Duration::from_secs(30)).first_poll(short).longest_poll(short);
    let datasources = client.datasources();
    // Somebody else's update goes on already.
    let (update, file) = delete(0);
    datasources.update_data(&small.id, update, file).await.unwrap();
    let (one, two) = tokio::join!(
        datasources.update_data_in_turn(&small.id, [delete(1)], policy),
        datasources.update_data_in_turn(&small.id, [delete(2), delete(3)], policy),
    );
    let outcomes = [one.unwrap(), two.unwrap()].concat();
    assert!(outcomes.len() == 3 && outcomes.iter().all(tableau_rest::JobOutcome::is_success), "{outcomes:?}");
    // The same request ids again: nothing runs twice.
    let jobs = client.jobs().list().all().await.unwrap().len();
    datasources.update_data_in_turn(&small.id, [delete(1), delete(3)], policy).await.unwrap();
    assert_eq!(client.jobs().list().all().await.unwrap().len(), jobs);
    // One that fails ends the turn.
    let missing = Action::delete(Condition::eq(target("NoSuchColumn"), Constant::Integer(1)));
    let updates = [(UpdateData::new("missing").action(missing), None), delete(9)];
    let outcomes = datasources.update_data_in_turn(&small.id, updates, policy).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes.into_iter().next().unwrap().success().unwrap_err().kind(), ErrorKind::Rejected);
    let connection = datasources.connections(&small.id).await.unwrap().remove(0);
    let (update, file) = delete(8);
    let job = datasources.update_connection_data(&small.id, &connection.id, update, file).await.unwrap();
    assert!(job.wait(policy).await.unwrap().is_success());
}

/// The rows that lie in a published extract, read by Tableau's own engine.
async fn rows(sim: &TableauSim, name: &str) -> Vec<String> {
    use kinetic_tableau_sync::hyper::{Engine, ExtractReader, InstallOptions, find_or_install};
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.hyper");
    std::fs::copy(sim.extract_path(name).unwrap(), &copy).unwrap();
    let location = tokio::task::spawn_blocking(|| find_or_install(&InstallOptions::default())).await.unwrap().unwrap();
    let engine = Engine::start(&location).await.unwrap();
    let reader = ExtractReader::open(&engine, &copy).await.unwrap();
    let rows = reader.rows_as_text(&["Id"]).await.unwrap();
    reader.close().await.unwrap();
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

#[tokio::test]
async fn rows_are_appended_once_and_to_an_extract_only() {
    let sim = TableauSim::builder().start().await.unwrap();
    let upstream = sim.add_datasource_with_upstream("Finance/Payables", "Ledger");
    let client = client(&sim);
    published(&client, "Small").await;
    let project = project(&client).await;
    let append = async |name: &str| {
        let file = FileSource::path(extracts().await.small());
        client.datasources().publish(PublishRequest::new(project.id.clone(), name, file).append()).await
    };
    append("Small").await.unwrap();
    assert_eq!(rows(&sim, "Small").await, ["0", "0", "1", "1", "2", "2"]);
    assert_eq!(append("Nothing").await.unwrap_err().code(), Some("404004"));
    assert_eq!(append("Ledger").await.unwrap_err().code(), Some("400054"));
    assert_eq!(sim.datasource("Finance/Payables", "Ledger").unwrap().id, upstream);
    // An answer that got lost: the rows may be there, so they are not sent again.
    sim.faults().push(Fault::on("POST /api/3.29/sites/", Effect::DropAfter));
    let error = append("Small").await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert_eq!(rows(&sim, "Small").await.len(), 9);
}

#[tokio::test]
async fn a_publish_whose_answer_was_lost_is_found_again_and_not_repeated() {
    for as_job in [false, true] {
        let sim = TableauSim::builder().start().await.unwrap();
        let client = client(&sim);
        let project = project(&client).await;
        let request = || async {
            let file = FileSource::path(extracts().await.small());
            let request = PublishRequest::new(project.id.clone(), "New", file);
            if as_job { request.as_job() } else { request }
        };
        let posts = sim.faults().count("POST");
        sim.faults().push(Fault::on("/datasources", Effect::DropAfter).nth(2));
        let Published::Datasource(found) = client.datasources().publish(request().await).await.unwrap() else {
            panic!("the answer that named a job was lost")
        };
        assert_eq!(sim.datasource("Finance/Payables", "New").unwrap().id, found.id.to_string());
        assert_eq!(sim.faults().count("POST"), posts + 1);
        // It is there now, and nothing more is sent.
        let error = client.datasources().publish(request().await).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::AlreadyExists, Delivery::NotSent));
        assert_eq!(sim.faults().count("POST"), posts + 1);
    }
    // What never arrived is not found.
    let sim = TableauSim::builder().start().await.unwrap();
    let client = client(&sim);
    let project = project(&client).await;
    sim.faults().push(Fault::on("/datasources", Effect::DropBefore).nth(2));
    let file = FileSource::path(extracts().await.small());
    let error = client.datasources().publish(PublishRequest::new(project.id, "New", file)).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown);
    assert!(sim.datasource("Finance/Payables", "New").is_none());
}
