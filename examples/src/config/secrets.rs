//! `[secrets]`: the store that `{ secret = "NAME" }` takes secrets from.

use std::path::PathBuf;

use super::document::Section;
use crate::failure::Outcome;

/// Where secrets are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretStore {
    /// In one file in the `age` format.
    Sealed { file: PathBuf, key: KeyRef },
    /// In a directory with one file each.
    Directory(PathBuf),
    /// In variables of the environment, behind a prefix.
    Environment(String),
}

/// What opens a sealed file, by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyRef {
    /// A key file.
    File(PathBuf),
    /// A passphrase in a variable of the environment.
    Passphrase(String),
    /// A passphrase that is asked for on the terminal.
    Ask,
    /// An entry of the operating system's keyring.
    Keyring { service: String, account: String },
}

const KEYS: &str = "{ file = \"PATH\" }, { passphrase = { env = \"NAME\" } }, { passphrase = \"ask\" } or \
                    { keyring = \"SERVICE/ACCOUNT\" }";

impl SecretStore {
    /// None when the file has no such section.
    pub(super) fn read(root: &Section<'_>) -> Outcome<Option<Self>> {
        let Some(section) = root.section("secrets", &["store", "key"])? else { return Ok(None) };
        let text = section.text("store", "store = \"sealed:FILE\"")?;
        let behind = |kind: &str| text.strip_prefix(kind).filter(|rest| !rest.is_empty());
        if let Some(path) = behind("sealed:") {
            let key = KeyRef::read(&section)?;
            return Ok(Some(Self::Sealed { file: section.document().resolve(path), key }));
        }
        let store = if let Some(path) = behind("directory:") {
            Self::Directory(section.document().resolve(path))
        } else if let Some(prefix) = text.strip_prefix("environment:") {
            Self::Environment(prefix.to_owned())
        } else {
            // The text is not repeated: it may be a secret that was put into the wrong place.
            return Err(section
                .bad("store", "this is no store of secrets")
                .next("use \"sealed:FILE\", \"directory:PATH\" or \"environment:PREFIX\""));
        };
        if section.value("key").is_some() {
            return Err(section
                .bad("key", "only a sealed file has a key")
                .next("remove it, or use store = \"sealed:FILE\""));
        }
        Ok(Some(store))
    }
}

impl KeyRef {
    fn read(secrets: &Section<'_>) -> Outcome<Self> {
        let Some(value) = secrets.value("key") else {
            return Err(secrets.missing("key", &format!("what opens the sealed file: key = {KEYS}")));
        };
        // Never echo the value: it may be the key itself.
        if value.get_ref().as_table().is_none() {
            return Err(secrets
                .bad("key", "a key is never written into this file, only a reference to where it is")
                .next(format!("write key = {KEYS}, and make a new key if this file was shared")));
        }
        let one_of = || secrets.bad("key", "exactly one of 'file', 'passphrase' and 'keyring' is expected here");
        let Some(key) = secrets.section("key", &["file", "passphrase", "keyring"])? else { return Err(one_of()) };
        match (key.optional_text("file")?, key.value("passphrase"), key.optional_text("keyring")?) {
            (Some(path), None, None) => Ok(Self::File(key.document().resolve(path))),
            (None, Some(value), None) if value.get_ref().as_str() == Some("ask") => Ok(Self::Ask),
            (None, Some(value), None) => {
                let by_reference = "write passphrase = { env = \"NAME_OF_A_VARIABLE\" } or passphrase = \"ask\"";
                if value.get_ref().as_table().is_none() {
                    return Err(key
                        .bad("passphrase", "a passphrase is never written into this file")
                        .next(format!("{by_reference}, and change the passphrase if this file was shared")));
                }
                match key.section("passphrase", &["env"])? {
                    Some(place) => Ok(Self::Passphrase(place.text("env", "env = \"NAME_OF_A_VARIABLE\"")?.to_owned())),
                    None => Err(key.missing("passphrase", by_reference)),
                }
            }
            (None, None, Some(entry)) => match entry.split_once('/') {
                Some((service, account)) if !service.is_empty() && !account.is_empty() => {
                    Ok(Self::Keyring { service: service.to_owned(), account: account.to_owned() })
                }
                _ => Err(key.bad("keyring", "this names no entry").next("write keyring = \"SERVICE/ACCOUNT\"")),
            },
            _ => Err(one_of().next(format!("write key = {KEYS}"))),
        }
    }
}
