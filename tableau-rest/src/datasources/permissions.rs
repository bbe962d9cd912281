//! Who may do what with a datasource (Tableau REST API reference, Permissions Methods).

use std::fmt;

use serde_json::{Value, json};

use super::Datasources;
use crate::call::{Call, gone_is_fine};
use crate::error::{Error, Result};
use crate::ids::{DatasourceId, GroupId, UserId};
use crate::wire;

/// Whom a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grantee {
    /// A user.
    User(UserId),
    /// All members of a group.
    Group(GroupId),
}

impl Grantee {
    fn segments(&self) -> (&'static str, &str) {
        match self {
            Self::User(id) => ("users", id.as_str()),
            Self::Group(id) => ("groups", id.as_str()),
        }
    }
}

/// Something that can be allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// To see it.
    Read,
    /// To query it.
    Connect,
    /// To overwrite it.
    Write,
    /// To download it.
    ExportXml,
    /// To delete it.
    Delete,
    /// To move it.
    ChangeHierarchy,
    /// To change permissions.
    ChangePermissions,
    /// To save it under another name.
    SaveAs,
    /// To query it through `VizQL` Data Service.
    VizqlDataApiAccess,
    /// One that this crate has no name for.
    Other(String),
}

impl Capability {
    /// Tableau's name of it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Read => "Read",
            Self::Connect => "Connect",
            Self::Write => "Write",
            Self::ExportXml => "ExportXml",
            Self::Delete => "Delete",
            Self::ChangeHierarchy => "ChangeHierarchy",
            Self::ChangePermissions => "ChangePermissions",
            Self::SaveAs => "SaveAs",
            Self::VizqlDataApiAccess => "VizqlDataApiAccess",
            Self::Other(name) => name,
        }
    }

    fn of(name: String) -> Self {
        let known = [
            Self::Read,
            Self::Connect,
            Self::Write,
            Self::ExportXml,
            Self::Delete,
            Self::ChangeHierarchy,
            Self::ChangePermissions,
            Self::SaveAs,
            Self::VizqlDataApiAccess,
        ];
        known.into_iter().find(|known| known.as_str() == name).unwrap_or(Self::Other(name))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a capability is given or taken. Denied wins over allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermissionMode {
    /// Given.
    Allow,
    /// Taken.
    Deny,
}

impl PermissionMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
        }
    }
}

/// What one user or group may and may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermissionRule {
    /// Whom it is for.
    pub grantee: Grantee,
    /// What is given or taken.
    pub capabilities: Vec<(Capability, PermissionMode)>,
}

impl PermissionRule {
    /// A rule.
    pub fn new(grantee: Grantee, capabilities: impl IntoIterator<Item = (Capability, PermissionMode)>) -> Self {
        Self { grantee, capabilities: capabilities.into_iter().collect() }
    }

    /// Gives some capabilities.
    pub fn allow(grantee: Grantee, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self::new(grantee, capabilities.into_iter().map(|capability| (capability, PermissionMode::Allow)))
    }

    fn read(value: &Value) -> Option<Self> {
        let id = |name: &str| wire::text(value.get(name).and_then(|who| who.get("id")));
        let grantee = match (id("user"), id("group")) {
            (Some(user), _) => Grantee::User(user.into()),
            (None, group) => Grantee::Group(group?.into()),
        };
        let capabilities =
            wire::entries(value.get("capabilities"), "capability").into_iter().filter_map(|capability| {
                let mode = match wire::text(capability.get("mode"))?.as_str() {
                    "Allow" => PermissionMode::Allow,
                    "Deny" => PermissionMode::Deny,
                    _ => return None,
                };
                Some((Capability::of(wire::text(capability.get("name"))?), mode))
            });
        Some(Self { grantee, capabilities: capabilities.collect() })
    }

    fn write(&self) -> Value {
        let (kind, id) = match &self.grantee {
            Grantee::User(id) => ("user", id.as_str()),
            Grantee::Group(id) => ("group", id.as_str()),
        };
        let capabilities: Vec<Value> = self
            .capabilities
            .iter()
            .map(|(capability, mode)| json!({ "name": capability.as_str(), "mode": mode.as_str() }))
            .collect();
        json!({ kind: { "id": id }, "capabilities": { "capability": capabilities } })
    }
}

impl Datasources {
    /// The permission rules of a datasource. What a user may do in the end depends on groups, project and site role as well.
    ///
    /// # Errors
    /// As [`Datasources::get`].
    pub async fn permissions(&self, id: &DatasourceId) -> Result<Vec<PermissionRule>> {
        let call = Call::get("read permissions", &["datasources", id.as_str(), "permissions"])?;
        let value = self.client.run(&call).await?.value()?;
        Ok(rules(&value))
    }

    /// Adds permission rules, and answers all that there are then.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when there is a rule of the other mode for the same capability
    /// (409008): remove it first.
    pub async fn add_permissions(&self, id: &DatasourceId, added: &[PermissionRule]) -> Result<Vec<PermissionRule>> {
        const OPERATION: &str = "add permissions";
        if added.is_empty() || added.iter().any(|rule| rule.capabilities.is_empty()) {
            return Err(Error::config(OPERATION, "there is no rule, or one without a capability"));
        }
        let written: Vec<Value> = added.iter().map(PermissionRule::write).collect();
        let call = Call::put(OPERATION, &["datasources", id.as_str(), "permissions"])?.idempotent(true);
        let call = call.json(&json!({ "permissions": { "granteeCapabilities": written } }));
        let value = self.client.run(&call).await?.value()?;
        Ok(rules(&value))
    }

    /// Removes one capability from a rule.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no such rule.
    pub async fn remove_permission(
        &self,
        id: &DatasourceId,
        grantee: &Grantee,
        capability: &Capability,
        mode: PermissionMode,
    ) -> Result<()> {
        let (kind, who) = grantee.segments();
        let segments = ["datasources", id.as_str(), "permissions", kind, who, capability.as_str(), mode.as_str()];
        let call = Call::delete("remove permission", &segments)?;
        gone_is_fine(self.client.run(&call).await.map(|_| ()))
    }
}

fn rules(value: &Value) -> Vec<PermissionRule> {
    wire::entries(value.get("permissions"), "granteeCapabilities")
        .into_iter()
        .filter_map(PermissionRule::read)
        .collect()
}
