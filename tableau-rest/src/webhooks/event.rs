//! What webhooks tell of, and the message they post.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::wire;

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Something that a webhook can tell of. The documented ones have a name; any other is kept as it is written.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum WebhookEvent {
            $($(#[$doc])* $name,)+
            /// One that this crate has no name for.
            Other(String),
        }

        impl WebhookEvent {
            /// All events that have a name here.
            pub const NAMED: &'static [Self] = &[$(Self::$name,)+];

            /// Tableau's name of it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => stringify!($name),)+
                    Self::Other(name) => name,
                }
            }
        }

        impl From<&str> for WebhookEvent {
            fn from(name: &str) -> Self {
                match name {
                    $(stringify!($name) => Self::$name,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

events! {
    /// A user became an administrator.
    AdminPromoted,
    /// A user is an administrator no longer.
    AdminDemoted,
    /// A user was deleted.
    UserDeleted,
    /// A datasource was published for the first time.
    DatasourceCreated,
    /// A datasource was changed or published again.
    DatasourceUpdated,
    /// A datasource was deleted.
    DatasourceDeleted,
    /// The refresh of a datasource began.
    DatasourceRefreshStarted,
    /// The refresh of a datasource ended well.
    DatasourceRefreshSucceeded,
    /// The refresh of a datasource failed.
    DatasourceRefreshFailed,
    /// A workbook was published for the first time.
    WorkbookCreated,
    /// A workbook was changed or published again.
    WorkbookUpdated,
    /// A workbook was deleted.
    WorkbookDeleted,
    /// The refresh of a workbook began.
    WorkbookRefreshStarted,
    /// The refresh of a workbook ended well.
    WorkbookRefreshSucceeded,
    /// The refresh of a workbook failed.
    WorkbookRefreshFailed,
    /// A view was deleted.
    ViewDeleted,
    /// A label was put on something.
    LabelCreated,
    /// A label was changed.
    LabelUpdated,
    /// A label was taken off.
    LabelDeleted,
    /// A site was made.
    SiteCreated,
    /// A site was changed.
    SiteUpdated,
    /// A site was deleted.
    SiteDeleted,
    /// A flow has run.
    FlowCompleted,
}

impl fmt::Display for WebhookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for WebhookEvent {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for WebhookEvent {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let name = String::deserialize(reader)?;
        Ok(Self::from(name.as_str()))
    }
}

/// The message that Tableau posts. It names no job and no owner; read the thing itself to learn more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookPayload {
    /// What happened.
    pub event: WebhookEvent,
    /// What kind of thing it happened to: `DATASOURCE`, `WORKBOOK`, `VIEW`, `USER`, `SITE`; `EXTRACTS` for refreshes.
    pub resource: Option<String>,
    /// The name of the thing.
    pub resource_name: Option<String>,
    /// The id of the thing.
    pub resource_luid: Option<String>,
    /// The id of the site.
    pub site_luid: Option<String>,
    /// When it happened.
    pub created_at: Option<DateTime<Utc>>,
    /// A sentence for people.
    pub text: Option<String>,
}

impl WebhookPayload {
    /// Reads a message. `None` when it is no JSON object that names an event. Keys with hyphens, as of early servers, are taken as
    /// well.
    pub fn read(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let member = |name: &str| value.get(name).or_else(|| value.get(name.replace('_', "-")));
        let text = |name: &str| wire::text(member(name));
        Some(Self {
            event: WebhookEvent::from(text("event_type")?.as_str()),
            resource: text("resource"),
            resource_name: text("resource_name"),
            resource_luid: text("resource_luid"),
            site_luid: text("site_luid"),
            created_at: wire::moment(member("created_at")),
            text: text("text"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_name_is_read_back_and_unknown_ones_are_kept() {
        assert_eq!(WebhookEvent::NAMED.len(), 23);
        for event in WebhookEvent::NAMED {
            assert_eq!(WebhookEvent::from(event.as_str()), *event);
        }
        let other: WebhookEvent = serde_json::from_value(json!("SomethingNew")).unwrap();
        assert_eq!(other, WebhookEvent::Other("SomethingNew".to_owned()));
        assert_eq!(serde_json::to_value(other).unwrap(), json!("SomethingNew"));
    }

    #[test]
    fn messages_are_read_in_both_spellings() {
        for (one, two) in [("event_type", "created_at"), ("event-type", "created-at")] {
            let body = json!({ one: "DatasourceUpdated", "resource": "DATASOURCE", two: "2026-11-23T10:00:00Z" });
            let read = WebhookPayload::read(body.to_string().as_bytes()).unwrap();
            assert_eq!(read.event, WebhookEvent::DatasourceUpdated);
            assert_eq!(read.created_at, Some("2026-11-23T10:00:00Z".parse().unwrap()));
        }
        for body in ["", "{}", "[]", "no json", r#"{"resource":"X"}"#] {
            assert_eq!(WebhookPayload::read(body.as_bytes()), None, "{body}");
        }
    }
}
