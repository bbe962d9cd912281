//! Refreshes: of datasources, of workbooks, and through tasks.

use serde_json::json;
use tableau_rest::{Client, Delivery, ErrorKind, Refresh};

use super::fake::{self, Answer};

/// The three ways to start one, each with its address.
async fn start(client: &Client, way: &str) -> tableau_rest::Result<Refresh> {
    match way {
        "POST datasources/x-1/refresh" => client.datasources().refresh(&"x-1".into()).await,
        "POST workbooks/x-1/refresh" => client.workbooks().refresh(&"x-1".into()).await,
        _ => client.tasks().run_now(&"x-1".into()).await,
    }
}

const WAYS: [&str; 3] =
    ["POST datasources/x-1/refresh", "POST workbooks/x-1/refresh", "POST tasks/extractRefreshes/x-1/runNow"];

#[tokio::test]
async fn a_refresh_that_starts_is_a_job() {
    for way in WAYS {
        let (client, log) =
            fake::client(|_, _| fake::json(202, &json!({"job": {"id": "j-7", "mode": "Asynchronous"}})));
        let Refresh::Started(job) = start(&client, way).await.unwrap() else { panic!("{way}") };
        assert_eq!((job.id().as_str(), log.lines()), ("j-7", vec![way.to_owned()]));
        assert_eq!(log.last().body().as_ref(), b"{}", "a body is mandatory");
        assert_eq!(log.last().headers()["content-type"], "application/json");
    }
}

#[tokio::test]
async fn a_refresh_that_is_queued_already_is_no_error() {
    for way in WAYS {
        let (client, log) = fake::client(|_, _| fake::error(409, "409093"));
        assert!(matches!(start(&client, way).await.unwrap(), Refresh::AlreadyQueued), "{way}");
        assert_eq!(log.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_have_their_kinds() {
    for way in WAYS {
        for (status, code, kind) in [
            (403, "403104", ErrorKind::NoUpstream),
            (409, "409090", ErrorKind::NoUpstream),
            (403, "403077", ErrorKind::Forbidden),
            (403, "403032", ErrorKind::Forbidden),
            (404, "404004", ErrorKind::NotFound),
            (409, "409082", ErrorKind::Rejected),
            (429, "429000", ErrorKind::Throttled),
        ] {
            let (client, _) = fake::client(move |_, _| fake::error(status, code));
            let error = start(&client, way).await.unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Answered), "{way} {code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_whose_answer_was_lost_is_not_started_twice() {
    for way in WAYS {
        let (client, log) = fake::client(|_, _| fake::lost());
        assert_eq!(start(&client, way).await.unwrap_err().delivery(), Delivery::Unknown);
        assert_eq!(log.calls().len(), 1, "{way}");
    }
}

#[tokio::test]
async fn tasks_are_listed_in_every_shape() {
    let task = json!({"extractRefresh": {"id": "t-1", "priority": "50", "type": "RefreshExtractTask",
        "datasource": {"id": "d-1"}, "schedule": {"name": "Nightly", "nextRunAt": "2026-11-24T02:00:00Z"}}});
    let table = [
        (json!({"tasks": {"task": [task, task]}}), 2),
        (json!({"tasks": {"task": task}}), 1),
        (json!({"tasks": [task]}), 1),
        (json!({"tasks": {}}), 0),
        (json!({"tasks": []}), 0),
        (json!({}), 0),
    ];
    for (body, expected) in table {
        let (client, log) = fake::client(move |_, _| fake::json(200, &body));
        let tasks = client.tasks().list().await.unwrap();
        assert_eq!(tasks.len(), expected);
        assert!(tasks.iter().all(|task| task.datasource == Some("d-1".into()) && task.priority == Some(50)));
        assert_eq!(log.lines(), ["GET tasks/extractRefreshes"]);
    }
}

#[tokio::test]
async fn workbooks_are_found_by_name_and_project() {
    let (client, _) = fake::client(|_, _| -> Answer {
        fake::json(
            200,
            &json!({"pagination": {"totalAvailable": "3"}, "workbooks": {"workbook": [
                {"id": "w-1", "name": "Spend", "project": {"id": "p-1"}},
                {"id": "w-2", "name": "Spend", "project": {"id": "p-2"}},
                {"id": "w-3", "name": "Spend"},
            ]}}),
        )
    });
    let found = client.workbooks().find_by_name(&"p-2".into(), "spend").await.unwrap();
    assert_eq!(found.iter().map(|workbook| workbook.id.as_str()).collect::<Vec<_>>(), ["w-2"]);
}
