//! Webhooks (Tableau REST API reference, Notifications Methods): Tableau tells a service of ours that something happened.
//!
//! Tableau signs nothing. What proves that a message is from Tableau is a secret in the address that it was told; the `Receiver`,
//! behind the feature `webhook-receiver`, looks after that.

mod event;
#[cfg(feature = "webhook-receiver")]
mod receiver;

use std::fmt;

use chrono::{DateTime, Utc};
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

pub use self::event::{WebhookEvent, WebhookPayload};
#[cfg(feature = "webhook-receiver")]
pub use self::receiver::{Received, Receiver, ReceiverError};
use crate::call::{Call, Scope, gone_is_fine};
use crate::client::Client;
use crate::datasources::Owner;
use crate::error::{Error, Result};
use crate::ids::WebhookId;
use crate::paging::{Listing, sealed::Wrapped};
use crate::version::ApiVersion;
use crate::wire;

/// A webhook.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// What it tells of.
    #[serde(default)]
    pub event: Option<WebhookEvent>,
    /// Where the messages go. Holds the secret, if there is one in the address.
    #[serde(default, rename = "webhook-destination", deserialize_with = "destination")]
    pub url: Option<String>,
    /// Whether it is on. The server turns one off whose messages keep failing.
    #[serde(default, deserialize_with = "wire::de_truth")]
    pub is_enabled: Option<bool>,
    /// Why it was turned off.
    #[serde(default, deserialize_with = "wire::de_text")]
    pub status_change_reason: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub owner: Option<Owner>,
    /// When it was made.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it was changed last.
    #[serde(default, deserialize_with = "wire::de_moment")]
    pub updated_at: Option<DateTime<Utc>>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the address: the secret is in it.
        f.debug_struct("Webhook")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("event", &self.event)
            .field("is_enabled", &self.is_enabled)
            .field("status_change_reason", &self.status_change_reason)
            .finish_non_exhaustive()
    }
}

fn destination<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Option<String>, D::Error> {
    let value = Value::deserialize(reader)?;
    Ok(wire::text(value.get("webhook-destination-http").and_then(|http| http.get("url"))))
}

impl Wrapped for Webhook {
    const PATH: &'static str = "webhooks";
    const OUTER: &'static str = "webhooks";
    const INNER: &'static str = "webhook";
}

/// A webhook that is to be made.
#[derive(Clone)]
#[must_use]
pub struct NewWebhook {
    name: String,
    event: WebhookEvent,
    url: SecretString,
}

impl NewWebhook {
    /// A webhook that posts to `url` when `event` happens. The address must be https with a certificate that the world trusts.
    pub fn new(name: impl Into<String>, event: WebhookEvent, url: impl Into<String>) -> Self {
        Self { name: name.into(), event, url: SecretString::from(url.into()) }
    }
}

impl fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewWebhook").field("name", &self.name).field("event", &self.event).finish_non_exhaustive()
    }
}

/// What came of a test message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookTest {
    /// The status that the receiver answered; none when it could not be reached.
    pub status: Option<u64>,
    /// What it answered, or why it could not be reached.
    pub body: Option<String>,
}

impl WebhookTest {
    /// Whether the receiver took the message.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// The webhooks of the site. For administrators.
#[derive(Clone, Debug)]
pub struct Webhooks {
    client: Client,
}

impl Webhooks {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Lists the webhooks.
    pub fn list(&self) -> Listing<Webhook> {
        Listing::new(self.client.clone())
    }

    /// What is known of a webhook.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when it does not exist (404034), and everything that can go wrong
    /// between here and the server.
    pub async fn get(&self, id: &WebhookId) -> Result<Webhook> {
        let call = Call::get("read webhook", &["webhooks", id.as_str()])?;
        self.client.run(&call).await?.member("webhook")
    }

    /// Makes a webhook.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the address is not https (nothing is sent then),
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the server does not trust its certificate (400118),
    /// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) for others than administrators. With delivery
    /// [`Unknown`](crate::Delivery::Unknown) it may have been made: look at the list. No error holds the address.
    pub async fn create(&self, webhook: &NewWebhook) -> Result<Webhook> {
        const OPERATION: &str = "create webhook";
        if webhook.name.trim().is_empty() {
            return Err(Error::config(OPERATION, "the name of the webhook is empty"));
        }
        self.client.require(OPERATION, ApiVersion::WEBHOOKS).await?;
        let body = json!({ "webhook": {
            "name": webhook.name, "event": webhook.event.as_str(),
            "webhook-destination": http_destination(OPERATION, &webhook.url)?,
        }});
        let mut call = Call::new(OPERATION, Method::POST, Scope::Site, &["webhooks"])?.json(&body);
        call.secret = Some(webhook.url.clone());
        self.client.run(&call).await?.member("webhook")
    }

