//! Names of secrets.

use std::fmt;

use super::CredentialError;

/// The longest name.
const LONGEST: usize = 128;

/// The name of a secret: letters and digits of ASCII, `-`, `_` and `.`, the first one a letter or digit. So it can be the name of a file
/// and, with `-` and `.` replaced, of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName(String);

impl SecretName {
    /// A name.
    ///
    /// # Errors
    /// [`Invalid`](super::CredentialErrorKind::Invalid) when it holds other characters, is empty, or is longer than 128. The text is not
    /// repeated: it may be a secret that was put into the wrong place.
    pub fn new(name: impl Into<String>) -> Result<Self, CredentialError> {
        let name = name.into();
        let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        let begins = name.chars().next().is_some_and(|first| first.is_ascii_alphanumeric());
        if begins && name.len() <= LONGEST && name.chars().all(fits) {
            return Ok(Self(name));
        }
        Err(CredentialError::invalid("this is no name of a secret").with_hint(format!(
            "use letters, digits, '-', '_' and '.', beginning with a letter or digit, at most {LONGEST}: for instance \
             kinetic-api-key"
        )))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for SecretName {
    type Err = CredentialError;

    fn from_str(name: &str) -> Result<Self, CredentialError> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_name_and_nothing_else() {
        for good in ["a", "kinetic-api-key", "TABLEAU_PAT", "7.x"] {
            assert_eq!(SecretName::new(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(LONGEST + 1);
        for bad in ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "a\0", "ö", "a\n", &long] {
            let error = SecretName::new(bad).unwrap_err();
            assert!(error.hint().is_some());
            assert!(bad.len() < 4 || !error.to_string().contains(bad), "the text is repeated");
        }
    }
}
