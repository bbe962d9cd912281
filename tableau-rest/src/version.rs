//! Versions of the interface and of the server (Tableau REST API reference, Server Info; concepts, Versions).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::wire;

/// A version of the REST interface, for example `3.29`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// The newest version this crate knows: Tableau 2026.2.
    pub const LATEST: Self = Self { major: 3, minor: 29 };

    /// Answers in JSON exist from here on, so this is what a server of unknown age is asked in.
    pub(crate) const FLOOR: Self = Self { major: 2, minor: 5 };

    /// Numbered upload blocks exist from here on.
    pub(crate) const NUMBERED_BLOCKS: Self = Self { major: 3, minor: 27 };

    /// Update Data in Hyper exists from here on: Tableau 2021.2.
    pub(crate) const UPDATE_DATA: Self = Self { major: 3, minor: 12 };

    /// Unified access tokens exist from here on.
    pub(crate) const UNIFIED_TOKENS: Self = Self { major: 3, minor: 27 };

    /// Several connections can be changed at once from here on.
    pub(crate) const BULK_CONNECTIONS: Self = Self { major: 3, minor: 27 };

    /// A refresh can be asked for as an incremental one from here on; before, the wish would be passed over unseen.
    pub(crate) const INCREMENTAL: Self = Self { major: 3, minor: 25 };

    /// Refresh tasks can be made and changed through the interface from here on, on Cloud.
    pub(crate) const TASKS: Self = Self { major: 3, minor: 20 };

    /// Webhooks are named by their event from here on.
    pub(crate) const WEBHOOKS: Self = Self { major: 3, minor: 9 };

    /// Runs of flows can be read from here on.
    pub(crate) const FLOW_RUNS: Self = Self { major: 3, minor: 10 };

    /// In brackets, the release of Tableau that brought this version, where it is one that this crate asks for.
    pub(crate) fn release(self) -> &'static str {
        match (self.major, self.minor) {
            (3, 9) => " (Tableau 2020.3)",
            (3, 10) => " (Tableau 2020.4)",
            (3, 12) => " (Tableau 2021.2)",
            (3, 20) => " (Tableau Cloud 2023.2)",
            (3, 25) => " (Tableau 2025.1)",
            (3, 27) => " (Tableau 2025.3)",
            _ => "",
        }
    }

    /// A version by its numbers.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// The number before the dot.
    pub const fn major(self) -> u16 {
        self.major
    }

    /// The number behind the dot.
    pub const fn minor(self) -> u16 {
        self.minor
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.trim()
            .split_once('.')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }))
            .ok_or_else(|| Error::config("read version", "an interface version looks like 3.29; correct it"))
    }
}

impl TryFrom<String> for ApiVersion {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ApiVersion> for String {
    fn from(version: ApiVersion) -> Self {
        version.to_string()
    }
}

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The version of the product, for example `2026.2.0`.
    pub product_version: String,
    /// The build.
    pub build: Option<String>,
    /// The newest version of the interface that the server knows.
    pub rest_api_version: ApiVersion,
}

impl ServerInfo {
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let info = value.get("serverInfo")?;
        let product = info.get("productVersion");
        let product_version = product
            .and_then(|product| wire::text(product.get("value")).or_else(|| wire::text(Some(product))))
            .unwrap_or_default();
        Some(Self {
            product_version,
            build: product.and_then(|product| wire::text(product.get("build"))),
            rest_api_version: wire::text(info.get("restApiVersion"))?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_and_not_by_text() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("3.9") < version("3.27"));
        assert_eq!(version("3.29"), ApiVersion::LATEST);
        assert_eq!(version(" 3.4 ").to_string(), "3.4");
        for text in ["", "3", "3.", "3.x", "-1.2", "3.29.1"] {
            assert!(text.parse::<ApiVersion>().is_err(), "{text}");
        }
    }
}
