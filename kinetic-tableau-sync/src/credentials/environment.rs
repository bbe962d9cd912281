//! Secrets in variables of the environment.

use std::collections::BTreeMap;
use std::env::VarError;

use async_trait::async_trait;

use super::{CredentialError, CredentialStore, SecretEntry, SecretName, SecretString, secret_of};

/// Reads variables of the environment: the secret `kinetic-api-key` is the variable `KINETIC_API_KEY`, behind the prefix if there is one.
#[derive(Clone, Debug, Default)]
pub struct EnvironmentCredentials {
    prefix: String,
    named: BTreeMap<SecretName, String>,
}

impl EnvironmentCredentials {
    /// Without a prefix.
    pub fn new() -> Self {
        Self::default()
    }

    /// What stands before every variable that is not named by [`name`](EnvironmentCredentials::name), such as `KT_`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Takes one secret from a variable of another name.
    #[must_use]
    pub fn name(mut self, name: SecretName, variable: impl Into<String>) -> Self {
        self.named.insert(name, variable.into());
        self
    }

    /// The variable that a secret is taken from.
    pub fn variable(&self, name: &SecretName) -> String {
        if let Some(variable) = self.named.get(name) {
            return variable.clone();
        }
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
        self.prefix.chars().chain(name.as_str().chars().map(plain)).collect()
    }
}

#[async_trait]
impl CredentialStore for EnvironmentCredentials {
    async fn get(&self, name: &SecretName) -> Result<Option<SecretString>, CredentialError> {
        let variable = self.variable(name);
        match std::env::var(&variable) {
            Ok(value) if value.trim().is_empty() => {
                Err(CredentialError::invalid(format!("the environment variable {variable} is empty"))
                    .with_hint("put the secret there"))
            }
            Ok(value) => Ok(Some(secret_of(&value))),
            Err(VarError::NotPresent) => Ok(None),
            // The error holds the value.
            Err(VarError::NotUnicode(_)) => {
                Err(CredentialError::invalid(format!("the environment variable {variable} is no text"))
                    .with_hint(format!("set {variable} again, as UTF-8")))
            }
        }
    }

    /// The variables with a name of their own that are set, and those behind the prefix, if there is one.
    async fn list(&self) -> Result<Vec<SecretEntry>, CredentialError> {
        let mut names: Vec<SecretName> = self
            .named
            .iter()
            .filter(|(_, variable)| std::env::var_os(variable).is_some())
            .map(|(name, _)| name.clone())
            .collect();
        if !self.prefix.is_empty() {
            let variables = std::env::vars_os().filter_map(|(variable, _)| variable.into_string().ok());
            let behind = variables.filter_map(|variable| {
                let name = variable.strip_prefix(&self.prefix)?;
                SecretName::new(name.to_ascii_lowercase()).ok().filter(|name| self.variable(name) == variable)
            });
            names.extend(behind);
        }
        names.sort();
        names.dedup();
        Ok(names.into_iter().map(SecretEntry::new).collect())
    }

    async fn set(&self, name: &SecretName, _: &SecretString, _: Option<&str>) -> Result<(), CredentialError> {
        let variable = self.variable(name);
        Err(CredentialError::unsupported("the environment cannot be changed from here")
            .with_hint(format!("set the variable {variable} where this process is started")))
    }

    async fn remove(&self, name: &SecretName) -> Result<bool, CredentialError> {
        let variable = self.variable(name);
        Err(CredentialError::unsupported("the environment cannot be changed from here")
            .with_hint(format!("unset the variable {variable} where this process is started")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CredentialErrorKind, ExposeSecret as _};
    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::new(text).unwrap()
    }

    #[tokio::test]
    async fn a_name_becomes_a_variable_behind_the_prefix() {
        let store = EnvironmentCredentials::new().prefix("KT_").name(name("home"), "CARGO_MANIFEST_DIR");
        assert_eq!(store.variable(&name("kinetic-api.key")), "KT_KINETIC_API_KEY");
        assert_eq!(store.variable(&name("home")), "CARGO_MANIFEST_DIR");
        assert_eq!(store.get(&name("never-set-7f3a")).await.unwrap().map(|_| ()), None);
        let found = store.get(&name("home")).await.unwrap().unwrap();
        assert_eq!(found.expose_secret(), env!("CARGO_MANIFEST_DIR"));
        assert!(!format!("{store:?} {found:?}").contains(env!("CARGO_MANIFEST_DIR")));
    }

    #[tokio::test]
    async fn what_is_set_is_listed_under_names_that_find_it_again() {
        // Cargo sets variables with this prefix for every test.
        let store = EnvironmentCredentials::new().prefix("CARGO_PKG_");
        let listed = store.list().await.unwrap();
        let version = listed.iter().find(|entry| entry.name.as_str() == "version").unwrap();
        assert_eq!(store.get(&version.name).await.unwrap().unwrap().expose_secret(), env!("CARGO_PKG_VERSION"));
    }

    #[tokio::test]
    async fn it_says_that_it_cannot_be_written_and_what_to_do() {
        let store = EnvironmentCredentials::new();
        let set = store.set(&name("a-b"), &SecretString::from("x"), None).await.unwrap_err();
        let removed = store.remove(&name("a-b")).await.unwrap_err();
        for error in [set, removed] {
            assert_eq!(error.kind(), CredentialErrorKind::Unsupported);
            assert!(error.hint().unwrap().contains("A_B"));
        }
    }
}
