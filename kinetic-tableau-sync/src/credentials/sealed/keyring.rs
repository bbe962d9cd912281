//! The key of a sealed file in the keyring of the operating system: Keychain, Credential Manager, or a Secret Service on Linux.

use keyring::{Entry, Error};
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::super::{CredentialError, CredentialErrorKind};
use super::SealKey;

impl SealKey {
    /// Reads the key of an entry of the keyring. Blocks, for as long as a person needs to unlock it.
    ///
    /// # Errors
    /// [`Missing`](CredentialErrorKind::Missing) when there is no such entry, [`Unreachable`](CredentialErrorKind::Unreachable) when the
    /// keyring cannot be reached or stays locked, [`Invalid`](CredentialErrorKind::Invalid) when the entry holds no key.
    pub fn from_keyring(service: &str, account: &str) -> Result<Self, CredentialError> {
        let origin = origin(service, account);
        let found = Zeroizing::new(entry(service, account)?.get_secret().map_err(|error| failed(&error, &origin))?);
        Self::of_text(std::str::from_utf8(&found).unwrap_or_default(), origin)
    }

    /// Makes a new key and puts it into the keyring. Blocks, as [`from_keyring`](SealKey::from_keyring).
    ///
    /// # Errors
    /// [`Exists`](CredentialErrorKind::Exists) when there is such an entry already, and as [`from_keyring`](SealKey::from_keyring).
    pub fn create_in_keyring(service: &str, account: &str) -> Result<Self, CredentialError> {
        let origin = origin(service, account);
        let entry = entry(service, account)?;
        match entry.get_secret().map(Zeroizing::new) {
            Err(Error::NoEntry) => {}
            Err(error) => return Err(failed(&error, &origin)),
            Ok(_) => {
                return Err(CredentialError::new(CredentialErrorKind::Exists, format!("{origin} is there already"))
                    .with_hint("use it, or choose another account"));
            }
        }
        let key = Self::generate(origin);
        if let Some(text) = key.text() {
            entry.set_secret(text.expose_secret().as_bytes()).map_err(|error| failed(&error, key.origin()))?;
        }
        Ok(key)
    }
}

fn origin(service: &str, account: &str) -> String {
    format!("the keyring's entry {service}/{account}")
}

fn entry(service: &str, account: &str) -> Result<Entry, CredentialError> {
    Entry::new(service, account).map_err(|error| match (error, Entry::store_status()) {
        // Why there is none, rather than that there is none.
        (Error::NoDefaultStore, Err(why)) => failed(why, &origin(service, account)),
        (error, _) => failed(&error, &origin(service, account)),
    })
}

/// Only the words are kept: some of the keyring's errors hold what was in the entry.
fn failed(error: &Error, origin: &str) -> CredentialError {
    let unreachable = |why: String| {
        CredentialError::new(
            CredentialErrorKind::Unreachable,
            format!("{origin} cannot be reached: {}", why.split_whitespace().collect::<Vec<_>>().join(" ")),
        )
        .with_hint(
            "on Linux a keyring needs a desktop session with D-Bus and a Secret Service; without one open the sealed file by a key \
             file or a passphrase instead",
        )
    };
    match error {
        Error::NoEntry => CredentialError::new(CredentialErrorKind::Missing, format!("{origin} is not there"))
            .with_hint("check service and account; without the key nothing opens the sealed file"),
        Error::PlatformFailure(why) => unreachable(why.to_string()),
        Error::NoStorageAccess(why) => unreachable(format!("it is locked or refuses access ({why})")),
        Error::NoDefaultStore => unreachable("there is no keyring for this platform".to_owned()),
        Error::Ambiguous(_) => CredentialError::invalid(format!("{origin} is there more than once"))
            .with_hint("remove all but one with the keyring's own tool, or choose another account"),
        Error::BadEncoding(_) | Error::BadDataFormat(..) | Error::BadStoreFormat(_) => {
            CredentialError::invalid(format!("{origin} cannot be read"))
                .with_hint("look at it with the keyring's own tool")
        }
        Error::TooLong(what, most) => {
            CredentialError::invalid(format!("{origin}: {what} has more than {most} characters"))
                .with_hint("choose a shorter service or account")
        }
        _ => CredentialError::invalid(format!("{origin} cannot be used on this platform"))
            .with_hint("open the sealed file by a key file or a passphrase instead"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_that_cannot_be_reached_is_told_with_what_else_there_is() {
        let error = failed(&Error::PlatformFailure("no bus\n at all".into()), "the keyring's entry a/b");
        assert_eq!(error.kind(), CredentialErrorKind::Unreachable);
        assert_eq!(error.to_string(), "the keyring's entry a/b cannot be reached: no bus at all");
        assert!(error.hint().unwrap().contains("key file") && error.hint().unwrap().contains("passphrase"));
    }

    #[test]
    fn what_was_in_the_entry_is_never_repeated() {
        for error in [
            Error::BadEncoding(b"canary".to_vec()),
            Error::BadDataFormat(b"canary".to_vec(), "canary".into()),
            Error::BadStoreFormat("canary".to_owned()),
            Error::Invalid("canary".to_owned(), "canary".to_owned()),
            Error::NotSupportedByStore("canary".to_owned()),
        ] {
            let told = failed(&error, "the entry");
            assert!(!format!("{told} {told:?}").contains("canary"), "{told:?}");
        }
    }
}
