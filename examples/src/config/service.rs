//! `[service]` and `[alerts]`: how a worker is looked at, told of things, and tells of them.

use std::net::SocketAddr;

use super::document::Section;
use super::secret::SecretRef;
use crate::failure::Outcome;

/// `[service]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// What is in the address that Tableau posts to; no webhooks are taken without.
    pub(crate) webhook_secret: Option<SecretRef>,
}

impl Service {
    pub(super) fn read(root: &Section<'_>) -> Outcome<Option<Self>> {
        let Some(section) = root.section("service", &["listen", "webhook_secret"])? else { return Ok(None) };
        let text = section.text("listen", "listen = \"127.0.0.1:8700\"")?;
        let listen = text.parse().map_err(|_| {
            section
                .bad("listen", "this is no address to listen on")
                .next("write it as \"127.0.0.1:8700\", or \"0.0.0.0:8700\" for all networks")
        })?;
        let webhook_secret = match section.value("webhook_secret") {
            Some(_) => Some(section.secret("webhook_secret")?),
            None => None,
        };
        Ok(Some(Self { listen, webhook_secret }))
    }
}

/// `[alerts]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlertOptions {
    /// The address that alerts are posted to.
    pub(crate) webhook: SecretRef,
    /// After how many failures in a row, where they may pass.
    pub(crate) after: u32,
}

impl AlertOptions {
    pub(super) fn read(root: &Section<'_>) -> Outcome<Option<Self>> {
        const AFTER: &str = "a number of failures from 1 to 1000";
        let Some(section) = root.section("alerts", &["webhook", "after"])? else { return Ok(None) };
        let webhook = section.secret("webhook")?;
        match section.integer("after", AFTER)?.unwrap_or(3) {
            after @ 1..=1_000 => Ok(Some(Self { webhook, after })),
            _ => Err(section.bad("after", AFTER).next("leave it out for 3")),
        }
    }
}
