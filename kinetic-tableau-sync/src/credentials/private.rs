//! Files that hold a secret and nothing else.

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

/// Refuses what others than the owner may read.
pub(super) fn refuse_exposed(path: &Path, about: &std::fs::Metadata) -> Result<(), CredentialError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let message = format!("others may read {} (mode {mode:04o})", path.display());
            return Err(CredentialError::new(CredentialErrorKind::Exposed, message).with_hint(format!(
                "chmod 600 {}, and change the secret if somebody may have read it",
                path.display()
            )));
        }
    }
    #[cfg(not(unix))]
    let _ = (path, about);
    Ok(())
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
