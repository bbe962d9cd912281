//! Errors without secrets: in their message, their hint, and everything behind them.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use super::Redactor;

/// What an error has as its cause.
pub(crate) type Source = Option<Box<dyn StdError + Send + Sync>>;

impl Redactor {
    /// Cleans the parts of an error. Causes stay what they are where they hold no secret; otherwise their words are kept, cleaned.
    pub(crate) fn clean_error(&self, message: &mut String, hint: Option<&mut String>, cause: &mut Source) {
        self.scrub(message);
        if let Some(hint) = hint {
            self.scrub(hint);
        }
        if let Some(error) = cause.take() {
            let dirty = chain(&*error).any(|error| {
                let (shown, told) = (error.to_string(), format!("{error:?}"));
                [shown, told].iter().any(|text| matches!(self.clean(text), Cow::Owned(_)))
            });
            *cause = Some(if dirty { Box::new(self.words(&*error)) } else { error });
        }
    }

    fn words(&self, error: &(dyn StdError + 'static)) -> Words {
        Words {
            text: self.clean(&error.to_string()).into_owned(),
            source: error.source().map(|source| Box::new(self.words(source))),
        }
    }
}

fn chain<'a>(first: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(first), |error| StdError::source(*error))
}

/// What is left of an error whose words held a secret.
struct Words {
    text: String,
    source: Option<Box<Words>>,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl StdError for Words {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use secrecy::SecretString;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Outer(#[source] io::Error);

    #[test]
    fn every_word_behind_an_error_is_clean_and_what_was_clean_stays_what_it_was() {
        let redactor = Redactor::new();
        redactor.add(&SecretString::from("canary-one"));
        let (mut message, mut hint) = ("canary-one".to_owned(), "ask canary-one".to_owned());
        let mut cause: Source = Some(Box::new(Outer(io::Error::other("inner canary-one"))));
        redactor.clean_error(&mut message, Some(&mut hint), &mut cause);
        let cause = cause.unwrap();
        let texts: Vec<String> = chain(&*cause).map(|error| format!("{error} {error:?}")).collect();
        assert!(!format!("{message} {hint} {texts:?}").contains("canary"), "{texts:?}");
        assert_eq!(texts.len(), 2, "the chain is as long as it was");

        let mut clean: Source = Some(Box::new(Outer(io::Error::other("nothing"))));
        redactor.clean_error(&mut message, None, &mut clean);
        assert!(clean.unwrap().downcast_ref::<Outer>().is_some());
    }
}
