//! Where secrets are kept: one small trait, and stores behind it.
//!
//! [`EnvironmentCredentials`] and [`FileCredentials`] read what somebody else has put there. `SealedFile` (feature `sealed`) is a store
//! of our own: one file in the `age` format. A vault of yours is 20 lines:
//!
//! ```
//! use kinetic_tableau_sync::credentials::{CredentialError, CredentialErrorKind, CredentialStore, SecretName, SecretString};
//!
//! #[derive(Debug)]
//! struct Vault;
//!
//! impl Vault {
//!     async fn read(&self, path: &str) -> std::io::Result<Option<String>> {
//!         Ok((path == "kinetic/api-key").then(|| "from the vault".to_owned()))
//!     }
//! }
//!
//! #[async_trait::async_trait]
//! impl CredentialStore for Vault {
//!     async fn get(&self, name: &SecretName) -> Result<Option<SecretString>, CredentialError> {
//!         let found = self.read(&format!("kinetic/{name}")).await;
//!         let found = found.map_err(|error| {
//!             CredentialError::new(CredentialErrorKind::Unreachable, "the vault does not answer").with_cause(error)
//!         })?;
//!         Ok(found.map(SecretString::from))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let name = SecretName::new("api-key").unwrap();
//! assert!(Vault.get(&name).await.unwrap().is_some());
//! # }
//! ```

mod environment;
mod error;
mod files;
mod name;
mod private;
#[cfg(feature = "sealed")]
mod sealed;

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
pub use secrecy::{ExposeSecret, SecretString};

pub use self::environment::EnvironmentCredentials;
pub use self::error::{CredentialError, CredentialErrorKind};
pub use self::files::FileCredentials;
pub use self::name::SecretName;
#[cfg(feature = "sealed")]
pub use self::sealed::{SealKey, SealedFile};

/// Keeps secrets by their names.
///
/// Only [`get`](CredentialStore::get) must be there. What a store does not offer answers
/// [`CredentialErrorKind::Unsupported`], so that a program need not know which store it has been given.
#[async_trait]
pub trait CredentialStore: fmt::Debug + Send + Sync + 'static {
    /// The secret of a name; none when there is none.
    ///
    /// # Errors
    /// When the store cannot be read, or refuses to hand the secret out.
    async fn get(&self, name: &SecretName) -> Result<Option<SecretString>, CredentialError>;

    /// What there is, by name and without any value.
    ///
    /// # Errors
    /// When the store cannot be read, or does not tell what it holds.
    async fn list(&self) -> Result<Vec<SecretEntry>, CredentialError> {
        Err(CredentialError::unsupported("this credential store does not tell what it holds")
            .with_hint("look into it with its own tools"))
    }

    /// Keeps a secret, in the place of an earlier one of that name. Durable when it returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn set(&self, name: &SecretName, value: &SecretString, note: Option<&str>) -> Result<(), CredentialError> {
        let _ = (name, value, note);
        Err(read_only())
    }

    /// Removes a secret. Answers whether it was there.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn remove(&self, name: &SecretName) -> Result<bool, CredentialError> {
        let _ = name;
        Err(read_only())
    }
}

fn read_only() -> CredentialError {
    CredentialError::unsupported("this credential store cannot be written from here")
        .with_hint("change the secret where it is kept, with the tools of that place")
}

/// What is told of a secret: never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretEntry {
    /// Its name.
    pub name: SecretName,
    /// When its value was set, where the store knows.
    pub set_at: Option<DateTime<Utc>>,
    /// When the value before it was set, if it was rotated.
    pub previous_at: Option<DateTime<Utc>>,
    /// What somebody wrote beside it.
    pub note: Option<String>,
}

impl SecretEntry {
    /// A secret of which nothing but the name is known.
    pub fn new(name: SecretName) -> Self {
        Self { name, set_at: None, previous_at: None, note: None }
    }
}

/// A secret of a text, copied once into memory of exactly its size: what grows leaves copies behind.
pub(crate) fn secret_of(text: &str) -> SecretString {
    let mut exact = String::with_capacity(text.len());
    exact.push_str(text);
    SecretString::from(exact)
}
