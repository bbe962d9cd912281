//! What opens a sealed file: a passphrase, or an X25519 identity.

use std::fmt;
use std::io::Write as _;
use std::path::Path;

use age::x25519;
use secrecy::{ExposeSecret as _, SecretString};

use super::super::{CredentialError, CredentialErrorKind, private};
use super::file;

/// Cost of trying a passphrase: about a second and 256 MB, what the format's own tool takes. Not what this machine can do at the moment:
/// a busy one would make weak files.
const WORK: u8 = 18;

/// What costs more than four times as much was not written by us.
const MOST_WORK: u8 = 20;

/// What opens a sealed file. Its `Debug` does not show it, and its memory is overwritten when it goes.
#[derive(Clone)]
pub struct SealKey {
    kind: Kind,
    /// What it is, in errors.
    origin: String,
    work: u8,
}

#[derive(Clone)]
enum Kind {
    Passphrase(SecretString),
    Identity(x25519::Identity),
}

impl SealKey {
    /// A passphrase. Trying one takes about a second.
    ///
    /// # Errors
    /// [`Invalid`](CredentialErrorKind::Invalid) when it is empty.
    pub fn passphrase(passphrase: SecretString) -> Result<Self, CredentialError> {
        if passphrase.expose_secret().trim().is_empty() {
            return Err(
                CredentialError::invalid("the passphrase is empty").with_hint("use some words that nobody guesses")
            );
        }
        Ok(Self { kind: Kind::Passphrase(passphrase), origin: "the passphrase".to_owned(), work: WORK })
    }

    /// Makes a new key and writes it into a new file, readable for its owner only. Blocks.
    ///
    /// # Errors
    /// [`Exists`](CredentialErrorKind::Exists) when there is a file already, [`Io`](CredentialErrorKind::Io) when it cannot be written.
    pub fn create_file(path: impl AsRef<Path>) -> Result<Self, CredentialError> {
        Self::write_new(path.as_ref(), None)
    }

    /// As [`create_file`](SealKey::create_file), with owner and group of another file (on Unix), such as the key whose place it takes: so
    /// whoever could read that can read this one. Its mode as well, but never for all users. Blocks.
    ///
    /// # Errors
    /// As [`create_file`](SealKey::create_file), and [`Io`](CredentialErrorKind::Io) where this user may not give files to that owner or
    /// group. Then there is no new file.
    pub fn create_file_like(path: impl AsRef<Path>, like: impl AsRef<Path>) -> Result<Self, CredentialError> {
        Self::write_new(path.as_ref(), Some(like.as_ref()))
    }

    fn write_new(path: &Path, like: Option<&Path>) -> Result<Self, CredentialError> {
        let key = Self::generate(of_file(path));
        let Kind::Identity(identity) = &key.kind else { return Ok(key) };
        let text = identity.to_string();
        file::create_with(path, like, |file| {
            // As the format's own tool writes it.
            writeln!(file, "# opens sealed credentials; public key: {}", identity.to_public())?;
            writeln!(file, "{}", text.expose_secret())
        })?;
        Ok(key)
    }

    /// Reads a key file: ours, or one of the format's own tool. Blocks.
    ///
    /// # Errors
    /// [`Missing`](CredentialErrorKind::Missing) when it is not there, [`Exposed`](CredentialErrorKind::Exposed) when others may read it (on
    /// Unix), [`Invalid`](CredentialErrorKind::Invalid) when it holds no X25519 identity.
    pub fn read_file(path: impl AsRef<Path>) -> Result<Self, CredentialError> {
        let path = path.as_ref();
        let Some(text) = private::read(path)? else {
            let message = format!("the key file {} is not there", path.display());
            return Err(CredentialError::new(CredentialErrorKind::Missing, message)
                .with_hint("name the file that the key was written to; without it nothing opens the sealed file"));
        };
        let lines = text.expose_secret().lines().map(str::trim);
        let mut keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        // More than one would be a choice that nobody has made.
        let found = keys.next().filter(|_| keys.next().is_none()).and_then(|line| line.parse().ok());
        Self::of(found, of_file(path))
    }

