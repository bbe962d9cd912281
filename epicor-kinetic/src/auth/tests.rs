//! One token for all, on a clock that is turned by hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::AUTHORIZATION;
use tokio::sync::Notify;

use super::bearer::{FreshToken, TokenSource};
use super::*;
use crate::error::{Delivery, Error, ErrorKind};

#[derive(Debug, Default)]
struct Counting {
    fetches: AtomicUsize,
    fails: Mutex<Vec<usize>>,
    gate: Option<Notify>,
    lifetime: Option<Duration>,
}

#[async_trait]
impl TokenSource for Arc<Counting> {
    async fn fetch(&self) -> Result<FreshToken> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        if self.fails.lock().unwrap().contains(&number) {
            return Err(Error::new(ErrorKind::Auth, Delivery::Answered, "fetch token", "no"));
        }
        Ok(FreshToken { value: SecretString::from(format!("token-{number}")), lifetime: self.lifetime })
    }
}

async fn used(bearer: &Bearer) -> Result<HeaderMap> {
    let mut request = Request::new(Bytes::new());
    bearer.apply(&mut request).await?;
    Ok(request.headers().clone())
}

fn name(headers: &HeaderMap) -> &str {
    headers[AUTHORIZATION].to_str().unwrap()
}

#[tokio::test]
async fn many_callers_share_one_fetch() {
    let source = Arc::new(Counting { gate: Some(Notify::new()), ..Counting::default() });
    let bearer = Arc::new(Bearer::new(Arc::clone(&source)));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let bearer = Arc::clone(&bearer);
            tokio::spawn(async move { name(&used(&bearer).await.unwrap()).to_owned() })
        })
        .collect();
    tokio::task::yield_now().await;
    source.gate.as_ref().unwrap().notify_one();
    for call in calls {
        assert_eq!(call.await.unwrap(), "Bearer token-1");
    }
    assert_eq!(source.fetches.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failed_fetch_is_shared_by_those_who_waited_and_tried_again_by_those_who_come_later() {
    let source = Arc::new(Counting { gate: Some(Notify::new()), fails: Mutex::new(vec![1]), ..Counting::default() });
    let bearer = Arc::new(Bearer::new(Arc::clone(&source)));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let bearer = Arc::clone(&bearer);
            tokio::spawn(async move { used(&bearer).await.map_err(|error| error.kind()) })
        })
        .collect();
    tokio::task::yield_now().await;
    source.gate.as_ref().unwrap().notify_one();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err(), ErrorKind::Auth);
    }
    assert_eq!(source.fetches.load(Ordering::SeqCst), 1);
    source.gate.as_ref().unwrap().notify_one();
    assert_eq!(name(&used(&bearer).await.unwrap()), "Bearer token-2");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_expires() {
    let source = Arc::new(Counting { lifetime: Some(Duration::from_secs(1_000)), ..Counting::default() });
    let bearer = Bearer::new(Arc::clone(&source));
    assert_eq!(name(&used(&bearer).await.unwrap()), "Bearer token-1");
    tokio::time::advance(Duration::from_secs(740)).await;
    assert_eq!(name(&used(&bearer).await.unwrap()), "Bearer token-1");
    tokio::time::advance(Duration::from_secs(111)).await;
    assert_eq!(name(&used(&bearer).await.unwrap()), "Bearer token-2");
}

#[tokio::test(start_paused = true)]
async fn an_early_renewal_that_fails_does_no_harm_while_the_old_token_lives() {
    let source = Arc::new(Counting {
        lifetime: Some(Duration::from_secs(1_000)),
        fails: Mutex::new(vec![2, 3]),
        ..Counting::default()
    });
    let bearer = Bearer::new(Arc::clone(&source));
    used(&bearer).await.unwrap();
    tokio::time::advance(Duration::from_mins(15)).await;
    assert_eq!(name(&used(&bearer).await.unwrap()), "Bearer token-1");
    tokio::time::advance(Duration::from_secs(99)).await;
    assert!(used(&bearer).await.is_err(), "a token that is about to expire is not sent any more");
    assert_eq!(name(&used(&bearer).await.unwrap()), "Bearer token-4");
}

#[tokio::test]
async fn refusing_an_old_token_does_not_throw_away_the_new_one() {
    let source = Arc::new(Counting::default());
    let bearer = Bearer::new(Arc::clone(&source));
    let first = used(&bearer).await.unwrap();
    assert!(bearer.invalidate(&first).await);
    assert_eq!(name(&used(&bearer).await.unwrap()), "Bearer token-2");
    assert!(bearer.invalidate(&first).await);
    assert_eq!(name(&used(&bearer).await.unwrap()), "Bearer token-2");
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_block_the_others() {
    let source = Arc::new(Counting { gate: Some(Notify::new()), ..Counting::default() });
    let bearer = Arc::new(Bearer::new(Arc::clone(&source)));
    let leader = tokio::spawn({
        let bearer = Arc::clone(&bearer);
        async move { used(&bearer).await.map(|_| ()) }
    });
    tokio::task::yield_now().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    source.gate.as_ref().unwrap().notify_one();
    assert_eq!(name(&used(&bearer).await.unwrap()), "Bearer token-2");
}

#[test]
fn token_answers_are_read_in_every_observed_form() {
    for (body, seconds) in [
        (r#"{"AccessToken":"t","ExpiresIn":3600,"RefreshToken":"","TokenType":"Bearer"}"#, Some(3_600)),
        (r#"{"access_token":"t","expires_in":"36000","token_type":"Bearer"}"#, Some(36_000)),
        (r#"{"AccessToken":"t"}"#, None),
        (
            "<?xml version=\"1.0\"?><Token xmlns=\"urn:x\"><AccessToken>t</AccessToken><ExpiresIn>60</ExpiresIn><RefreshToken/></Token>",
            Some(60),
        ),
    ] {
        let token = token_resource::read(body.as_bytes()).unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(&token.value), "t");
        assert_eq!(token.lifetime, seconds.map(Duration::from_secs), "{body}");
    }
}

#[test]
fn an_unreadable_token_answer_does_not_come_back_in_the_error() {
    for body in ["", "<html>CANARY", "{\"Access\":\"CANARY\"}", "{\"AccessToken\":\"\"}", "CANARY"] {
        let error = token_resource::read(body.as_bytes()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(!format!("{error} {error:?}").contains("CANARY"));
    }
}
