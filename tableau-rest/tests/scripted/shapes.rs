//! Answers in the shapes that servers really give them: written from the reference and from published observations (numbers as text,
//! lists of one without a list, empty lists as `{}`, times with an offset without a colon, members that are missing).

use serde_json::{Value, json};
use tableau_rest::{
    Capability, Grantee, JobState, PermissionMode, Recurrence, RefreshKind, RefreshTargetId, WebhookEvent,
};

use super::fake;

/// The client of a server that answers everything with this document.
fn answering(document: Value) -> tableau_rest::Client {
    fake::client(move |_, _| fake::json(200, &document)).0
}

#[tokio::test]
async fn a_datasource_with_all_fields_of_cloud_and_one_with_hardly_any() {
    let full = json!({ "datasource": {
        "id": "d-1", "name": "Invoices", "contentUrl": "Invoices_1", "description": "", "type": "hyper",
        "createdAt": "2026-01-02T03:04:05Z", "updatedAt": "2026-11-23T10:00:00Z", "size": "12", "isCertified": "True",
        "certificationNote": "checked", "encryptExtracts": "false", "hasExtracts": true, "useRemoteQueryAgent": false,
        "webpageUrl": "https://x/#/site/f/datasources/1", "isPublished": true, "hasAlert": false, "serverName": "localhost",
        "databaseName": "", "connectedWorkbooksCount": "3", "favoritesTotal": 0, "parentType": "Project",
        "project": { "id": "p-1", "name": "Finance" }, "owner": { "id": "u-1", "name": "demo", "siteRole": "Creator" },
        "tags": { "tag": [{ "label": "a" }, { "label": "b c" }] }, "site": { "id": "s" }, "somethingNew": { "x": [1] }
    }});
    let read = answering(full).datasources().get(&"d-1".into()).await.unwrap();
    assert_eq!((read.size, read.is_certified, read.encrypt_extracts), (Some(12), Some(true), Some(false)));
    assert_eq!((read.description, read.certification_note.as_deref()), (None, Some("checked")));
    assert_eq!(read.tags, ["a", "b c"]);
    let bare = json!({ "datasource": { "id": "d-2", "name": "Private", "tags": [] } });
    let read = answering(bare).datasources().get(&"d-2".into()).await.unwrap();
    assert!(read.project.is_none() && read.owner.is_none() && read.tags.is_empty());
}

#[tokio::test]
async fn jobs_as_they_run_end_fail_without_a_word_and_go_through_bridge() {
    let base = json!({ "id": "j-1", "mode": "Asynchronous", "createdAt": "2026-11-23T10:00:00Z" });
    let with = |more: Value| {
        let mut job = base.as_object().unwrap().clone();
        job.extend(more.as_object().unwrap().clone());
        json!({ "job": job })
    };
    let cases = [
        (with(json!({ "type": "PublishDatasource", "progress": "0", "finishCode": "1" })), JobState::Running),
        (
            with(json!({ "type": "UpdateUploadedFile", "progress": 0, "startedAt": "2026-11-23T10:00:01Z" })),
            JobState::Running,
        ),
        (
            with(
                json!({ "type": "UpdateUploadedFile", "progress": "100", "finishCode": "1", "completedAt": "2026-11-23T10:00:02Z" }),
            ),
            JobState::Failed,
        ),
        (
            with(
                json!({ "type": "RefreshExtract", "progress": 100, "finishCode": 3, "completedAt": "2026-11-23T10:00:02Z",
                "extractRefreshJob": { "notes": "done by a client", "datasource": { "id": "d" } } }),
            ),
            JobState::Succeeded,
        ),
        (
            with(
                json!({ "type": "RefreshExtract", "progress": 100, "finishCode": 0, "completedAt": "2026-11-23T10:00:02Z",
                "statusNotes": { "statusNote": { "type": "errorCode", "value": "17", "text": "No driver" } } }),
            ),
            JobState::Failed,
        ),
        (
            with(
                json!({ "type": "RunFlow", "progress": 100, "finishCode": "2", "completedAt": "2026-11-23T10:00:02Z" }),
            ),
            JobState::Cancelled,
        ),
        (with(json!({ "type": "X", "progress": 100, "completedAt": "2026-11-23T10:00:02Z" })), JobState::Undetermined),
    ];
    for (document, state) in cases {
        let read = answering(document.clone()).jobs().get(&"j-1".into()).await.unwrap();
        assert_eq!(read.state(), state, "{document}");
    }
    let listed = json!({ "pagination": { "pageNumber": "1", "pageSize": "100", "totalAvailable": "1" }, "backgroundJobs": {
        "backgroundJob": { "id": "j-2", "status": "InProgress", "createdAt": "2026-11-23T10:00:00Z", "priority": "50",
            "jobType": "increment_extracts", "title": "Ledger", "subtitle": "" } }});
    let job = answering(listed).jobs().find_refresh("Ledger").await.unwrap().unwrap();
    assert_eq!(job.id().as_str(), "j-2");
}

