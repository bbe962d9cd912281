//! Signing in once, staying signed in, and never signing in too often.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use serde_json::{Value, json};
use tableau_rest::{Client, Delivery, ErrorKind, RetryPolicy};

use super::fake::{self, Answer};

async fn read(client: &Client) -> tableau_rest::Result<()> {
    client.datasources().get(&"d-1".into()).await.map(drop)
}

/// A server that signs in the way the closure says, and has one datasource.
fn signing_in(sign_in: impl Fn() -> Answer + Send + Sync + 'static) -> impl Fn(&Request<Bytes>) -> Answer {
    move |request| match request.uri().path() {
        path if path.ends_with("/serverinfo") => fake::server_info("3.29"),
        path if path.ends_with("/auth/signin") => sign_in(),
        _ => fake::datasource(),
    }
}

#[tokio::test]
async fn many_first_calls_sign_in_once() {
    let (client, log) = fake::client(|_, _| fake::datasource());
    for result in join_all((0..20).map(|_| read(&client))).await {
        result.unwrap();
    }
    assert_eq!((log.sign_ins(), log.calls().len()), (1, 20));
    assert!(log.calls().iter().all(|call| fake::token(call).starts_with("CANARY-TOKEN-1|")));
    let infos = log.all().iter().filter(|request| request.uri().path().ends_with("/serverinfo")).count();
    assert_eq!(infos, 1);
}

#[tokio::test]
async fn the_session_says_who_one_is() {
    let (client, log) = fake::client(|_, _| fake::datasource());
    let session = client.sign_in().await.unwrap();
    assert_eq!((session.site_id.as_str(), session.user_id.as_str()), ("site-1", "user-1"));
    assert_eq!(session.site_content_url, "finance");
    assert_eq!(session.token_expires_in, Some(Duration::from_mins(2 * 1440 + 12 * 60 + 30)));
    assert_eq!(client.session().await.unwrap(), session);
    assert_eq!(log.sign_ins(), 1);
}

#[tokio::test]
async fn each_kind_of_credentials_has_its_own_body() {
    let site = json!({"contentUrl": "finance"});
    let server = || fake::raw(signing_in(|| fake::signed_in(1)));
    let name = fake::unique();
    let (pat, (password, jwt)) = (server(), (server(), server()));
    let table = [
        (
            pat.0.personal_access_token(&name, "s"),
            pat.1,
            json!({"personalAccessTokenName": name, "personalAccessTokenSecret": "s", "site": site}),
        ),
        (password.0.password("u", "p"), password.1, json!({"name": "u", "password": "p", "site": site})),
        (jwt.0.jwt("a.b.c"), jwt.1, json!({"jwt": "a.b.c", "site": site})),
    ];
    for (builder, log, expected) in table {
        builder.build().unwrap().sign_in().await.unwrap();
        let request = log.last();
        assert_eq!(fake::line(&request), "POST /api/3.29/auth/signin");
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body, json!({ "credentials": expected }));
        assert!(!request.headers().contains_key("x-tableau-auth"));
        assert_eq!(request.headers()["accept"], "application/json");
        assert_eq!(request.headers()["content-type"], "application/json");
    }
}

#[tokio::test]
async fn an_ended_session_is_renewed_once_and_the_call_goes_out_again() {
    for code in ["401002", "401000"] {
        let (client, log) =
            fake::client(move |number, _| if number == 1 { fake::error(401, code) } else { fake::job() });
        // A change too: it was refused before anything was done.
        client.datasources().refresh(&"d-1".into()).await.unwrap();
        assert_eq!((log.sign_ins(), log.calls().len()), (2, 2), "{code}");
        assert!(fake::token(&log.last()).starts_with("CANARY-TOKEN-2|"));
        assert_eq!(log.calls()[0].body(), log.calls()[1].body());
    }
}

#[tokio::test]
async fn callers_that_lose_the_same_session_renew_it_once() {
    let (client, log) = fake::client(|_, request| {
        if fake::token(request).starts_with("CANARY-TOKEN-1|") {
            fake::error(401, "401002")
        } else {
            fake::datasource()
        }
    });
    client.sign_in().await.unwrap();
    for result in join_all((0..10).map(|_| read(&client))).await {
        result.unwrap();
    }
    assert_eq!((log.sign_ins(), log.calls().len()), (2, 20));
}

#[tokio::test(start_paused = true)]
async fn who_hears_late_of_the_lost_session_uses_the_one_that_others_have_renewed() {
    let (client, log) = fake::client(|_, request| {
        if fake::token(request).starts_with("CANARY-TOKEN-1|") {
            fake::error(401, "401002")
        } else {
            fake::datasource()
        }
    });
    client.sign_in().await.unwrap();
    // With a personal access token a needless sign-in would end the session that everybody else has just got.
    let late = async { client.datasources().get(&"slow".into()).await };
    let (late, early) = tokio::join!(late, read(&client));
    late.unwrap();
    early.unwrap();
    assert_eq!((log.sign_ins(), log.calls().len()), (2, 4));
}

