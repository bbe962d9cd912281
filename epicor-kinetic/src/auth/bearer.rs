//! One bearer token for all callers: fetched once however many wait for it, renewed before it expires.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Credential, TokenChannel};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::retry::random_below;
use crate::transport::{TransportError, TransportErrorKind};

/// Where tokens come from.
#[async_trait]
pub(crate) trait TokenSource: fmt::Debug + Send + Sync + 'static {
    async fn fetch(&self) -> Result<FreshToken>;
}

/// A token as the server handed it out.
pub(crate) struct FreshToken {
    pub(crate) value: SecretString,
    /// `None` when the server did not say; then the token is used until it is refused.
    pub(crate) lifetime: Option<Duration>,
}

struct Token {
    header: HeaderValue,
    /// From here on somebody fetches the next token while the others go on with this one.
    renew_at: Option<Instant>,
    /// From here on it is not used any more.
    dead_at: Option<Instant>,
}

impl Token {
    fn new(fresh: &FreshToken, obtained: Instant) -> Result<Self> {
        let mut header = HeaderValue::from_str(&format!("Bearer {}", fresh.value.expose_secret())).map_err(|_| {
            Error::new(ErrorKind::Decode, Delivery::Answered, "fetch token", "the token cannot be sent in a header")
                .with_hint("check the token service")
        })?;
        header.set_sensitive(true);
        // Between 75 and 85 percent of the lifetime, so that many processes do not renew in the same moment.
        let renew_at = fresh.lifetime.map(|life| obtained + life.mul_f64(0.75) + random_below(life.mul_f64(0.1)));
        let margin = |life: Duration| (life / 20).min(Duration::from_secs(15));
        let dead_at = fresh.lifetime.map(|life| obtained + life.saturating_sub(margin(life)));
        Ok(Self { header, renew_at, dead_at })
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.renew_at.is_none_or(|at| now < at)
    }

    fn is_alive(&self, now: Instant) -> bool {
        self.dead_at.is_none_or(|at| now < at)
    }
}

/// A credential over any token source.
pub(crate) struct Bearer {
    source: Box<dyn TokenSource>,
    current: RwLock<Option<Arc<Token>>>,
    flight: Mutex<Option<Error>>,
    /// Counts finished fetches, so that who waited for a failed one shares its failure instead of repeating it: a
    /// wrong password must not be tried once per waiting caller, since that locks accounts.
    landed: AtomicU64,
}

impl Bearer {
    pub(crate) fn new(source: impl TokenSource) -> Self {
        Self {
            source: Box::new(source),
            current: RwLock::new(None),
            flight: Mutex::new(None),
            landed: AtomicU64::new(0),
        }
    }

    fn current(&self) -> Option<Arc<Token>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, token: Option<Arc<Token>>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    async fn token(&self) -> Result<Arc<Token>> {
        let seen = self.landed.load(Ordering::Acquire);
        let held = self.current();
        if let Some(token) = held.as_ref().filter(|token| token.is_fresh(Instant::now())) {
            return Ok(Arc::clone(token));
        }
        let alive = held.filter(|token| token.is_alive(Instant::now()));
        let mut failure = match alive.as_ref() {
            // Somebody is renewing already and the old token still works.
            Some(token) => match self.flight.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(Arc::clone(token)),
            },
            None => self.flight.lock().await,
        };
        if let Some(token) = self.current().filter(|token| token.is_fresh(Instant::now())) {
            return Ok(token);
        }
        if self.landed.load(Ordering::Acquire) != seen
            && let Some(error) = failure.as_ref()
        {
            return Err(error.clone());
        }
        let begun = Instant::now();
        let fetched = self.source.fetch().await.and_then(|fresh| Token::new(&fresh, begun));
        self.landed.fetch_add(1, Ordering::AcqRel);
        match fetched {
            Ok(token) => {
                let token = Arc::new(token);
                *failure = None;
                self.keep(Some(Arc::clone(&token)));
                Ok(token)
            }
            Err(error) => {
                *failure = Some(error.clone());
                // An early renewal that failed is no harm while the old token lives.
                alive.filter(|token| token.is_alive(Instant::now())).ok_or(error)
            }
        }
    }
}

#[async_trait]
impl Credential for Bearer {
    async fn apply(&self, request: &mut Request<Bytes>) -> Result<()> {
        let token = self.token().await?;
        request.headers_mut().insert(AUTHORIZATION, token.header.clone());
        Ok(())
    }

    async fn invalidate(&self, refused: &HeaderMap) -> bool {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Another caller may have renewed it since; the new token must not be thrown away.
        if current.as_ref().is_some_and(|token| refused.get(AUTHORIZATION) == Some(&token.header)) {
            *current = None;
        }
        true
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("source", &self.source).finish_non_exhaustive()
    }
}

impl TokenChannel {
    pub(crate) async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let sent = tokio::time::timeout(self.timeout, self.transport.send(request)).await;
        sent.unwrap_or_else(|_| Err(TransportError::new(TransportErrorKind::Timeout)))
            .map_err(|error| Error::transport("fetch token", error))
    }
}
