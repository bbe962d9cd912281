//! The session: signed in once for all callers, renewed when it has idled too long or was ended.
//!
//! A session lives until it has been idle for a limit (240 minutes on Server by default, 120 on Cloud); there is no
//! call to prolong it. A personal access token has one session at a time: signing in again ends the earlier one, and
//! its next call gets 401002 (Tableau help, Personal Access Tokens). So all clients of one process that use the same
//! token share one session, and who gets a 401002 first checks whether another caller has renewed it already.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::ids::{SiteId, UserId};
use crate::wire;

/// What the server said at sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The site.
    pub site_id: SiteId,
    /// The site's content url; empty for the default site.
    pub site_content_url: String,
    /// The user.
    pub user_id: UserId,
    /// When it was made, by the clock of this machine.
    pub signed_in_at: DateTime<Utc>,
    /// How long the personal access token itself remains valid. Not the life of the session.
    pub token_expires_in: Option<Duration>,
}

/// A session with its token.
pub(crate) struct Live {
    pub(crate) token: HeaderValue,
    pub(crate) session: Session,
    last_used: Mutex<Instant>,
}

impl Live {
    /// From the answer to a sign-in. `None` when it lacks what it must have.
    pub(crate) fn read(value: &Value, site: &str) -> Option<Self> {
        let credentials = value.get("credentials")?;
        let mut token = HeaderValue::from_str(&wire::text(credentials.get("token"))?).ok()?;
        token.set_sensitive(true);
        let on = credentials.get("site")?;
        let session = Session {
            site_id: wire::text(on.get("id"))?.into(),
            site_content_url: wire::text(on.get("contentUrl")).unwrap_or_else(|| site.to_owned()),
            user_id: wire::text(credentials.get("user")?.get("id"))?.into(),
            signed_in_at: Utc::now(),
            token_expires_in: wire::text(credentials.get("estimatedTimeToExpiration")).as_deref().and_then(days),
        };
        Some(Self { token, session, last_used: Mutex::new(Instant::now()) })
    }

    pub(crate) fn touch(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_fresh(&self, idle_limit: Duration) -> bool {
        let idle = self.last_used.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        // A little ahead of the limit, since the clocks began at different moments.
        idle < idle_limit.mul_f64(0.9)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("session", &self.session).finish_non_exhaustive()
    }
}

/// `DAYS:HH:MM`.
fn days(text: &str) -> Option<Duration> {
    let mut parts = text.split(':').map(|part| part.trim().parse::<u64>().ok());
    let (days, hours, minutes) = (parts.next()??, parts.next()??, parts.next()??);
    Some(Duration::from_secs(
        days.checked_mul(86_400)?.checked_add(hours.checked_mul(3_600)?)?.checked_add(minutes.checked_mul(60)?)?,
    ))
}

/// The place of the one session that all clones of a client (and all clients of one token) share.
pub(crate) struct SessionCell {
    current: RwLock<Option<Arc<Live>>>,
    flight: tokio::sync::Mutex<Flight>,
    /// Counts finished sign-ins, so that who waited for a failed one shares its failure instead of repeating it.
    landed: AtomicU64,
    site: String,
    secret: Option<SecretString>,
}

#[derive(Default)]
struct Flight {
    failure: Option<Error>,
    /// The server does not accept these credentials; trying them once per call would lock the account.
    refused: bool,
}

impl SessionCell {
    pub(crate) fn new(site: &str, credentials: &Credentials) -> Self {
        Self {
            current: RwLock::new(None),
            flight: tokio::sync::Mutex::new(Flight::default()),
            landed: AtomicU64::new(0),
            site: site.to_owned(),
            secret: credentials.secret().cloned(),
        }
    }

    fn holds(&self, secret: &SecretString) -> bool {
        self.secret.as_ref().is_some_and(|ours| ours.expose_secret() == secret.expose_secret())
    }

    /// A cell that holds a session already.
    pub(crate) fn with(self, live: Live) -> Self {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(live));
        self
    }