#[tokio::test]
async fn who_is_evicted_again_gives_up_and_hears_of_the_rule_of_one_session() {
    let (client, log) = fake::client(|_, _| fake::error(401, "401002"));
    let error = read(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.code(), error.attempts()), (ErrorKind::Auth, Some("401002"), 2));
    assert!(error.hint().unwrap().contains("one session at a time"));
    assert_eq!((log.sign_ins(), log.calls().len()), (2, 2));
}

#[tokio::test]
async fn refused_credentials_are_never_tried_again_by_themselves() {
    let (builder, log) = fake::raw(signing_in(|| fake::error(401, "401001")));
    let client = builder.personal_access_token(fake::unique(), fake::SECRET).build().unwrap();
    for result in join_all((0..10).map(|_| read(&client))).await {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Auth, Some("401001")));
        assert_eq!((error.operation(), error.delivery()), ("read datasource", Delivery::NotSent));
        assert!(error.hint().unwrap().contains("token"));
    }
    read(&client).await.unwrap_err();
    assert_eq!((log.sign_ins(), log.calls().len()), (1, 0));
    // Only who asks for it expressly gets another try.
    client.sign_in().await.unwrap_err();
    assert_eq!(log.sign_ins(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_sign_in_is_repeated_unless_the_credentials_work_once_only() {
    let server = || fake::raw(signing_in(fake::lost));
    let (pat, log) = server();
    let client = pat.personal_access_token(fake::unique(), fake::SECRET).build().unwrap();
    assert_eq!(client.sign_in().await.unwrap_err().kind(), ErrorKind::Transport);
    assert_eq!(log.sign_ins(), 4);
    let (jwt, log) = server();
    let error = jwt.jwt("a.b.c").build().unwrap().sign_in().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
    assert_eq!(log.sign_ins(), 1);
}

#[tokio::test]
async fn signing_out_forgets_the_session_and_an_evicted_one_is_no_error() {
    for (status, body) in [(204, ""), (401, r#"{"error":{"code":"401002"}}"#)] {
        let (client, log) = fake::client(move |_, request| {
            if request.uri().path().ends_with("/auth/signout") {
                fake::answer(status, body)
            } else {
                fake::datasource()
            }
        });
        client.sign_out().await.unwrap();
        assert!(log.all().is_empty(), "there is nothing to sign out of");
        client.sign_in().await.unwrap();
        client.sign_out().await.unwrap();
        assert_eq!(fake::line(&log.last()), "POST /api/3.29/auth/signout");
        assert_eq!((fake::token(&log.last()), log.sign_ins()), ("CANARY-TOKEN-1|canary-second-part|site-1", 1));
        read(&client).await.unwrap();
        assert_eq!(log.sign_ins(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_sign_out_that_fails_forgets_the_session_all_the_same() {
    let (builder, log) = fake::builder(|_, request| {
        if request.uri().path().ends_with("/auth/signout") { fake::error(500, "500000") } else { fake::datasource() }
    });
    let client = builder.retry(RetryPolicy::none()).build().unwrap();
    client.sign_in().await.unwrap();
    assert_eq!(client.sign_out().await.unwrap_err().kind(), ErrorKind::Server);
    read(&client).await.unwrap();
    assert_eq!(log.sign_ins(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_idled_too_long_is_renewed_before_it_is_used() {
    let (builder, log) = fake::builder(|_, _| fake::datasource());
    let client = builder.idle_limit(Duration::from_mins(100)).build().unwrap();
    read(&client).await.unwrap();
    for _ in 0..3 {
        tokio::time::advance(Duration::from_mins(80)).await;
        read(&client).await.unwrap();
    }
    assert_eq!(log.sign_ins(), 1, "each call begins the limit anew");
    tokio::time::advance(Duration::from_mins(95)).await;
    read(&client).await.unwrap();
    assert_eq!(log.sign_ins(), 2);
    assert!(fake::token(&log.last()).starts_with("CANARY-TOKEN-2|"));
}

#[tokio::test]
async fn clients_of_one_personal_access_token_share_a_session() {
    let name = fake::unique();
    let (first, log) = fake::raw(signing_in(|| fake::signed_in(1)));
    let (second, other_log) = fake::raw(signing_in(|| fake::signed_in(2)));
    let first = first.personal_access_token(&name, fake::SECRET).build().unwrap();
    let second = second.personal_access_token(&name, fake::SECRET).build().unwrap();
    let (one, other) = tokio::join!(read(&first), read(&second));
    one.and(other).unwrap();
    assert_eq!(log.sign_ins() + other_log.sign_ins(), 1);
    assert_eq!(fake::token(&log.last()), fake::token(&other_log.last()));
    let elsewhere = Client::builder("https://tableau.example.com").site("other");
    let error = elsewhere.personal_access_token(&name, fake::SECRET).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "one token cannot be signed in to two sites");
}

#[tokio::test]
async fn an_answer_to_a_sign_in_without_a_token_is_no_session() {
    let (builder, _) = fake::raw(signing_in(|| fake::json(200, &json!({"credentials": {"site": {"id": "s"}}}))));
    let error = builder.password("u", "p").build().unwrap().sign_in().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}
