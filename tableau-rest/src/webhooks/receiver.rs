//! The other end of a webhook, for a web service in whatever framework.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use uuid::Uuid;

use super::WebhookPayload;
use crate::error::{Error, Result};

/// Short secrets can be guessed.
const SHORTEST_SECRET: usize = 24;
/// Real messages have some hundred bytes.
const LONGEST_BODY: usize = 64 * 1024;
/// How many messages are remembered at most, whatever the window.
const MOST_REMEMBERED: usize = 10_000;
/// How far the clock of Tableau may be ahead of ours.
const SKEW: Duration = Duration::from_mins(5);

/// Checks what arrives at a webhook's address.
///
/// Tableau signs nothing, so the address carries a secret, in its path or query: make one with [`Receiver::new_secret`]. It is
/// compared in constant time. To change it, accept both for a while ([`Receiver::also`]), point the webhook to the new one with
/// [`Webhooks::set_url`](super::Webhooks::set_url), and drop the old one.
///
/// Tableau may post the same message twice, and posts it again (3 times, with growing pauses) when the answer is not 200 to 299.
/// A message that is there already within the window is told as [`Received::Duplicate`]; one that is older than the window is
/// refused, so that a recorded message is of no use to anybody. Messages carry no number: two events of the same thing within the
/// same second look like one message posted twice. A handler that fails must [`forget`](Receiver::forget) the message before it
/// answers 500, or the repetition counts as a duplicate.
///
/// ```
/// # fn main() -> tableau_rest::Result<()> {
/// use tableau_rest::{Received, Receiver};
/// let receiver = Receiver::new("a secret of 24 letters or more")?;
/// // In a handler of `POST /hooks/tableau/{secret}`:
/// # let (secret, body) = ("a secret of 24 letters or more", br#"{"event_type":"DatasourceUpdated"}"#);
/// let status = match receiver.receive(secret, body) {
///     Ok(Received::Event(payload)) => {
///         println!("{} {}", payload.event, payload.resource_name.as_deref().unwrap_or_default());
///         200
///     }
///     Ok(Received::Duplicate(_) | Received::Test) => 200,
///     Err(refused) => refused.status(),
/// };
/// assert_eq!(status, 200);
/// # Ok(())
/// # }
/// ```
pub struct Receiver {
    secrets: Vec<SecretString>,
    longest_body: usize,
    window: Duration,
    seen: Mutex<VecDeque<([u8; 32], DateTime<Utc>)>>,
}

/// What arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Event(WebhookPayload),
    /// A message that was here already. Answer 200 and do nothing.
    Duplicate(WebhookPayload),
    /// The empty message of [`Webhooks::test`](super::Webhooks::test).
    Test,
}

/// Why something that arrived is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiverError {
    /// The secret is wrong: it is not from Tableau.
    #[error("the secret in the address is wrong")]
    WrongSecret,
    /// It is longer than any message.
    #[error("the message is longer than any that Tableau sends")]
    TooLarge,
    /// It is no message of Tableau's.
    #[error("the message is no JSON that names an event")]
    Malformed,
    /// It is older than the window, or from a time to come.
    #[error("the message is too old, or from a time to come; check the clock")]
    OutsideWindow,
}

impl ReceiverError {
    /// The HTTP status to answer with. A wrong secret looks like a page that does not exist.
    pub fn status(self) -> u16 {
        match self {
            Self::WrongSecret => 404,
            Self::TooLarge => 413,
            Self::Malformed => 400,
            Self::OutsideWindow => 410,
        }
    }
}

impl Receiver {
    /// A receiver for addresses with this secret.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the secret has fewer than 24 bytes.
    pub fn new(secret: impl Into<String>) -> Result<Self> {
        let (longest_body, window) = (LONGEST_BODY, Duration::from_hours(24));
        Self { secrets: Vec::new(), longest_body, window, seen: Mutex::default() }.also(secret)
    }

    /// Accepts another secret as well, while the webhook is being moved from one to the other.
    ///
    /// # Errors
    /// As [`Receiver::new`].
    pub fn also(mut self, secret: impl Into<String>) -> Result<Self> {
        let secret = SecretString::from(secret.into());
        if secret.expose_secret().len() < SHORTEST_SECRET {
            let message =
                "the secret is shorter than 24 bytes and could be guessed; make one with Receiver::new_secret";
            return Err(Error::config("build receiver", message));
        }
        self.secrets.push(secret);
        Ok(self)
    }

