//! Secrets that a person types or a pipe brings. Never from an argument: those are seen in the list of processes, and shells keep them.

use std::io::{IsTerminal as _, Read as _};

use kinetic_tableau_sync::credentials::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::failure::{Failure, Outcome};

/// More than any secret has.
const LONGEST: usize = 64 * 1024;

/// A value: asked for without echo when standard input is a terminal, else all of standard input but the line break at its end.
pub(crate) fn value(question: &str) -> Outcome<SecretString> {
    if std::io::stdin().is_terminal() {
        return ask(question);
    }
    // With room for one byte more than is allowed, so that it never has to grow and leave a copy behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST + 1));
    let limit = u64::try_from(LONGEST + 1).unwrap_or(u64::MAX);
    std::io::stdin().lock().take(limit).read_to_string(&mut text).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => Failure::usage("standard input is no UTF-8 text")
            .next("give the secret as text; encode binary ones as base64"),
        _ => Failure::new(format!("standard input cannot be read: {error}")).next("pipe the secret in, or type it"),
    })?;
    if text.len() > LONGEST {
        return Err(Failure::usage("standard input is longer than a secret can be")
            .next(format!("a secret has at most {LONGEST} bytes")));
    }
    given(&text)
}

/// Asks on the terminal, wherever standard input comes from.
pub(crate) fn ask(question: &str) -> Outcome<SecretString> {
    let typed = rpassword::prompt_password(question).map_err(|error| {
        // The signal comes as well, and whichever is seen first must say the same.
        if error.kind() == std::io::ErrorKind::Interrupted {
            return Failure::new("interrupted; nothing was changed").next("run it again").into_interrupted();
        }
        Failure::usage(format!("there is no terminal to ask on: {error}")).next(
            "run it on a terminal; where nobody is there to type, use key = { file = \"PATH\" } or passphrase = { env = \"NAME\" } \
             in [secrets]",
        )
    })?;
    given(&Zeroizing::new(typed))
}

/// Asks twice, for what cannot be read again.
pub(crate) fn ask_twice(question: &str) -> Outcome<SecretString> {
    let (first, second) = (ask(question)?, ask("once more: ")?);
    if first.expose_secret() == second.expose_secret() {
        return Ok(first);
    }
    Err(Failure::usage("the two are not the same").next("nothing was changed; run it again"))
}

fn given(text: &str) -> Outcome<SecretString> {
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err(Failure::usage("no secret was given").next("type it, or pipe it in: `… < FILE`"));
    }
    Ok(SecretString::from(text))
}
