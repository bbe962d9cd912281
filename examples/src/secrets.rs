//! The store of secrets that the configuration names, opened when the first secret is taken from it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use kinetic_tableau_sync::credentials::{
    CredentialError, CredentialErrorKind, CredentialStore, EnvironmentCredentials, FileCredentials, SealKey,
    SealedFile, SecretName, SecretString,
};
use tokio::sync::Mutex;

use crate::config::{KeyRef, SecretStore};
use crate::failure::{Failure, Outcome};
use crate::{output, terminal};

/// The store of `[secrets]`.
pub(crate) struct Secrets {
    place: Option<SecretStore>,
    /// Opened once: a passphrase takes a second to try, and nobody wants to type it twice.
    opened: Mutex<Option<Outcome<Arc<dyn CredentialStore>>>>,
}

impl Secrets {
    pub(crate) fn new(place: Option<SecretStore>) -> Self {
        Self { place, opened: Mutex::new(None) }
    }

    /// Where it is; none when the configuration names no store.
    pub(crate) fn place(&self) -> Option<&SecretStore> {
        self.place.as_ref()
    }

    /// One secret.
    pub(crate) async fn get(&self, name: &SecretName) -> Outcome<SecretString> {
        let found = self.store().await?.get(name).await?;
        found.ok_or_else(|| {
            let next = match self.place {
                Some(SecretStore::Sealed { .. }) => format!("`kinetic-tableau secrets set {name}` asks for it"),
                Some(SecretStore::Directory(ref path)) => {
                    format!("write it into {}, readable by this user only", path.join(name.as_str()).display())
                }
                _ => format!("set the variable {}", environment(self.place.as_ref()).variable(name)),
            };
            Failure::usage(format!("there is no secret {name} in {}", self.describe())).next(next)
        })
    }

    /// The store in words.
    pub(crate) fn describe(&self) -> String {
        match &self.place {
            Some(SecretStore::Sealed { file, .. }) => format!("the sealed file {}", file.display()),
            Some(SecretStore::Directory(path)) => format!("the directory {}", path.display()),
            Some(SecretStore::Environment(prefix)) if !prefix.is_empty() => format!("the environment behind {prefix}"),
            Some(SecretStore::Environment(_)) => "the environment".to_owned(),
            None => "no store".to_owned(),
        }
    }

    /// The store. What is wrong with the configuration is remembered; what may pass is tried again.
    pub(crate) async fn store(&self) -> Outcome<Arc<dyn CredentialStore>> {
        let mut opened = self.opened.lock().await;
        if let Some(known) = &*opened {
            return known.clone();
        }
        let outcome: Outcome<Arc<dyn CredentialStore>> = match &self.place {
            Some(SecretStore::Sealed { file, key }) => open(file, key).await.map(|sealed| Arc::new(sealed) as _),
            Some(SecretStore::Directory(path)) => Ok(Arc::new(FileCredentials::new(path))),
            place @ Some(SecretStore::Environment(_)) => Ok(Arc::new(environment(place.as_ref()))),
            None => Err(no_store()),
        };
        if outcome.as_ref().err().is_none_or(|failure| failure.exit() == crate::failure::Exit::Usage) {
            *opened = Some(outcome.clone());
        }
        outcome
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("place", &self.place).finish_non_exhaustive()
    }
}

pub(crate) fn no_store() -> Failure {
    Failure::usage("the configuration names no store of secrets")
        .next("add a section [secrets] with store = \"sealed:FILE\" and key = { file = \"PATH\" }")
}

fn environment(place: Option<&SecretStore>) -> EnvironmentCredentials {
    match place {
        Some(SecretStore::Environment(prefix)) => EnvironmentCredentials::new().prefix(prefix),
        _ => EnvironmentCredentials::new(),
    }
}

/// Opens a sealed file.
pub(crate) async fn open(file: &Path, key: &KeyRef) -> Outcome<SealedFile> {
    if !file.exists() {
        // Before anybody is asked for a passphrase.
        return Err(Failure::usage(format!("the sealed file {} is not there", file.display()))
            .next("`kinetic-tableau secrets init` makes it; a relative path starts at the configuration's directory"));
    }
    Ok(SealedFile::open(file, read_key(key).await?).await?)
}

