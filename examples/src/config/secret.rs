//! Secrets by reference: the file says where a secret is, never what it is.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::failure::{Failure, Outcome};

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
}

impl SecretRef {
    pub(super) fn environment(place: String, name: &str) -> Self {
        Self { place, kind: Kind::Environment(name.to_owned()) }
    }

    pub(super) fn file(place: String, path: PathBuf) -> Self {
        Self { place, kind: Kind::File(path) }
    }

    /// Fetches the secret.
    pub(crate) fn resolve(&self) -> Outcome<SecretString> {
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
        };
        // Files end with a line break that nobody meant.
        let secret = secret.trim_end_matches(['\r', '\n']);
        if secret.trim().is_empty() {
            return Err(
                Failure::usage(format!("{}: {} is empty", self.place, self.source())).next("put the secret there")
            );
        }
        Ok(SecretString::from(secret))
    }

    fn source(&self) -> String {
        match &self.kind {
            Kind::Environment(name) => format!("the environment variable {name}"),
            Kind::File(path) => format!("the file {}", path.display()),
        }
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