    /// From an identity as text.
    #[cfg(feature = "keyring")]
    pub(super) fn of_text(text: &str, origin: String) -> Result<Self, CredentialError> {
        Self::of(text.trim().parse().ok(), origin)
    }

    fn of(identity: Option<x25519::Identity>, origin: String) -> Result<Self, CredentialError> {
        match identity {
            Some(identity) => Ok(Self { kind: Kind::Identity(identity), origin, work: WORK }),
            None => Err(CredentialError::invalid(format!("{origin} holds no key"))
                .with_hint("it must hold one line AGE-SECRET-KEY-1…, beside lines that begin with #")),
        }
    }

    pub(super) fn generate(origin: String) -> Self {
        Self { kind: Kind::Identity(x25519::Identity::generate()), origin, work: WORK }
    }

    /// The identity as text.
    #[cfg(feature = "keyring")]
    pub(super) fn text(&self) -> Option<SecretString> {
        match &self.kind {
            Kind::Identity(identity) => Some(identity.to_string()),
            Kind::Passphrase(_) => None,
        }
    }

    /// Costs of trying a passphrase: 2 to the power of this. Low costs are for tests.
    #[cfg(any(test, feature = "test-util"))]
    #[must_use]
    pub fn work_factor(mut self, work: u8) -> Self {
        self.work = work.clamp(1, MOST_WORK);
        self
    }

    pub(super) fn is_passphrase(&self) -> bool {
        matches!(self.kind, Kind::Passphrase(_))
    }

    /// What it is, in errors.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) fn recipient(&self) -> Box<dyn age::Recipient> {
        match &self.kind {
            Kind::Passphrase(passphrase) => {
                let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
                recipient.set_work_factor(self.work);
                Box::new(recipient)
            }
            Kind::Identity(identity) => Box::new(identity.to_public()),
        }
    }

    pub(super) fn identity(&self) -> Box<dyn age::Identity> {
        match &self.kind {
            Kind::Passphrase(passphrase) => {
                let mut identity = age::scrypt::Identity::new(passphrase.clone());
                identity.set_max_work_factor(MOST_WORK);
                Box::new(identity)
            }
            Kind::Identity(identity) => Box::new(identity.clone()),
        }
    }
}

fn of_file(path: &Path) -> String {
    format!("the key file {}", path.display())
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey").field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seal.key");
        assert_eq!(SealKey::read_file(&path).unwrap_err().kind(), CredentialErrorKind::Missing);
        let made = SealKey::create_file(&path).unwrap();
        let read = SealKey::read_file(&path).unwrap();
        let public = |key: &SealKey| match &key.kind {
            Kind::Identity(identity) => identity.to_public().to_string(),
            Kind::Passphrase(_) => panic!("a key"),
        };
        assert_eq!(public(&made), public(&read));
        let before = std::fs::read(&path).unwrap();
        assert_eq!(SealKey::create_file(&path).unwrap_err().kind(), CredentialErrorKind::Exists);
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert!(!format!("{read:?}").contains("AGE-SECRET"));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seal.key");
        SealKey::create_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o644, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(SealKey::read_file(&path).unwrap_err().kind(), CredentialErrorKind::Exposed);
        }
    }

    #[test]
    fn what_is_no_key_is_not_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seal.key");
        let good = SealKey::create_file(&path).unwrap();
        let one = std::fs::read_to_string(&path).unwrap();
        drop(good);
        for text in
            ["canary".to_owned(), "# only words".to_owned(), format!("{one}{one}"), one.replace("KEY-1", "KEY-2")]
        {
            std::fs::write(&path, &text).unwrap();
            let error = SealKey::read_file(&path).unwrap_err();
            assert_eq!(error.kind(), CredentialErrorKind::Invalid);
            assert!(!format!("{error:?}").contains("canary") && !format!("{error:?}").contains("KEY-2"), "{error:?}");
        }
        assert!(SealKey::passphrase(SecretString::from(" ")).is_err());
    }
}
