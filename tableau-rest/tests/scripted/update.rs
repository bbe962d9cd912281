//! Changing the rows of a published extract.

use std::sync::Mutex;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tableau_rest::{
    Action, Client, Condition, Constant, Delivery, ErrorKind, FileSource, FileType, Table, UPDATE_DATA_LIMIT,
    UpdateData, source, target,
};

use super::fake::{self, Answer};

fn file() -> FileSource {
    FileSource::bytes(FileType::Hyper, &b"0123456789"[..])
}

fn upsert() -> UpdateData {
    UpdateData::new("run 7/load 1").action(Action::upsert(Condition::and([
        Condition::eq(target("Company"), source("Company")),
        Condition::is(target("VendorNum"), source("VendorNum")),
    ])))
}

/// Takes uploads, and answers updates by `update(number of the update)`.
fn server(
    update: impl Fn(usize) -> Answer + Send + Sync + 'static,
) -> impl Fn(usize, &Request<Bytes>) -> Answer + Send + Sync + 'static {
    let counts = Mutex::new((0, 0));
    move |_, request| {
        let mut counts = counts.lock().unwrap();
        if request.method() == http::Method::PATCH {
            counts.0 += 1;
            return update(counts.0);
        }
        if request.uri().path().ends_with("/fileUploads") {
            counts.1 += 1;
            let id = format!("s-{}", counts.1);
            return fake::json(201, &json!({"fileUpload": {"uploadSessionId": id}}));
        }
        fake::json(200, &json!({"fileUpload": {"fileSize": "1"}}))
    }
}

async fn run(client: &Client) -> tableau_rest::Result<String> {
    let job = client.datasources().update_data(&"d-1".into(), upsert(), Some(file())).await?;
    Ok(job.id().to_string())
}

#[tokio::test]
async fn an_update_is_an_upload_and_a_patch_with_exactly_this_body() {
    for status in [200, 202] {
        let (client, log) = fake::client(server(move |_| {
            fake::json(status, &json!({"job": {"id": "j-1", "type": "UpdateUploadedFile"}}))
        }));
        assert_eq!(run(&client).await.unwrap(), "j-1");
        let expected =
            ["POST fileUploads", "PUT fileUploads/s-1?sequenceID=0", "PATCH datasources/d-1/data?uploadSessionId=s-1"];
        assert_eq!(log.lines(), expected);
        assert_eq!(fake::block(&log.calls()[1]), b"0123456789");
        let sent = log.last();
        assert_eq!(sent.headers()["requestid"], "run 7/load 1");
        assert_eq!(sent.headers()["content-type"], "application/json");
        assert_eq!(sent.headers()["accept"], "application/json");
        assert_eq!(
            std::str::from_utf8(sent.body()).unwrap(),
            "{\"actions\":[{\"action\":\"upsert\",\"target-schema\":\"Extract\",\"target-table\":\"Extract\",\
             \"source-schema\":\"Extract\",\"source-table\":\"Extract\",\"condition\":{\"op\":\"and\",\"args\":[\
             {\"op\":\"eq\",\"target-col\":\"Company\",\"source-col\":\"Company\"},\
             {\"op\":\"is\",\"target-col\":\"VendorNum\",\"source-col\":\"VendorNum\"}]}}]}"
        );
    }
}

#[tokio::test]
async fn every_action_and_constant_has_its_form_and_actions_keep_their_order() {
    let (client, log) = fake::client(server(|_| fake::job()));
    let update = UpdateData::new("r")
        .action(Action::delete(Condition::or([
            Condition::has(target("Name"), Constant::Text("ä\"".into())),
            Condition::neq(target("Open"), Constant::Boolean(true)),
            Condition::gte(target("Rate"), Constant::Double(0.5)),
            Condition::lt(target("At"), Constant::Datetime("2026-01-01T00:00:00Z".into())),
            Condition::is(target("Note"), Constant::Null),
        ])))
        .action(Action::update(Condition::eq(target("k"), source("k"))).source_table(Table::new("s")))
        .action(Action::insert().target_table(Table::in_schema("public", "t")))
        .action(Action::replace());
    client.datasources().update_data(&"d-1".into(), update, Some(file())).await.unwrap();
    let body: Value = serde_json::from_slice(log.last().body()).unwrap();
    let whole = ("Extract", "Extract");
    assert_eq!(
        body,
        json!({"actions": [
            {"action": "delete", "target-schema": whole.0, "target-table": whole.1, "condition": {"op": "or", "args": [
                {"op": "has", "target-col": "Name", "const": {"type": "string", "v": "ä\""}},
                {"op": "neq", "target-col": "Open", "const": {"type": "boolean", "v": true}},
                {"op": "gte", "target-col": "Rate", "const": {"type": "double", "v": 0.5}},
                {"op": "lt", "target-col": "At", "const": {"type": "datetime", "v": "2026-01-01T00:00:00Z"}},
                {"op": "is", "target-col": "Note", "const": {"type": "string", "v": null}},
            ]}},
            {"action": "update", "target-schema": whole.0, "target-table": whole.1, "source-table": "s",
             "condition": {"op": "eq", "target-col": "k", "source-col": "k"}},
            {"action": "insert", "target-schema": "public", "target-table": "t",
             "source-schema": whole.0, "source-table": whole.1},
            {"action": "replace", "target-schema": whole.0, "target-table": whole.1,
             "source-schema": whole.0, "source-table": whole.1},
        ]})
    );
}

