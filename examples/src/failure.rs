//! A failure as the operator sees it: one line that says what is wrong, one that says what to do next, and an exit code.

use std::error::Error as StdError;
use std::fmt::Write as _;

/// What `main` ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Done,
    /// Something failed.
    Failed,
    /// The command line or the configuration cannot work.
    Usage,
    /// Ctrl-C or a termination signal.
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Interrupted => 130,
        }
    }
}

/// A failure that ends a command.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    message: String,
    next: Option<String>,
    causes: Vec<String>,
    exit: Exit,
    /// Credentials were refused: the same ones are not offered again and again, since that locks accounts. Or something else that does not
    /// mend itself.
    refused: bool,
    /// Another process is at it, so that nothing is wrong.
    busy: bool,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Failure {}

/// What a command answers.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// Something failed at run time.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            next: None,
            causes: Vec::new(),
            exit: Exit::Failed,
            refused: false,
            busy: false,
        }
    }

    /// The command line or the configuration cannot work.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// The failure of a component, whose own words are the message.
    pub(crate) fn of(error: &(dyn StdError + 'static), next: Option<&str>) -> Self {
        let mut failure = Self::new(error.to_string());
        failure.next = next.map(str::to_owned);
        let mut cause = error.source();
        while let Some(error) = cause {
            failure.causes.push(error.to_string());
            cause = error.source();
        }
        failure
    }

    /// What to do next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Says in front where it happened.
    pub(crate) fn within(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// What to do about a database that cannot be connected to, its own words know better: they end with it, and it is not said twice.
    fn with_own_hint(mut self) -> Self {
        let own = self.message.rsplit_once("; ").filter(|(why, _)| why.starts_with("cannot connect to Postgres at "));
        if let Some((why, next)) = own {
            (self.next, self.message) = (Some(next.to_owned()), why.to_owned());
        }
        self
    }

    /// Marks it as one of the configuration.
    pub(crate) fn into_usage(mut self) -> Self {
        self.exit = Exit::Usage;
        self
    }

    /// Marks it as the work of another process.
    pub(crate) fn into_busy(mut self) -> Self {
        self.busy = true;
        self
    }

    /// Whether another process is at it.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Marks it as the operator's own wish.
    pub(crate) fn into_interrupted(mut self) -> Self {
        self.exit = Exit::Interrupted;
        self
    }

    /// Whether trying again could help.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(self.exit, Exit::Usage | Exit::Interrupted) && !self.refused
    }

    /// Whether credentials were refused, or something else that does not mend itself.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// What lies behind it, the nearest first.
    pub(crate) fn causes(&self) -> impl Iterator<Item = String> {
        self.causes.iter().map(|cause| one_line(cause))
    }

    /// The lines for the terminal. The causes are for those who ask (`--verbose`): the message stands on its own.
    pub(crate) fn render(&self, verbose: bool) -> String {
        let mut text = format!("error: {}\n", one_line(&self.message));
        if let Some(next) = &self.next {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  next: {}", one_line(next));
        }
        if verbose {
            for cause in self.causes() {
                let _ = writeln!(text, "  because: {cause}");
            }
        }
        text
    }
}

/// A server's words may hold line breaks; the operator gets one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The clients' own words end with the hint, which gets a line of its own here.
fn client_message(operation: &str, message: &str, attempts: u32) -> String {
    match attempts {
        0 | 1 => format!("{operation}: {message}"),
        _ => format!("{operation}: {message} after {attempts} attempts"),
    }
}

impl From<kinetic_tableau_sync::SyncError> for Failure {
    fn from(error: kinetic_tableau_sync::SyncError) -> Self {
        Self::of(&error, error.hint())
    }
}

impl From<kinetic_tableau_sync::SourceError> for Failure {
    fn from(error: kinetic_tableau_sync::SourceError) -> Self {
        Self::of(&error, error.hint())
    }
}

impl From<kinetic_tableau_sync::DestinationError> for Failure {
    fn from(error: kinetic_tableau_sync::DestinationError) -> Self {
        Self::of(&error, error.hint())
    }
}

impl From<kinetic_tableau_sync::StateError> for Failure {
    fn from(error: kinetic_tableau_sync::StateError) -> Self {
        let hint = match error.kind() {
            kinetic_tableau_sync::StateErrorKind::Leased => "wait until the other process has finished, or stop it",
            kinetic_tableau_sync::StateErrorKind::Unavailable => {
                "check that the database server of `[state] store` runs, and that this machine may connect to it"
            }
            kinetic_tableau_sync::StateErrorKind::Absent => "run a sync first: it makes what is missing",
            _ => {
                "check that the file of `[state] store` exists, is readable and has space around it; or the rights in its database"
            }
        };
        // A database that refuses us, or a file that cannot be opened, is no passing trouble.
        let refused = error.kind() == kinetic_tableau_sync::StateErrorKind::Storage;
        Self { refused, ..Self::of(&error, Some(hint)).with_own_hint() }
    }
}

impl From<kinetic_tableau_sync::AuditError> for Failure {
    fn from(error: kinetic_tableau_sync::AuditError) -> Self {
        Self::of(&error, Some("check that the file of `[state] store` exists, is readable and has space around it"))
            .with_own_hint()
    }
}

impl From<epicor_kinetic::Error> for Failure {
    fn from(error: epicor_kinetic::Error) -> Self {
        let mut message = client_message(error.operation(), error.message(), error.attempts());
        // Why a business rule refuses only the server knows. The client has taken the secrets out of its words.
        let words = error.service_error().filter(|_| error.kind() == epicor_kinetic::ErrorKind::Rejected);
        if let Some(line) = words.and_then(|said| said.message.lines().next()) {
            let line: String = line.chars().take(200).collect();
            message = format!("{message}; the server says: {line}");
            return Self {
                message,
                ..Self::of(&error, Some("check `company`, the filters and the rights of the user"))
            };
        }
        let refused = error.kind() == epicor_kinetic::ErrorKind::Auth;
        Self { message, refused, ..Self::of(&error, error.hint()) }
    }
}

impl From<tableau_rest::Error> for Failure {
    fn from(error: tableau_rest::Error) -> Self {
        Self {
            message: client_message(error.operation(), error.message(), error.attempts()),
            refused: error.kind() == tableau_rest::ErrorKind::Auth,
            ..Self::of(&error, error.hint())
        }
    }
}

impl From<kinetic_tableau_sync::hyper::HyperError> for Failure {
    fn from(error: kinetic_tableau_sync::hyper::HyperError) -> Self {
        Self::of(&error, error.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer words")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_failure_is_one_line_and_one_hint_whatever_the_server_said() {
        let text = Failure::new("refused:\r\n  no\tway").next("ask\nagain").render(false);
        assert_eq!(text, "error: refused: no way\n  next: ask again\n");
    }

    #[test]
    fn causes_are_shown_only_when_asked_for() {
        let inner = std::io::Error::other("inner words");
        let failure = Failure::of(&Outer(inner), None);
        assert_eq!(failure.render(false), "error: outer words\n");
        assert_eq!(failure.render(true), "error: outer words\n  because: inner words\n");
    }
}
