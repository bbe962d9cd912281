//! A store of our own: one file in the `age` format, in its textual form, with a small document inside.
//!
//! - It is opened by a passphrase (scrypt), or by an X25519 identity in a key file or in the keyring of the operating system. The tool
//!   `age` opens it as well, should this program be gone.
//! - It is written whole into a new file beside it, which then takes its place: whatever fails half way, the old file stays as it was.
//!   Nothing is ever written in clear. The new file has owner, group and mode of the old one (on Unix), and where this user may not give
//!   it away nothing is changed. Access lists are not kept.
//! - One process writes at a time: whoever writes holds a lock of the operating system on `FILE.lock`.
//! - What was decrypted is kept while the file stays the same, since a passphrase takes a second to try, and is overwritten with zeros when
//!   it goes.

mod document;
mod envelope;
mod file;
mod key;
#[cfg(feature = "keyring")]
mod keyring;
#[cfg(target_os = "linux")]
#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::Utc;
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use self::document::Document;
pub use self::key::SealKey;
use super::files::blocking;
use super::{CredentialError, CredentialErrorKind, CredentialStore, SecretEntry, SecretName, SecretString, private};

/// Keeps secrets in one encrypted file. Clones share it.
#[derive(Clone, Debug)]
pub struct SealedFile {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    key: SealKey,
    /// What was decrypted last, and the hash of the file that it was in.
    seen: Option<([u8; 32], Document)>,
}

impl SealedFile {
    /// Makes a new, empty file, readable for its owner only.
    ///
    /// # Errors
    /// [`Exists`](CredentialErrorKind::Exists) when there is one already, [`Io`](CredentialErrorKind::Io) when it cannot be written.
    pub async fn create(path: impl AsRef<Path>, key: SealKey) -> Result<Self, CredentialError> {
        let path = path.as_ref().to_owned();
        blocking(move || {
            let _lock = file::Lock::take(&path)?;
            let bytes = envelope::seal(&Document::default(), &key)?;
            file::create(&path, &bytes)?;
            Self::over(&path, key)
        })
        .await
    }

    /// Opens a file, to see that the key fits.
    ///
    /// # Errors
    /// [`Missing`](CredentialErrorKind::Missing) when it is not there, [`WrongKey`](CredentialErrorKind::WrongKey) when the key does not
    /// open it, [`Damaged`](CredentialErrorKind::Damaged), [`Truncated`](CredentialErrorKind::Truncated) or
    /// [`Newer`](CredentialErrorKind::Newer) when it is not what this version has written.
    pub async fn open(path: impl AsRef<Path>, key: SealKey) -> Result<Self, CredentialError> {
        let path = path.as_ref().to_owned();
        blocking(move || {
            let store = Self::over(&path, key)?;
            store.shared.read(|_| ())?;
            Ok(store)
        })
        .await
    }

    fn over(path: &Path, key: SealKey) -> Result<Self, CredentialError> {
        // A link stays a link: what it leads to is what is replaced.
        let path = std::fs::canonicalize(path).map_err(|error| file::unreadable(path, error))?;
        Ok(Self { shared: Arc::new(Shared { path, inside: Mutex::new(Inside { key, seen: None }) }) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Puts a new value in the place of one that is there. Its note stays, and when the old value was set is remembered.
    ///
    /// # Errors
    /// [`Unknown`](CredentialErrorKind::Unknown) when there is no such secret, [`Invalid`](CredentialErrorKind::Invalid) when the value is
    /// the one that is there, and when the file cannot be written.
    pub async fn rotate(&self, name: &SecretName, value: &SecretString) -> Result<(), CredentialError> {
        check(value)?;
        let (name, value) = (name.clone(), value.clone());
        self.change(move |document| document.rotate(&name, value, Utc::now())).await
    }

    /// Seals everything for another key. The one before opens it no more; copies of the old file it still opens.
    ///
    /// # Errors
    /// When the file cannot be opened or written. Then the old key stays in force.
    pub async fn rekey(&self, key: SealKey) -> Result<(), CredentialError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.write(Some(key), |_| Ok(()))).await
    }

    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Document) -> Result<T, CredentialError> + Send + 'static,
    ) -> Result<T, CredentialError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.write(None, change)).await
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Document) -> T + Send + 'static,
    ) -> Result<T, CredentialError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.read(look)).await
    }
}

impl Shared {
    /// Looks at what is in the file now: another process may have written it.
    fn read<T>(&self, look: impl FnOnce(&Document) -> T) -> Result<T, CredentialError> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = &mut *inside;
        let bytes = file::read(&self.path)?;
        let hash = Sha256::digest(&bytes).into();
        let document = match inside.seen.take() {
            Some((known, document)) if known == hash => document,
            _ => envelope::open(&bytes, &inside.key, &self.path)?,
        };
        let (_, document) = inside.seen.insert((hash, document));
        Ok(look(document))
    }

    /// Changes what is in the file, under the lock, and with another key if one is given.
    fn write<T>(
        &self,
        key: Option<SealKey>,
        change: impl FnOnce(&mut Document) -> Result<T, CredentialError>,
    ) -> Result<T, CredentialError> {
        let _lock = file::Lock::take(&self.path)?;
        let mut document = self.read(Document::clone)?;
        let done = change(&mut document)?;
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = envelope::seal(&document, key.as_ref().unwrap_or(&inside.key))?;
        file::replace(&self.path, &bytes)?;
        if let Some(key) = key {
            inside.key = key;
        }
        inside.seen = Some((Sha256::digest(&bytes).into(), document));
        Ok(done)
    }
}

/// Refuses a value that is surely a mistake.
fn check(value: &SecretString) -> Result<(), CredentialError> {
    let text = value.expose_secret();
    if text.trim().is_empty() {
        return Err(CredentialError::invalid("the value is empty").with_hint("give the secret itself"));
    }
    if text.len() > private::LONGEST {
        return Err(CredentialError::invalid("the value is longer than a secret can be")
            .with_hint(format!("a secret has at most {} bytes", private::LONGEST)));
    }
    Ok(())
}

#[async_trait]
impl CredentialStore for SealedFile {
    async fn get(&self, name: &SecretName) -> Result<Option<SecretString>, CredentialError> {
        let name = name.clone();
        self.look(move |document| document.get(&name).cloned()).await
    }

    async fn list(&self) -> Result<Vec<SecretEntry>, CredentialError> {
        self.look(Document::entries).await
    }

    async fn set(&self, name: &SecretName, value: &SecretString, note: Option<&str>) -> Result<(), CredentialError> {
        check(value)?;
        let (name, value, note) = (name.clone(), value.clone(), note.map(str::to_owned));
        self.change(move |document| {
            document.set(name, value, note, Utc::now());
            Ok(())
        })
        .await
    }

    async fn remove(&self, name: &SecretName) -> Result<bool, CredentialError> {
        let name = name.clone();
        self.change(move |document| Ok(document.remove(&name))).await
    }
}

fn damaged(path: &Path, what: &str) -> CredentialError {
    CredentialError::new(CredentialErrorKind::Damaged, format!("the sealed file {} is damaged: {what}", path.display()))
        .with_hint("restore it from a copy, or make a new one and set the secrets again")
}