    /// A secret that nobody guesses: 64 letters and digits that need no encoding in an address.
    pub fn new_secret() -> SecretString {
        SecretString::from(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    /// How many bytes a message may have: 64 KiB unless set. The framework must limit what it reads into memory as well.
    #[must_use]
    pub fn longest_body(mut self, bytes: usize) -> Self {
        self.longest_body = bytes;
        self
    }

    /// How old a message may be, and for how long it is remembered: 24 hours unless set.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Checks what arrived: the secret from the address, then the message.
    ///
    /// # Errors
    /// With what is wrong; nothing of the message was looked at when the secret is.
    pub fn receive(&self, secret: &str, body: &[u8]) -> Result<Received, ReceiverError> {
        self.receive_at(secret, body, Utc::now())
    }

    /// Forgets a message, so that it is told as an event when Tableau posts it again. For handlers that failed: call this, then
    /// answer with a status of 500.
    pub fn forget(&self, body: &[u8]) {
        let digest: [u8; 32] = Sha256::digest(body).into();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != digest);
    }

    fn receive_at(&self, secret: &str, body: &[u8], now: DateTime<Utc>) -> Result<Received, ReceiverError> {
        if !self.knows(secret) {
            return Err(ReceiverError::WrongSecret);
        }
        if body.len() > self.longest_body {
            return Err(ReceiverError::TooLarge);
        }
        if body.trim_ascii().is_empty() || body.trim_ascii() == b"{}" {
            return Ok(Received::Test);
        }
        let payload = WebhookPayload::read(body).ok_or(ReceiverError::Malformed)?;
        if let Some(at) = payload.created_at {
            let window = chrono::TimeDelta::from_std(self.window).unwrap_or(chrono::TimeDelta::MAX);
            let skew = chrono::TimeDelta::from_std(SKEW).unwrap_or_default();
            let age = now.signed_duration_since(at);
            if age > window || age < -skew {
                return Err(ReceiverError::OutsideWindow);
            }
        }
        let digest: [u8; 32] = Sha256::digest(body).into();
        Ok(if self.is_new(digest, now) { Received::Event(payload) } else { Received::Duplicate(payload) })
    }

    /// All secrets are compared, and digests of them, so that time tells neither their length nor which one it was.
    fn knows(&self, secret: &str) -> bool {
        let given = Sha256::digest(secret.as_bytes());
        let found = self.secrets.iter().fold(Choice::from(0), |found, known| {
            found | Sha256::digest(known.expose_secret().as_bytes()).as_slice().ct_eq(given.as_slice())
        });
        found.into()
    }

    fn is_new(&self, digest: [u8; 32], now: DateTime<Utc>) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let window = chrono::TimeDelta::from_std(self.window).unwrap_or(chrono::TimeDelta::MAX);
        while seen.front().is_some_and(|(_, at)| now.signed_duration_since(*at) > window) {
            seen.pop_front();
        }
        if seen.iter().any(|(known, _)| *known == digest) {
            return false;
        }
        if seen.len() >= MOST_REMEMBERED {
            seen.pop_front();
        }
        seen.push_back((digest, now));
        true
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("secrets", &self.secrets.len())
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-secret-of-some-length-1234";
    const NEW: &str = "new-secret-of-some-length-5678";

    fn body(at: &str, name: &str) -> Vec<u8> {
        format!(r#"{{"event_type":"DatasourceUpdated","resource_name":"{name}","created_at":"{at}"}}"#).into_bytes()
    }

    fn now() -> DateTime<Utc> {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn only_who_knows_a_secret_is_heard_and_two_can_hold_at_once() {
        let receiver = Receiver::new(OLD).unwrap().also(NEW).unwrap();
        let body = body("2026-11-23T11:59:00Z", "a");
        for wrong in ["", "old", "old-secret-of-some-length-1235", "old-secret-of-some-length-12345"] {
            assert_eq!(receiver.receive_at(wrong, &body, now()), Err(ReceiverError::WrongSecret), "{wrong}");
        }
        assert!(matches!(receiver.receive_at(OLD, &body, now()), Ok(Received::Event(_))));
        // The same message by the other address is the same message.
        assert!(matches!(receiver.receive_at(NEW, &body, now()), Ok(Received::Duplicate(_))));
        // A handler that failed wants to hear it again.
        receiver.forget(&body);
        assert!(matches!(receiver.receive_at(NEW, &body, now()), Ok(Received::Event(_))));
        assert_eq!(Receiver::new("short").unwrap_err().kind(), crate::ErrorKind::Config);
        assert!(!format!("{receiver:?}").contains("secret-of"));
    }

    #[test]
    fn old_messages_and_those_from_a_time_to_come_are_refused() {
        let receiver = Receiver::new(OLD).unwrap().window(Duration::from_mins(10));
        let outcome = |at: &str| receiver.receive_at(OLD, &body(at, "x"), now());
        assert_eq!(outcome("2026-11-23T11:49:59Z"), Err(ReceiverError::OutsideWindow));
        assert_eq!(outcome("2026-11-23T12:05:01Z"), Err(ReceiverError::OutsideWindow));
        assert!(matches!(outcome("2026-11-23T11:50:01Z"), Ok(Received::Event(_))));
        assert!(matches!(outcome("2026-11-23T12:04:59Z"), Ok(Received::Event(_))));
    }

    #[test]
    fn a_message_is_forgotten_after_the_window_and_memory_is_bounded() {
        let receiver = Receiver::new(OLD).unwrap();
        let undated = br#"{"event_type":"SiteCreated"}"#;
        assert!(matches!(receiver.receive_at(OLD, undated, now()), Ok(Received::Event(_))));
        assert!(matches!(receiver.receive_at(OLD, undated, now()), Ok(Received::Duplicate(_))));
        let later = now() + chrono::TimeDelta::hours(25);
        assert!(matches!(receiver.receive_at(OLD, undated, later), Ok(Received::Event(_))));
        for number in 0..=MOST_REMEMBERED {
            receiver.is_new(Sha256::digest(number.to_le_bytes()).into(), later);
        }
        assert_eq!(receiver.seen.lock().unwrap().len(), MOST_REMEMBERED);
    }

    #[test]
    fn what_is_no_message_is_refused_and_the_test_message_is_known() {
        let receiver = Receiver::new(OLD).unwrap().longest_body(100);
        for (body, status) in [(vec![b'x'; 101], 413), (b"<html>".to_vec(), 400), (b"[1]".to_vec(), 400)] {
            assert_eq!(receiver.receive(OLD, &body).unwrap_err().status(), status);
        }
        for body in [&b""[..], b" \n", b"{}"] {
            assert_eq!(receiver.receive(OLD, body), Ok(Received::Test));
        }
        assert_eq!(ReceiverError::WrongSecret.status(), 404);
        assert_eq!(Receiver::new_secret().expose_secret().len(), 64);
    }
}
