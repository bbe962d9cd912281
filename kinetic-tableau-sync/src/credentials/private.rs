//! Files that hold a secret and nothing else.
//!
//! Who may read one, on Unix: its owner, and nobody else but by a group that hands it to us. That is how platforms hand secrets over.
//! Kubernetes mounts them as root's, with `fsGroup` as their group and mode 0440. systemd's credentials are root's with an entry for the
//! service in their access list, which shows as mode 0440 and the group of root. So a group may read a file that is not ours alone, where
//! that group is one of this process or root's. A file of our own user that a group may read was handed to nobody: it is refused, as is
//! whatever all may reach or a group may write. (Root, who needs no group to read, may have its own file's group read, by the same rule for
//! the group: a container that runs as root is handed its secrets in the same way.)

use std::io::{self, Read as _};
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{CredentialError, CredentialErrorKind, secret_of};

/// No secret is longer.
pub(super) const LONGEST: usize = 64 * 1024;

/// Reads a file that only its owner may read. None when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<SecretString>, CredentialError> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    // What was opened is looked at, not what has the name by then.
    let about = file.metadata().map_err(|error| failed(path, error))?;
    if !about.is_file() {
        return Err(CredentialError::invalid(format!("{} is no file", path.display()))
            .with_hint("name a file that holds nothing but the secret"));
    }
    refuse_exposed(path, &about)?;
    // With room for one byte more than is allowed, so that it never has to grow and leave a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST + 1));
    let limit = u64::try_from(LONGEST + 1).unwrap_or(u64::MAX);
    (&mut file).take(limit).read_to_string(&mut text).map_err(|error| failed(path, error))?;
    if text.len() > LONGEST {
        return Err(CredentialError::invalid(format!("{} is longer than a secret can be", path.display()))
            .with_hint(format!("a secret has at most {LONGEST} bytes")));
    }
    let secret = trimmed(&text);
    if secret.trim().is_empty() {
        return Err(CredentialError::invalid(format!("{} is empty", path.display())).with_hint("put the secret there"));
    }
    Ok(Some(secret_of(secret)))
}

/// Files and pipes end with a line break that nobody meant.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// Refuses what others may read than those whom the module's rule names.
pub(super) fn refuse_exposed(path: &Path, about: &std::fs::Metadata) -> Result<(), CredentialError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let file = FileAccess { mode: about.mode() & 0o777, owner: about.uid(), group: about.gid() };
        // Without a list of groups nothing is ours.
        let groups = rustix::process::getgroups().unwrap_or_default();
        let groups = groups.into_iter().chain([rustix::process::getegid()]).map(rustix::process::Gid::as_raw);
        let process = Process { user: rustix::process::geteuid().as_raw(), groups: groups.collect() };
        if let Some((why, next)) = exposed(&file, &process) {
            let message = format!("{why} {} (mode {:04o})", path.display(), file.mode);
            return Err(CredentialError::new(CredentialErrorKind::Exposed, message).with_hint(format!(
                "chmod 600 {}{next}, and change what is in it, or what it opens, if somebody may have read it",
                path.display()
            )));
        }
    }
    #[cfg(not(unix))]
    let _ = (path, about);
    Ok(())
}

/// Who may do what with a file.
#[cfg(unix)]
struct FileAccess {
    mode: u32,
    owner: u32,
    group: u32,
}

/// Who reads it.
#[cfg(unix)]
struct Process {
    user: u32,
    groups: Vec<u32>,
}

/// Who else may reach a file, and what can be done about it beside the usual; none where nobody may who should not.
#[cfg(unix)]
fn exposed(file: &FileAccess, process: &Process) -> Option<(&'static str, &'static str)> {
    const ROOT: u32 = 0;
    const MOUNTED: &str = " (one that is mounted: mount it with mode 0400 or 0440)";
    if file.mode & 0o004 != 0 {
        return Some(("others may read", MOUNTED));
    }
    if file.mode & 0o022 != 0 {
        return Some(("others may write", MOUNTED));
    }
    if file.mode & 0o040 == 0 {
        return None;
    }
    if file.owner == process.user && process.user != ROOT {
        return Some(("others may read", ""));
    }
    if file.group != ROOT && !process.groups.contains(&file.group) {
        return Some(("a group that is not ours may read", ", or give it a group of this process"));
    }
    None
}

/// A failure to read, in one line.
pub(super) fn failed(path: &Path, error: io::Error) -> CredentialError {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        io::ErrorKind::InvalidData => "it is no UTF-8 text".to_owned(),
        _ => error.to_string(),
    };
    CredentialError::new(CredentialErrorKind::Io, format!("{} cannot be read: {why}", path.display()))
        .with_hint("check the path, its owner and its mode")
        .with_cause(error)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const SERVICE: u32 = 10_001;
    const FS_GROUP: u32 = 2_000;

    fn refused(user: u32, groups: &[u32], (owner, group, mode): (u32, u32, u32)) -> bool {
        exposed(&FileAccess { mode, owner, group }, &Process { user, groups: groups.to_vec() }).is_some()
    }

    #[test]
    fn what_platforms_hand_over_is_taken_and_what_lies_open_is_refused() {
        let service = |file| refused(SERVICE, &[SERVICE, FS_GROUP], file);
        for file in [
            // Kubernetes, with `fsGroup` and `defaultMode: 0440`, or 0640.
            (0, FS_GROUP, 0o440),
            (0, FS_GROUP, 0o640),
            // systemd's `LoadCredential`: an access list, or where there are none the service's own file.
            (0, 0, 0o440),
            (SERVICE, SERVICE, 0o400),
            // What a person of the same group hands over.
            (1_000, FS_GROUP, 0o640),
            (SERVICE, SERVICE, 0o600),
        ] {
            assert!(!service(file), "{file:?}");
        }
        for file in [
            // Our own file, which a group of ours may read: nobody has handed it to us by that.
            (SERVICE, FS_GROUP, 0o640),
            (SERVICE, SERVICE, 0o440),
            // A group that is not ours.
            (0, 4_000, 0o440),
            // Whoever may write it can put another secret there.
            (0, FS_GROUP, 0o460),
            (0, FS_GROUP, 0o660),
            // All users.
            (0, FS_GROUP, 0o444),
            (0, 0, 0o404),
            (SERVICE, SERVICE, 0o602),
        ] {
            assert!(service(file), "{file:?}");
        }
    }

    #[test]
    fn root_is_handed_secrets_by_its_groups_as_others_are() {
        let root = |file| refused(0, &[0, FS_GROUP], file);
        for file in
            [(0, 0, 0o600), (0, 0, 0o640), (0, FS_GROUP, 0o440), (SERVICE, FS_GROUP, 0o640), (SERVICE, 7, 0o600)]
        {
            assert!(!root(file), "{file:?}");
        }
        for file in [(0, 7, 0o640), (SERVICE, SERVICE, 0o640), (0, 0, 0o660), (0, 0, 0o644)] {
            assert!(root(file), "{file:?}");
        }
    }
}
