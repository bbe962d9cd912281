//! `[state]`: where state, audit, rejects and fingerprints are kept.

use std::path::PathBuf;

use url::Url;

use super::document::Section;
use super::secret::SecretRef;
use crate::failure::Outcome;

/// Where it is kept unless the file says otherwise.
const DEFAULT: &str = "sqlite:kinetic-tableau.db";
/// What can be said.
const FORMS: &str = "use \"sqlite:FILE\", \"postgres://USER@HOST/DATABASE\" or \"memory\"";

/// Where state, audit, rejects and fingerprints are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreLocation {
    /// In one SQLite file.
    Sqlite(PathBuf),
    /// In a schema of a Postgres database.
    Postgres(Box<PostgresLocation>),
    /// In this process only.
    Memory,
}

/// A schema of a Postgres database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostgresLocation {
    pub(crate) address: PostgresAddress,
    pub(crate) schema: Option<String>,
    pub(crate) connections: Option<usize>,
    pub(crate) ca_file: Option<PathBuf>,
}

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PostgresAddress {
    /// A connection string with everything in it.
    Secret(SecretRef),
    /// An address without a password, and the password by reference.
    Url { url: Box<Url>, password: Option<SecretRef> },
}

impl StoreLocation {
    pub(super) fn read(root: &Section<'_>) -> Outcome<Self> {
        let Some(section) = root.section("state", &["store", "password", "schema", "connections", "ca_file"])? else {
            return Ok(Self::Sqlite(root.document().resolve(DEFAULT.trim_start_matches("sqlite:"))));
        };
        if section.value("store").is_some_and(|value| value.get_ref().as_table().is_some()) {
            let address = PostgresAddress::Secret(section.secret("store")?);
            if section.value("password").is_some() {
                return Err(section
                    .bad("password", "the connection string that `store` refers to has the password in it")
                    .next("leave `password` out"));
            }
            return PostgresLocation::read(&section, address);
        }
        let text = section.optional_text("store")?.unwrap_or(DEFAULT);
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return PostgresLocation::read(&section, address(&section, "store", text)?);
        }
        for key in ["password", "schema", "connections", "ca_file"] {
            if section.value(key).is_some() {
                return Err(section
                    .bad(key, "this is for a store in Postgres only")
                    .next("leave it out, or set store = \"postgres://USER@HOST/DATABASE\""));
            }
        }
        if text == "memory" {
            return Ok(Self::Memory);
        }
        match text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            Some(path) => Ok(Self::Sqlite(section.document().resolve(path))),
            None => Err(section.bad("store", "this is no store").next(FORMS)),
        }
    }

    /// The secrets in it, by reference.
    pub(crate) fn secrets(&self) -> Option<&SecretRef> {
        match self {
            Self::Postgres(postgres) => postgres.address.secret(),
            Self::Sqlite(_) | Self::Memory => None,
        }
    }
}

impl PostgresAddress {
    /// The secret in it, by reference.
    pub(crate) fn secret(&self) -> Option<&SecretRef> {
        match self {
            Self::Secret(secret) => Some(secret),
            Self::Url { password, .. } => password.as_ref(),
        }
    }
}

impl PostgresLocation {
    fn read(section: &Section<'_>, address: PostgresAddress) -> Outcome<StoreLocation> {
        const CONNECTIONS: &str = "a number of connections from 1 to 100";
        let connections = section.integer("connections", CONNECTIONS)?;
        if connections.is_some_and(|connections| !(1..=100).contains(&connections)) {
            return Err(section.bad("connections", CONNECTIONS).next("leave it out for 8"));
        }
        Ok(StoreLocation::Postgres(Box::new(Self {
            address,
            schema: section.optional_text("schema")?.map(str::to_owned),
            connections,
            ca_file: section.optional_text("ca_file")?.map(|path| section.document().resolve(path)),
        })))
    }
}

/// The address is not repeated in complaints: it may hold a password.
pub(super) fn address(section: &Section<'_>, key: &str, text: &str) -> Outcome<PostgresAddress> {
    let unreadable = || {
        section
            .bad(key, "this is no address of a Postgres database")
            .next("write postgres://USER@HOST:PORT/DATABASE, and ?sslmode=… behind it where TLS is not to be required")
    };
    let url = Url::parse(text).map_err(|_| unreadable())?;
    if url.host_str().is_none_or(str::is_empty) || url.path().trim_matches('/').is_empty() {
        return Err(unreadable());
    }
    let in_query = url.query_pairs().any(|(name, _)| name.eq_ignore_ascii_case("password"));
    if url.password().is_some() || in_query {
        return Err(section
            .bad(key, "there is a password in this address")
            .next("move it to where password = { env = \"NAME\" } leads, and change it if this file was shared"));
    }
    let password = section.value("password").is_some().then(|| section.secret("password")).transpose()?;
    Ok(PostgresAddress::Url { url: Box::new(url), password })
}