/// The key that is there.
pub(crate) async fn read_key(key: &KeyRef) -> Outcome<SealKey> {
    match key.clone() {
        KeyRef::File(path) => blocking(move || Ok(SealKey::read_file(path)?)).await,
        KeyRef::Keyring { service, account } => blocking(move || keyring::read(&service, &account)).await,
        KeyRef::Passphrase(variable) => of_variable(&variable),
        KeyRef::Ask => of_passphrase(blocking(|| terminal::ask("passphrase of the sealed secrets: ")).await?),
    }
}

/// A key for a file that is about to be sealed: the one that is there, or else a new one, for those who may read the file `like`, if there is
/// one. Says what was made.
pub(crate) async fn new_key(key: &KeyRef, like: Option<&Path>) -> Outcome<(SealKey, Option<String>)> {
    match key.clone() {
        KeyRef::File(path) if path.exists() => Ok((read_key(key).await?, None)),
        KeyRef::File(path) => {
            let made = format!("the key file {}", path.display());
            let like = like.map(Path::to_owned);
            let create = move || match like {
                Some(like) => Ok(SealKey::create_file_like(path, like)?),
                None => Ok(SealKey::create_file(path)?),
            };
            Ok((blocking(create).await?, Some(made)))
        }
        KeyRef::Keyring { service, account } => {
            let made = format!("the keyring's entry {service}/{account}");
            match blocking(move || keyring::create(&service, &account)).await? {
                Some(created) => Ok((created, Some(made))),
                None => Ok((read_key(key).await?, None)),
            }
        }
        KeyRef::Passphrase(variable) => Ok((of_variable(&variable)?, None)),
        KeyRef::Ask => Ok((of_passphrase(blocking(|| terminal::ask_twice("new passphrase: ")).await?)?, None)),
    }
}

/// Keys in the keyring of the operating system.
#[cfg(feature = "keyring")]
mod keyring {
    use super::{CredentialErrorKind, Outcome, SealKey};

    pub(super) fn read(service: &str, account: &str) -> Outcome<SealKey> {
        Ok(SealKey::from_keyring(service, account)?)
    }

    /// A new key; none where there is one already.
    pub(super) fn create(service: &str, account: &str) -> Outcome<Option<SealKey>> {
        match SealKey::create_in_keyring(service, account) {
            Ok(created) => Ok(Some(created)),
            Err(error) if error.kind() == CredentialErrorKind::Exists => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is said where the program was built without keyrings.
#[cfg(not(feature = "keyring"))]
mod keyring {
    use super::{Failure, Outcome, SealKey};

    fn absent<T>() -> Outcome<T> {
        Err(Failure::usage("this program was built without support for keyrings")
            .next("build it with `--features keyring`, or use a key file: key = { file = \"secrets.key\" }"))
    }

    pub(super) fn read(_: &str, _: &str) -> Outcome<SealKey> {
        absent()
    }

    pub(super) fn create(_: &str, _: &str) -> Outcome<Option<SealKey>> {
        absent()
    }
}

fn of_variable(variable: &str) -> Outcome<SealKey> {
    let passphrase = std::env::var(variable).map_err(|_| {
        Failure::usage(format!("the environment variable {variable}, which is to hold the passphrase, is not set"))
            .next(format!("set {variable}, or open the sealed file by another key in `[secrets] key`"))
    })?;
    of_passphrase(SecretString::from(passphrase))
}

fn of_passphrase(passphrase: SecretString) -> Outcome<SealKey> {
    output::redactor().add(&passphrase);
    Ok(SealKey::passphrase(passphrase)?)
}

/// Runs work where it may block: for as long as a person types.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::of(&error, None))?
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        let failure = Self::of(&error, error.hint());
        match error.kind() {
            // These may pass.
            CredentialErrorKind::Busy
            | CredentialErrorKind::Unreachable
            | CredentialErrorKind::Io
            | CredentialErrorKind::Other => failure,
            _ => failure.into_usage(),
        }
    }
}
