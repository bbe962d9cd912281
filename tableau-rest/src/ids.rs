//! Identifiers as Tableau hands them out (LUIDs, and the opaque ids of uploads). They are not parsed.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as Tableau writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The id as Tableau writes it.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )+};
}

ids! {
    /// A site.
    SiteId,
    /// A project.
    ProjectId,
    /// A published datasource.
    DatasourceId,
    /// A workbook.
    WorkbookId,
    /// A background job.
    JobId,
    /// A user.
    UserId,
    /// A connection of a datasource.
    ConnectionId,
    /// A file upload session.
    UploadId,
    /// An extract refresh task.
    TaskId,
    /// A schedule of a server.
    ScheduleId,
    /// A group of users.
    GroupId,
    /// A view.
    ViewId,
    /// A flow.
    FlowId,
    /// A run of a flow.
    FlowRunId,
    /// A webhook.
    WebhookId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_to_json_as_its_text_and_read_back() {
        let id = DatasourceId::from("ab-1");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"ab-1\"");
        assert_eq!(serde_json::from_str::<DatasourceId>("\"ab-1\"").unwrap(), id);
        assert_eq!(id.to_string(), id.as_str());
    }
}