#[tokio::test]
async fn tasks_of_server_and_cloud() {
    let server = json!({ "tasks": { "task": [
        { "extractRefresh": { "id": "t-1", "priority": "50", "consecutiveFailedCount": "2", "type": "IncrementExtractTask",
            "schedule": { "id": "s-1", "name": "Nightly", "state": "Active", "nextRunAt": "2026-11-24T02:00:00Z" },
            "workbook": { "id": "w-1" } } },
        { "extractRefresh": { "id": "t-2", "priority": 50, "type": "RefreshExtractTask" } }
    ]}});
    let tasks = answering(server).tasks().list().await.unwrap();
    assert_eq!((tasks[0].schedule.as_deref(), tasks[0].consecutive_failures), (Some("Nightly"), Some(2)));
    assert!(tasks[1].datasource.is_none() && tasks[1].workbook.is_none() && tasks[1].next_run_at.is_none());
    for empty in [json!({ "tasks": {} }), json!({ "tasks": [] })] {
        assert_eq!(answering(empty).tasks().list().await.unwrap(), []);
    }
    // The schedule beside the task, and a time whose offset has no colon.
    let cloud = json!({
        "extractRefresh": { "id": "t-3", "priority": 60, "type": "FullRefresh", "datasource": { "id": "d-1" } },
        "schedule": { "frequency": "Weekly", "nextRunAt": "2026-11-29T03:00:00-0700",
            "frequencyDetails": { "start": "03:00:00", "intervals": { "interval": [{ "weekDay": "Sunday" }] } } }
    });
    let (client, log) = fake::client(move |_, _| fake::json(200, &cloud));
    let target = RefreshTargetId::Datasource("d-1".into());
    let when = Recurrence::Weekly { start: "03:00:00".parse().unwrap(), day: tableau_rest::Weekday::Sunday };
    let made = client.tasks().create(&target, RefreshKind::Full, &when).await.unwrap();
    assert_eq!(made.next_run_at, Some("2026-11-29T10:00:00Z".parse().unwrap()));
    assert_eq!(log.lines(), ["POST tasks/extractRefreshes"]);
    let sent: Value = serde_json::from_slice(log.last().body()).unwrap();
    assert_eq!(
        sent,
        json!({ "extractRefresh": { "type": "FullRefresh", "datasource": { "id": "d-1" } }, "schedule": {
            "frequency": "Weekly", "frequencyDetails": { "start": "03:00:00",
                "intervals": { "interval": [{ "weekDay": "Sunday" }] } } } })
    );
}

#[tokio::test]
async fn webhooks_as_a_server_lists_them() {
    let listed = json!({ "pagination": { "pageNumber": "1", "pageSize": "100", "totalAvailable": "2" }, "webhooks": { "webhook": [
        { "webhook-source": { "webhook-source-event-datasource-updated": {} }, "webhook-destination": {
            "webhook-destination-http": { "method": "POST", "url": "https://hooks.example.com/x" } }, "event": "DatasourceUpdated",
          "owner": { "id": "u-1", "name": "demo" }, "id": "w-1", "name": "ours", "createdAt": "2026-01-01T00:00:00Z",
          "updatedAt": "2026-01-01T00:00:00Z", "isEnabled": false, "statusChangeReason": "Webhook disabled after 4 failures" },
        { "id": "w-2", "name": "bare", "event": "BrandNew" }
    ]}});
    let webhooks = answering(listed).webhooks().list().all().await.unwrap();
    assert_eq!(webhooks[0].event, Some(WebhookEvent::DatasourceUpdated));
    assert_eq!(
        (webhooks[0].is_enabled, webhooks[0].url.as_deref()),
        (Some(false), Some("https://hooks.example.com/x"))
    );
    assert!(webhooks[0].status_change_reason.as_ref().unwrap().contains("4 failures"));
    assert_eq!(webhooks[1].event, Some(WebhookEvent::Other("BrandNew".to_owned())));
    let tested = json!({ "webhookTestResult": { "id": "w-1", "status": "503", "body": "down" } });
    assert!(!answering(tested).webhooks().test(&"w-1".into()).await.unwrap().is_success());
}