    /// Lets a webhook post to another address, for example one with a new secret.
    ///
    /// # Errors
    /// As [`Webhooks::get`] and [`Webhooks::create`].
    pub async fn set_url(&self, id: &WebhookId, url: &str) -> Result<Webhook> {
        const OPERATION: &str = "update webhook";
        let url = SecretString::from(url.to_owned());
        let mut fields = Map::new();
        fields.insert("webhook-destination".to_owned(), http_destination(OPERATION, &url)?);
        self.change(OPERATION, id, fields, Some(url)).await
    }

    /// Turns a webhook on.
    ///
    /// # Errors
    /// As [`Webhooks::get`].
    pub async fn enable(&self, id: &WebhookId) -> Result<Webhook> {
        let mut fields = Map::new();
        fields.insert("isEnabled".to_owned(), true.into());
        self.change("enable webhook", id, fields, None).await
    }

    /// Turns a webhook off, with the reason for it.
    ///
    /// # Errors
    /// As [`Webhooks::get`].
    pub async fn disable(&self, id: &WebhookId, reason: &str) -> Result<Webhook> {
        let mut fields = Map::new();
        fields.insert("isEnabled".to_owned(), false.into());
        fields.insert("statusChangeReason".to_owned(), reason.into());
        self.change("disable webhook", id, fields, None).await
    }

    /// The server wants name, event and address with every change, so they are read first.
    async fn change(
        &self,
        operation: &str,
        id: &WebhookId,
        changes: Map<String, Value>,
        secret: Option<SecretString>,
    ) -> Result<Webhook> {
        let now = self.get(id).await.map_err(|error| error.before(operation))?;
        let old = now.url.map(SecretString::from);
        let mut fields = Map::new();
        fields.insert("name".to_owned(), now.name.into());
        if let Some(event) = &now.event {
            fields.insert("event".to_owned(), event.as_str().into());
        }
        if let Some(url) = &old {
            fields.insert("webhook-destination".to_owned(), destination_of(url));
        }
        fields.extend(changes);
        let mut call = Call::put(operation, &["webhooks", id.as_str()])?.idempotent(true);
        call.secret = secret.or(old);
        self.client.run(&call.json(&json!({ "webhook": fields }))).await?.member("webhook")
    }

    /// Lets Tableau post an empty message to the webhook's address now, and answers what came of it.
    ///
    /// # Errors
    /// As [`Webhooks::get`]. That the receiver did not take the message is no error but the answer.
    pub async fn test(&self, id: &WebhookId) -> Result<WebhookTest> {
        // A GET, but each one posts a message.
        let call = Call::get("test webhook", &["webhooks", id.as_str(), "test"])?.idempotent(false);
        let answer = self.client.run(&call).await?;
        let value = answer.value()?;
        let result = value.get("webhookTestResult").ok_or_else(|| answer.unfit("the answer is no result of a test"))?;
        Ok(WebhookTest { status: wire::count(result.get("status")), body: wire::text(result.get("body")) })
    }

    /// Deletes a webhook.
    ///
    /// # Errors
    /// As [`Webhooks::get`].
    pub async fn delete(&self, id: &WebhookId) -> Result<()> {
        let call = Call::delete("delete webhook", &["webhooks", id.as_str()])?;
        gone_is_fine(self.client.run(&call).await.map(|_| ()))
    }
}

fn http_destination(operation: &str, url: &SecretString) -> Result<Value> {
    let sound = Url::parse(url.expose_secret()).is_ok_and(|url| url.scheme() == "https" && url.host().is_some());
    if !sound {
        let message = "the address of the webhook is not https; Tableau posts to https with a public certificate only";
        return Err(Error::config(operation.to_owned(), message));
    }
    Ok(destination_of(url))
}

fn destination_of(url: &SecretString) -> Value {
    json!({ "webhook-destination-http": { "method": "POST", "url": url.expose_secret() } })
}