    pub(crate) fn current(&self) -> Option<Arc<Live>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The session, made by `sign_in` if there is none that can be used. Single-flight.
    ///
    /// `again` says that the caller asked for a sign-in, so that credentials that were refused may be tried once more.
    pub(crate) async fn live(
        &self,
        idle_limit: Duration,
        again: bool,
        sign_in: BoxFuture<'_, Result<Live>>,
    ) -> Result<Arc<Live>> {
        let seen = self.landed.load(Ordering::Acquire);
        let fresh = || self.current().filter(|live| live.is_fresh(idle_limit));
        if let Some(live) = fresh() {
            return Ok(live);
        }
        let mut flight = self.flight.lock().await;
        if let Some(live) = fresh() {
            return Ok(live);
        }
        let landed = self.landed.load(Ordering::Acquire) != seen;
        if let Some(failure) = flight.failure.as_ref().filter(|_| landed || (flight.refused && !again)) {
            return Err(failure.clone());
        }
        let made = sign_in.await;
        self.landed.fetch_add(1, Ordering::AcqRel);
        match made {
            Ok(live) => {
                let live = Arc::new(live);
                *flight = Flight::default();
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&live));
                Ok(live)
            }
            Err(error) => {
                let refused = matches!(error.code(), Some("401001" | "401009"));
                *flight = Flight { failure: Some(error.clone()), refused };
                Err(error)
            }
        }
    }

    /// Forgets a session that the server has ended, unless another caller has renewed it since.
    pub(crate) fn invalidate(&self, refused: &Live) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|live| live.token == refused.token) {
            *current = None;
        }
    }

    pub(crate) fn take(&self) -> Option<Arc<Live>> {
        self.current.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for SessionCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCell").field("signed_in", &self.current().is_some()).finish_non_exhaustive()
    }
}

type Registry = Mutex<HashMap<(String, String), Weak<SessionCell>>>;

/// The sessions of all personal access tokens that clients of this process use, by server and name of the token.
static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

/// The cell that a client of these credentials uses.
pub(crate) fn cell(base: &str, site: &str, credentials: &Credentials) -> Result<Arc<SessionCell>> {
    let Credentials::PersonalAccessToken { name, secret } = credentials else {
        return Ok(Arc::new(SessionCell::new(site, credentials)));
    };
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    registry.retain(|_, cell| cell.strong_count() > 0);
    let key = (base.to_owned(), name.clone());
    let known = registry.get(&key).and_then(Weak::upgrade);
    if let Some(cell) = known.filter(|cell| cell.holds(secret)) {
        if cell.site == site {
            return Ok(cell);
        }
        return Err(Error::config(
            "build client",
            "another client of this process uses the same personal access token for another site, and a token has one \
             session at a time; use a token of its own for each site",
        ));
    }
    let cell = Arc::new(SessionCell::new(site, credentials));
    registry.insert(key, Arc::downgrade(&cell));
    Ok(cell)
}

/// The cell of a session that was switched to another site. A token's entry goes with it, since its one session is there now.
pub(crate) fn switched(base: &str, site: &str, credentials: &Credentials, live: Live) -> Arc<SessionCell> {
    let cell = Arc::new(SessionCell::new(site, credentials).with(live));
    if let Credentials::PersonalAccessToken { name, .. } = credentials {
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        registry.insert((base.to_owned(), name.clone()), Arc::downgrade(&cell));
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_life_of_a_token_is_days_hours_and_minutes() {
        assert_eq!(days("2:12:30"), Some(Duration::from_mins(3630)));
        assert_eq!(days("364:23:58"), Some(Duration::from_mins(525_598)));
        assert_eq!(days("2:12"), None);
        assert_eq!(days("soon"), None);
    }

    #[test]
    fn clients_of_one_token_share_one_session_and_never_across_sites() {
        let token = |secret: &str| Credentials::PersonalAccessToken {
            name: "shared".to_owned(),
            secret: SecretString::from(secret.to_owned()),
        };
        let first = cell("https://registry.test/", "a", &token("one")).unwrap();
        let second = cell("https://registry.test/", "a", &token("one")).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert!(cell("https://registry.test/", "b", &token("one")).is_err());
        let rotated = cell("https://registry.test/", "a", &token("two")).unwrap();
        assert!(!Arc::ptr_eq(&first, &rotated));
        drop((first, second, rotated));
        assert!(cell("https://registry.test/", "b", &token("one")).is_ok());
    }
}
