//! What is sent again, and what never.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use epicor_kinetic::{
    Client, Delivery, EntitySet, ErrorKind, RetryPolicy, Transport, TransportError, TransportErrorKind,
};
use http::{HeaderValue, Method, Request, Response};
use serde_json::json;
use tokio::time::Instant;

use crate::fake::{self, Answer};

fn lost() -> Answer {
    Err(TransportError::new(TransportErrorKind::Interrupted))
}

async fn read(client: &Client) -> Result<(), epicor_kinetic::Error> {
    client.entity_set(EntitySet::VENDORS).bytes().await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_read_is_sent_again_after_a_lost_answer() {
    let (client, log) = fake::client(|number, _| if number < 3 { lost() } else { fake::rows(&[]) });
    read(&client).await.unwrap();
    assert_eq!(log.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_never_sent_again_after_a_lost_answer() {
    for kind in [TransportErrorKind::Interrupted, TransportErrorKind::Timeout, TransportErrorKind::Truncated] {
        let (client, log) = fake::client(move |_, _| Err(TransportError::new(kind)));
        let error = client.service("Erp.BO.VendorSvc").call("Update", &json!({ "ds": {} })).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
        assert!(error.hint().unwrap().contains("read the record again"));
        assert_eq!((log.len(), error.attempts()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_left_is_sent_again() {
    let (client, log) = fake::client(|number, _| {
        if number == 1 { Err(TransportError::new(TransportErrorKind::Connect)) } else { fake::answer(200, "{}") }
    });
    client.service("Erp.BO.VendorSvc").call("Update", &json!({})).await.unwrap();
    assert_eq!(log.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reading_method_is_sent_again_and_so_is_what_the_caller_declares_harmless() {
    let (client, log) = fake::client(|number, _| if number % 2 == 1 { lost() } else { fake::answer(200, "{}") });
    client.service("Erp.BO.VendorSvc").read("GetByID", &json!({ "vendorNum": 1 })).await.unwrap();
    client.request(Method::POST, "api/v2/efx/EPIC06/L/F").idempotent().send().await.unwrap();
    assert_eq!(log.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn server_failures_repeat_reads_only() {
    let (client, log) = fake::client(|_, _| fake::answer(502, "<html>bad gateway</html>"));
    let error = read(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), log.len()), (ErrorKind::Server, 4, 4));
    client.service("Erp.BO.VendorSvc").call("Update", &json!({})).await.unwrap_err();
    assert_eq!(log.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn throttling_repeats_everything_after_the_delay_that_was_asked_for() {
    for status in [429_u16, 503] {
        let (client, log) = fake::client(move |number, _| {
            if number > 1 {
                return fake::answer(200, "{}");
            }
            let mut refused = fake::answer(status, "")?;
            refused.headers_mut().insert("retry-after", HeaderValue::from_static("11"));
            Ok(refused)
        });
        let begun = Instant::now();
        client.service("Erp.BO.VendorSvc").call("Update", &json!({})).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(11));
        assert_eq!(log.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_beyond_the_total_is_handed_to_the_caller() {
    let (client, log) = fake::client(|_, _| {
        let mut refused = fake::answer(429, "")?;
        refused.headers_mut().insert("retry-after", HeaderValue::from_static("3600"));
        Ok(refused)
    });
    let error = read(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
    assert_eq!(log.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_would_fail_again_is_not_repeated() {
    for (status, message, class) in [
        (400, "no", "Ice.Common.BusinessObjectException"),
        (400, "Could not find a property named 'X' on type 'Erp.Vendor'.", "ODataException"),
        (404, "no", "ApiException"),
        (500, "Record not found.", "Ice.Common.RecordNotFoundException"),
        (500, "Execution Timeout Expired. The timeout period elapsed", "Ice.BLException"),
        (403, "no", "UnauthorizedAccessException"),
    ] {
        let (client, log) = fake::client(move |_, _| fake::failure(status, message, class));
        read(&client).await.unwrap_err();
        assert_eq!(log.len(), 1, "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_licence_pool_is_waited_for() {
    let (client, log) = fake::client(|number, _| {
        if number == 1 {
            return fake::failure(400, "Maximum users exceeded on license type: DefaultUser", "Ice.BLException");
        }
        fake::answer(200, "{}")
    });
    client.service("Erp.BO.VendorSvc").call("Update", &json!({})).await.unwrap();
    assert_eq!(log.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_policy_of_the_caller_counts() {
    let (builder, log) = fake::builder(|_, _| lost());
    let client = builder.retry(RetryPolicy::none()).build().unwrap();
    read(&client).await.unwrap_err();
    assert_eq!(log.len(), 1);
    let (builder, log) = fake::builder(|_, _| lost());
    let client = builder.retry(RetryPolicy::default().attempts(7)).build().unwrap();
    assert_eq!(read(&client).await.unwrap_err().attempts(), 7);
    assert_eq!(log.len(), 7);
}

/// Answers after a minute, and counts how many requests are under way.
#[derive(Debug, Default)]
struct Slow {
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Transport for Slow {
    async fn send(&self, _request: Request<Bytes>) -> Answer {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_mins(1)).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(Response::new(Bytes::from_static(b"{\"value\":[]}")))
    }
}

fn slow(transport: &Arc<Slow>) -> epicor_kinetic::ClientBuilder {
    let transport: Arc<dyn Transport> = Arc::<Slow>::clone(transport);
    Client::builder("https://erp.example.com/live").company("E").api_key("k").basic("u", "p").transport(transport)
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_when_its_time_is_over() {
    let transport = Arc::new(Slow::default());
    let client = slow(&transport).timeout(Duration::from_secs(5)).retry(RetryPolicy::none()).build().unwrap();
    let begun = Instant::now();
    let error = read(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_than_allowed_are_under_way() {
    let transport = Arc::new(Slow::default());
    let client = slow(&transport).max_concurrency(3).build().unwrap();
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let client = client.for_company("F").unwrap();
            tokio::spawn(async move { read(&client).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(transport.most.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_slow_ping_tells_of_the_licence() {
    let transport = Arc::new(Slow::default());
    let ping = slow(&transport).build().unwrap().ping().await.unwrap();
    assert!(ping.hint().unwrap().contains("licences"));
    let (client, _) = fake::client(|_, _| fake::rows(&[json!({ "VendorNum": 1 })]));
    assert_eq!(client.ping().await.unwrap().hint(), None);
}

#[tokio::test]
async fn a_body_that_is_shorter_than_promised_is_no_answer() {
    let (builder, _) = fake::builder(|_, _| {
        let mut cut = fake::answer(200, r#"{"value":[]}"#)?;
        cut.headers_mut().insert("content-length", HeaderValue::from_static("4711"));
        Ok(cut)
    });
    let error = read(&builder.retry(RetryPolicy::none()).build().unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_between_two_pages_is_replaced_before_it_is_sent() {
    let (builder, log) = fake::builder(|number, request| {
        if request.uri().path().ends_with("/TokenResource.svc/") {
            return fake::answer(200, format!(r#"{{"AccessToken":"token-{number}","ExpiresIn":"600"}}"#));
        }
        let skip = fake::number(request, "$skip").unwrap();
        let rows: Vec<_> = (skip..(skip + 3).min(5)).map(|n| json!({ "VendorNum": n })).collect();
        fake::rows(&rows)
    });
    let client = builder.token_resource("svc", "CANARY-PASS").build().unwrap();
    let mut pages = client.entity_set(EntitySet::VENDORS).page_size(2).pages::<serde_json::Value>();
    let mut read = 0;
    while let Some(page) = pages.next_page().await.unwrap() {
        read += page.items.len();
        tokio::time::advance(Duration::from_mins(9)).await;
    }
    assert_eq!(read, 5);
    let used: Vec<_> = log.headers("authorization").into_iter().flatten().collect();
    assert_eq!(used, ["Bearer token-1", "Bearer token-3", "Bearer token-5"]);
}