#[tokio::test(start_paused = true)]
async fn a_deletion_by_constants_needs_no_upload_and_is_repeated_as_it_is() {
    let (client, log) = fake::client(server(|number| if number == 1 { fake::lost() } else { fake::job() }));
    let gone = Action::delete(Condition::lt(target("Year"), Constant::Integer(2020)));
    client.datasources().update_data(&"d-1".into(), UpdateData::new("r").action(gone), None).await.unwrap();
    assert_eq!(log.lines(), ["PATCH datasources/d-1/data", "PATCH datasources/d-1/data"]);
    let calls = log.calls();
    assert_eq!(
        (&calls[0].headers()["requestid"], calls[0].body()),
        (&calls[1].headers()["requestid"], calls[1].body())
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_whose_answer_was_lost_is_repeated_under_its_id_with_a_fresh_upload() {
    for trouble in [fake::lost as fn() -> Answer, || fake::answer(504, ""), || fake::error(404, "404015")] {
        let (client, log) = fake::client(server(move |number| if number == 1 { trouble() } else { fake::job() }));
        assert_eq!(run(&client).await.unwrap(), "j-1");
        let patches: Vec<_> = log.calls().into_iter().filter(|call| call.method() == http::Method::PATCH).collect();
        let sessions: Vec<_> = patches.iter().map(|patch| fake::query(patch, "uploadSessionId").unwrap()).collect();
        assert_eq!(sessions, ["s-1", "s-2"]);
        assert!(patches.iter().all(|patch| patch.headers()["requestid"] == "run 7/load 1"));
        assert_eq!(patches[0].body(), patches[1].body());
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_stays_without_an_answer_may_have_happened() {
    let (client, log) = fake::client(server(|_| fake::lost()));
    let error = run(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
    assert_eq!(log.lines().iter().filter(|line| line.starts_with("PATCH")).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lost_update_is_not_forgotten_when_the_next_attempt_fails_in_another_way() {
    for (next, kind) in [
        (fake::unreachable as fn() -> Answer, ErrorKind::Transport),
        (|| fake::error(409, "409094"), ErrorKind::UpdateInProgress),
        (|| fake::error(404, "404015"), ErrorKind::NotFound),
    ] {
        let (client, _) = fake::client(server(move |number| if number == 1 { fake::lost() } else { next() }));
        let error = run(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Unknown));
    }
}

#[tokio::test]
async fn refusals_have_their_kinds_and_are_not_repeated() {
    for (status, code, kind) in [
        (409, "409094", ErrorKind::UpdateInProgress),
        (413, "413000", ErrorKind::PayloadTooLarge),
        (404, "404008", ErrorKind::Unsupported),
        (404, "404004", ErrorKind::NotFound),
        (403, "403032", ErrorKind::Forbidden),
        (403, "403062", ErrorKind::Rejected),
    ] {
        let (client, log) = fake::client(server(move |_| fake::error(status, code)));
        let error = run(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery(), error.code()), (kind, Delivery::Answered, Some(code)));
        assert_eq!(log.calls().len(), 3, "{code}");
    }
}

#[tokio::test]
async fn a_file_above_the_limit_is_refused_with_its_size_and_nothing_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.hyper");
    // Sparse: no byte of it is written.
    std::fs::File::create(&path).unwrap().set_len(UPDATE_DATA_LIMIT + 1).unwrap();
    let (client, log) = fake::client(server(|_| fake::job()));
    let error =
        client.datasources().update_data(&"d-1".into(), upsert(), Some(FileSource::path(&path))).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::PayloadTooLarge, Delivery::NotSent));
    assert!(error.message().contains(&(UPDATE_DATA_LIMIT + 1).to_string()));
    assert!(log.calls().is_empty());
}

#[tokio::test]
async fn a_server_that_is_too_old_is_not_asked() {
    let (builder, log) = fake::builder_at("3.11", server(|_| fake::job()));
    let error = run(&builder.build().unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Unsupported, Delivery::NotSent));
    assert!(log.calls().is_empty());
}
