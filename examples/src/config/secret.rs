//! Secrets by reference: the file says where a secret is, never what it is.

use std::path::PathBuf;

use kinetic_tableau_sync::credentials::{
    CredentialErrorKind, ExposeSecret as _, FileCredentials, SecretName, SecretString,
};
use zeroize::Zeroizing;

use crate::failure::{Failure, Outcome};
use crate::output;
use crate::secrets::Secrets;

/// Where a secret is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretRef {
    /// Section and key, for errors.
    place: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Environment(String),
    File(PathBuf),
    Named(SecretName),
}

impl SecretRef {
    pub(super) fn environment(place: String, name: &str) -> Self {
        Self { place, kind: Kind::Environment(name.to_owned()) }
    }

    pub(super) fn file(place: String, path: PathBuf) -> Self {
        Self { place, kind: Kind::File(path) }
    }

    pub(super) fn named(place: String, name: SecretName) -> Self {
        Self { place, kind: Kind::Named(name) }
    }

    /// Section and key.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Its name in the store of `[secrets]`, where it is taken from there.
    pub(crate) fn name(&self) -> Option<&SecretName> {
        match &self.kind {
            Kind::Named(name) => Some(name),
            Kind::Environment(_) | Kind::File(_) => None,
        }
    }

    /// Fetches the secret. From here on it is kept out of whatever this program prints.
    pub(crate) async fn resolve(&self, secrets: &Secrets) -> Outcome<SecretString> {
        let secret = match &self.kind {
            Kind::Environment(name) => std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => {
                    Failure::usage(format!("{}: the environment variable {name} is not set", self.place))
                        .next(format!("set {name} to the secret, or point the reference at a file"))
                }
                std::env::VarError::NotUnicode(_) => {
                    Failure::usage(format!("{}: the environment variable {name} is no text", self.place))
                        .next(format!("set {name} again, as UTF-8"))
                }
            })?,
            Kind::File(path) => std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!(
                    "{}: the file {} cannot be read: {}",
                    self.place,
                    path.display(),
                    reason(&error)
                ))
                .next("create it with nothing but the secret in it, readable by this user only")
            })?,
            Kind::Named(name) => {
                let secret = secrets.get(name).await.map_err(|failure| failure.within(&self.place))?;
                output::redactor().add(&secret);
                return Ok(secret);
            }
        };
        let secret = Zeroizing::new(secret);
        // Files end with a line break that nobody meant.
        let secret = secret.trim_end_matches(['\r', '\n']);
        if secret.trim().is_empty() {
            return Err(
                Failure::usage(format!("{}: {} is empty", self.place, self.source())).next("put the secret there")
            );
        }
        let secret = SecretString::from(secret);
        output::redactor().add(&secret);
        Ok(secret)
    }

    /// Where it is, in words.
    pub(crate) fn source(&self) -> String {
        match &self.kind {
            Kind::Environment(name) => format!("the environment variable {name}"),
            Kind::File(path) => format!("the file {}", path.display()),
            Kind::Named(name) => format!("the secret {name}"),
        }
    }

    /// What is weak about how the secret is kept, or about the secret itself.
    pub(crate) fn weakness(&self, secret: &SecretString) -> Option<String> {
        if !kinetic_tableau_sync::Redactor::can_mask(secret) {
            let count = secret.expose_secret().trim().chars().count();
            return Some(format!(
                "with {count} characters too short to be kept out of errors and logs: use a longer one"
            ));
        }
        if let Kind::File(path) = &self.kind {
            let exposed = FileCredentials::read_file(path).err();
            let exposed = exposed.filter(|error| error.kind() == CredentialErrorKind::Exposed)?;
            let words = format!("{exposed}: {}", exposed.hint().unwrap_or_default());
            // The file is named already.
            return Some(words.replace(&path.display().to_string(), "it"));
        }
        None
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is none".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        std::io::ErrorKind::InvalidData => "it is no UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}