#[tokio::test]
async fn permissions_and_revisions_alone_and_together() {
    let rules = json!({ "permissions": { "datasource": { "id": "d-1" }, "granteeCapabilities": [
        { "group": { "id": "g-1" }, "capabilities": { "capability": { "name": "Read", "mode": "Allow" } } },
        { "user": { "id": "u-1" }, "capabilities": { "capability": [
            { "name": "VizqlDataApiAccess", "mode": "Deny" }, { "name": "Unheard", "mode": "Allow" } ] } }
    ]}});
    let rules = answering(rules).datasources().permissions(&"d-1".into()).await.unwrap();
    assert_eq!(rules[0].grantee, Grantee::Group("g-1".into()));
    assert_eq!(
        rules[1].capabilities,
        [
            (Capability::VizqlDataApiAccess, PermissionMode::Deny),
            (Capability::Other("Unheard".to_owned()), PermissionMode::Allow)
        ]
    );
    let none = json!({ "permissions": { "datasource": { "id": "d-1" } } });
    assert_eq!(answering(none).datasources().permissions(&"d-1".into()).await.unwrap(), []);
    let revisions = json!({ "pagination": {}, "revisions": { "revision": { "revisionNumber": "3", "current": "true",
        "deleted": false, "publishedAt": "2026-11-23T10:00:00Z", "publisher": { "id": "u-1", "name": "demo" } } } });
    let revisions = answering(revisions).datasources().revisions(&"d-1".into()).await.unwrap();
    assert!(revisions.len() == 1 && revisions[0].is_current && revisions[0].number == "3");
}

#[tokio::test]
async fn what_a_site_holds() {
    let page = |name: &str, inner: &str, entry: Value| json!({ "pagination": { "pageNumber": "1", "pageSize": "1000", "totalAvailable": "1" }, name: { inner: [entry] } });
    let user = json!({ "id": "u-1", "name": "ann", "siteRole": "Explorer", "lastLogin": "", "externalAuthUserId": "" });
    let users = answering(page("users", "user", user)).users().list().all().await.unwrap();
    assert_eq!((users[0].last_login, users[0].site_role.as_deref()), (None, Some("Explorer")));
    let view = json!({ "id": "v-1", "name": "Sheet 1", "contentUrl": "W/sheets/S", "createdAt": "2026-01-01T00:00:00Z",
        "viewUrlName": "S", "workbook": { "id": "w-1" }, "owner": { "id": "u" }, "project": { "id": "p" }, "tags": {} });
    let views = answering(page("views", "view", view)).views().list().all().await.unwrap();
    assert_eq!(views[0].workbook.as_ref().unwrap().id.as_str(), "w-1");
    let schedule = json!({ "id": "s-1", "name": "Nightly", "state": "Active", "priority": "50", "type": "Extract",
        "frequency": "Daily", "nextRunAt": "2026-11-24T02:00:00Z", "executionOrder": "Parallel" });
    let (client, log) = fake::client({
        let document = page("schedules", "schedule", schedule);
        move |_, _| fake::json(200, &document)
    });
    assert_eq!(client.schedules().list().all().await.unwrap()[0].priority, Some(50));
    // Schedules lie above the sites.
    assert!(log.last().uri().path().ends_with("/api/3.29/schedules"));
    for name in ["flowRuns", "flowRun"] {
        let run = json!({ "id": "r-1", "flowId": "f-1", "status": "Failed", "progress": "100",
            "startedAt": "2026-11-23T10:00:00Z", "completedAt": "2026-11-23T10:05:00Z", "backgroundJobId": "j-1" });
        let runs = answering(json!({ "flowRuns": { name: [run] } })).flows().runs().await.unwrap();
        assert_eq!((runs[0].progress, runs[0].status.as_deref()), (Some(100), Some("Failed")));
    }
}
