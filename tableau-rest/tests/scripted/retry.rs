//! What is sent again, what never, and what is said about it afterwards.

use std::time::Duration;

use http::Method;
use tableau_rest::{Client, Delivery, ErrorKind, RetryPolicy, TransportError, TransportErrorKind};
use tokio::time::Instant;

use super::fake;

async fn read(client: &Client) -> tableau_rest::Result<()> {
    client.datasources().get(&"d-1".into()).await.map(drop)
}

/// A change that must not happen twice.
async fn change(client: &Client) -> tableau_rest::Result<()> {
    client.datasources().refresh(&"d-1".into()).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_read_is_sent_again_after_a_lost_answer() {
    let (client, log) = fake::client(|number, _| if number < 3 { fake::lost() } else { fake::datasource() });
    read(&client).await.unwrap();
    assert_eq!(log.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_never_sent_again_after_a_lost_answer() {
    for kind in [TransportErrorKind::Interrupted, TransportErrorKind::Timeout, TransportErrorKind::Truncated] {
        let (client, log) = fake::client(move |_, _| Err(TransportError::new(kind)));
        let error = change(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
        assert!(error.hint().unwrap().contains("look at the state"));
        assert_eq!(log.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_gave_up_repeats_reads_only() {
    for status in [502, 504, 500] {
        let (client, log) = fake::client(move |_, _| fake::answer(status, "<html>gateway</html>"));
        let error = read(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts(), log.calls().len()), (ErrorKind::Server, 4, 4));
        let error = change(&client).await.unwrap_err();
        assert_eq!((error.delivery(), log.calls().len()), (Delivery::Unknown, 5), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_never_left_is_sent_again() {
    let (client, log) = fake::client(|number, _| if number == 1 { fake::unreachable() } else { fake::job() });
    change(&client).await.unwrap();
    assert_eq!(log.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn throttling_is_waited_for_as_long_as_the_server_asks() {
    for (header, value) in [("retry-after", "11"), ("retry-after", "Sun, 06 Nov 1994 08:49:48 GMT")] {
        let (client, log) = fake::client(move |number, _| {
            if number > 1 {
                return fake::job();
            }
            let refused = fake::with_header(fake::answer(429, ""), header, value);
            fake::with_header(refused, "date", "Sun, 06 Nov 1994 08:49:37 GMT")
        });
        client.sign_in().await.unwrap();
        let begun = Instant::now();
        change(&client).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(11) && begun.elapsed() < Duration::from_secs(13));
        assert_eq!(log.calls().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_refills_too_late_is_handed_to_the_caller() {
    let (client, log) = fake::client(|_, _| fake::with_header(fake::error(429, "429000"), "retry-after", "3600"));
    let error = read(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Throttled, Some(Duration::from_hours(1))));
    assert_eq!(log.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_would_fail_again_is_not_repeated() {
    for (status, code) in [(400, "400000"), (403, "403004"), (404, "404004"), (409, "409004"), (405, "405000")] {
        let (client, log) = fake::client(move |_, _| fake::error(status, code));
        read(&client).await.unwrap_err();
        assert_eq!(log.calls().len(), 1, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_is_repeated_takes_gone_for_done() {
    let (client, log) = fake::client(|number, _| if number == 1 { fake::lost() } else { fake::error(404, "404004") });
    client.datasources().delete(&"d-1".into()).await.unwrap();
    assert_eq!(log.lines(), ["DELETE datasources/d-1", "DELETE datasources/d-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_of_what_never_was_is_not_taken_for_done() {
    // None of the earlier attempts can have deleted anything.
    for first in [fake::unreachable as fn() -> fake::Answer, || fake::error(401, "401002"), || fake::answer(429, "")] {
        let (client, log) =
            fake::client(move |number, _| if number == 1 { first() } else { fake::error(404, "404004") });
        let error = client.datasources().delete(&"d-1".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::Answered));
        assert_eq!(log.calls().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_not_forgotten_whatever_the_next_attempt_brings() {
    type Next = fn() -> fake::Answer;
    let table: [(&str, Next, ErrorKind); 4] = [
        ("not reached", fake::unreachable, ErrorKind::Transport),
        ("refused", || fake::error(403, "403131"), ErrorKind::Conflict),
        ("throttled", || fake::error(429, "429000"), ErrorKind::Throttled),
        ("evicted", || fake::error(401, "401002"), ErrorKind::Auth),
    ];
    for (what, next, kind) in table {
        let (client, _) = fake::client(move |number, _| if number == 1 { fake::lost() } else { next() });
        let error = client.request(Method::PUT, "things/1").idempotent(true).send().await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Unknown), "{what}");
        assert!(error.hint().unwrap().contains("look at the state"), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_renewed_does_not_hide_a_lost_answer() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let calls = AtomicUsize::new(0);
    let sign_ins = AtomicUsize::new(0);
    let (builder, _) = fake::raw(move |request| match request.uri().path() {
        path if path.ends_with("/serverinfo") => fake::server_info("3.29"),
        path if path.ends_with("/auth/signin") => match sign_ins.fetch_add(1, Ordering::SeqCst) {
            0 => fake::signed_in(1),
            _ => fake::error(401, "401001"),
        },
        _ => match calls.fetch_add(1, Ordering::SeqCst) {
            0 => fake::lost(),
            _ => fake::error(401, "401002"),
        },
    });
    let client = builder.password("u", "p").build().unwrap();
    let error = client.request(Method::PUT, "things/1").idempotent(true).send().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Auth, Delivery::Unknown));
}

#[tokio::test(start_paused = true)]
async fn the_policy_of_the_caller_counts() {
    for (policy, attempts) in [(RetryPolicy::none(), 1), (RetryPolicy::default().attempts(7), 7)] {
        let (builder, log) = fake::builder(|_, _| fake::lost());
        let error = read(&builder.retry(policy).build().unwrap()).await.unwrap_err();
        assert_eq!(log.calls().len(), attempts);
        assert_eq!(usize::try_from(error.attempts()).unwrap(), attempts);
    }
}

#[tokio::test]
async fn a_body_that_is_shorter_than_promised_is_no_answer() {
    let (builder, _) = fake::builder(|_, _| fake::with_header(fake::job(), "content-length", "4711"));
    let error = change(&builder.retry(RetryPolicy::none()).build().unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
}

#[tokio::test]
async fn a_change_whose_answer_cannot_be_read_may_have_happened() {
    for body in ["", "<html>welcome</html>", "{}", r#"{"job":{}}"#] {
        let (client, log) = fake::client(move |_, _| fake::answer(200, body));
        let error = change(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Decode, Delivery::Unknown), "{body:?}");
        assert_eq!(log.calls().len(), 1);
    }
}
