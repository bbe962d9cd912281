//! Secrets in a directory, one file each, as container platforms mount them.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{CredentialError, CredentialErrorKind, CredentialStore, SecretEntry, SecretName, SecretString, private};

/// Reads a directory with one file for each secret, named as it is. A line break at its end does not belong to the secret.
///
/// A file that others may read is refused (on Unix): one that all users may read or write, or a group may write. A group may read it where
/// it does not belong to our own user, and the group is one of this process or root's, as Kubernetes (`fsGroup`, `defaultMode: 0440`) and
/// systemd (`LoadCredential`) hand secrets over. (For root the group alone counts.)
#[derive(Clone, Debug)]
pub struct FileCredentials {
    directory: PathBuf,
}

impl FileCredentials {
    /// The files of a directory, which need not be there yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// One file by its path, as the directory's files are read; none when it is not there. Blocks.
    ///
    /// # Errors
    /// [`Exposed`](CredentialErrorKind::Exposed) when others may read it, [`Invalid`](CredentialErrorKind::Invalid) when it is empty or
    /// too long, [`Io`](CredentialErrorKind::Io) when it cannot be read.
    pub fn read_file(path: impl AsRef<Path>) -> Result<Option<SecretString>, CredentialError> {
        private::read(path.as_ref())
    }

    fn names(directory: &Path) -> Result<Vec<SecretEntry>, CredentialError> {
        let entries = std::fs::read_dir(directory).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let message = format!("the directory {} is not there", directory.display());
                CredentialError::new(CredentialErrorKind::Missing, message)
                    .with_hint("create it, readable by its owner only, with one file for each secret")
            }
            _ => private::failed(directory, error),
        })?;
        // Links are followed: that is how container platforms swap all files at once.
        let files = entries.flatten().filter(|entry| entry.path().is_file());
        let names = files.filter_map(|entry| SecretName::new(entry.file_name().into_string().ok()?).ok());
        let mut names: Vec<SecretEntry> = names.map(SecretEntry::new).collect();
        names.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(names)
    }

    fn refuse(&self, name: &SecretName, what: &str) -> CredentialError {
        let path = self.directory.join(name.as_str());
        CredentialError::unsupported("the files of secrets are not changed from here")
            .with_hint(format!("{what} the file {} yourself, readable by its owner only", path.display()))
    }
}

#[async_trait]
impl CredentialStore for FileCredentials {
    async fn get(&self, name: &SecretName) -> Result<Option<SecretString>, CredentialError> {
        let path = self.directory.join(name.as_str());
        blocking(move || private::read(&path)).await
    }

    async fn list(&self) -> Result<Vec<SecretEntry>, CredentialError> {
        let directory = self.directory.clone();
        blocking(move || Self::names(&directory)).await
    }

    async fn set(&self, name: &SecretName, _: &SecretString, _: Option<&str>) -> Result<(), CredentialError> {
        Err(self.refuse(name, "write"))
    }

    async fn remove(&self, name: &SecretName) -> Result<bool, CredentialError> {
        Err(self.refuse(name, "remove"))
    }
}

/// Runs work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CredentialError> + Send + 'static,
) -> Result<T, CredentialError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        // A panic's own words are not passed on: they may hold anything.
        Err(CredentialError::new(CredentialErrorKind::Other, "work on a credential store was broken off")
            .with_hint("run again; when it stays, report it"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::ExposeSecret as _;
    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::new(text).unwrap()
    }

    fn write(path: &Path, text: &[u8], mode: u32) {
        std::fs::write(path, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        #[cfg(not(unix))]
        let _ = mode;
    }

    #[tokio::test]
    async fn each_file_is_a_secret_without_the_line_break_at_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileCredentials::new(directory.path());
        assert!(store.get(&name("api-key")).await.unwrap().is_none());
        for (text, secret) in [("plain", "plain"), ("line\n", "line"), (" kept \r\n", " kept "), ("a\nb\n\n", "a\nb")] {
            write(&directory.path().join("api-key"), text.as_bytes(), 0o600);
            assert_eq!(store.get(&name("api-key")).await.unwrap().unwrap().expose_secret(), secret);
        }
        write(&directory.path().join("b"), b"x", 0o400);
        write(&directory.path().join(".hidden"), b"x", 0o600);
        std::fs::create_dir(directory.path().join("c")).unwrap();
        let names: Vec<String> = store.list().await.unwrap().iter().map(|entry| entry.name.to_string()).collect();
        assert_eq!(names, ["api-key", "b"]);
    }

    /// A group that this process is not in.
    #[cfg(unix)]
    fn foreign_group() -> u32 {
        let ours = rustix::process::getgroups().unwrap();
        (54_321..60_000).find(|group| ours.iter().all(|our| our.as_raw() != *group)).unwrap()
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileCredentials::new(directory.path());
        let path = directory.path().join("key");
        for mode in [0o644, 0o640, 0o440, 0o604, 0o602, 0o620, 0o622] {
            write(&path, b"canary-secret", mode);
            if rustix::process::geteuid().is_root() {
                // Only root may give files away, and what its own group may read is its own.
                std::os::unix::fs::chown(&path, None, Some(foreign_group())).unwrap();
            }
            let error = store.get(&name("key")).await.unwrap_err();
            assert_eq!(error.kind(), CredentialErrorKind::Exposed, "{mode:o}");
            assert!(error.hint().unwrap().contains("chmod 600"));
            assert!(!format!("{error:?}").contains("canary"));
            std::fs::remove_file(&path).unwrap();
        }
    }

    /// Only root can lay files as platforms do; for others the rule is tested where it is.
    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_that_a_platform_hands_over_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileCredentials::new(directory.path());
        let path = directory.path().join("key");
        let ours = rustix::process::getegid().as_raw();
        for (owner, group) in [(0, ours), (0, 0), (54_321, ours)] {
            write(&path, b"handed-over", 0o440);
            if rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(&path, Some(owner), Some(group)).unwrap();
                assert_eq!(store.get(&name("key")).await.unwrap().unwrap().expose_secret(), "handed-over");
            } else {
                assert_eq!(store.get(&name("key")).await.unwrap_err().kind(), CredentialErrorKind::Exposed);
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[tokio::test]
    async fn what_cannot_be_a_secret_is_said_without_repeating_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileCredentials::new(directory.path());
        let path = directory.path().join("key");
        let long = vec![b'x'; private::LONGEST + 1];
        for (text, kind) in [
            (b"" as &[u8], CredentialErrorKind::Invalid),
            (b" \n", CredentialErrorKind::Invalid),
            (b"canary\xff", CredentialErrorKind::Io),
            (&long, CredentialErrorKind::Invalid),
        ] {
            write(&path, text, 0o600);
            let error = store.get(&name("key")).await.unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains("key") && !format!("{error:?}").contains("canary"), "{error}");
        }
        let missing = FileCredentials::new(directory.path().join("nowhere"));
        assert_eq!(missing.list().await.unwrap_err().kind(), CredentialErrorKind::Missing);
        let refused = store.set(&name("key"), &SecretString::from("x"), None).await.unwrap_err();
        assert_eq!(refused.kind(), CredentialErrorKind::Unsupported);
    }
}
