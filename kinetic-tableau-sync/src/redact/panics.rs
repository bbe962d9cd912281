//! Panics without secrets: a source or destination of one's own may panic with anything in its message.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use super::Redactor;

impl Redactor {
    /// Prints panics of this process from now on without secrets, in the usual form, to standard error. Replaces the hook that is set.
    pub fn hook_panics(&self) {
        let redactor = self.clone();
        std::panic::set_hook(Box::new(move |info| {
            // Nobody is left to tell when standard error is gone.
            let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), redactor.report(info).as_bytes());
        }));
    }

    fn report(&self, info: &PanicHookInfo<'_>) -> String {
        let words = info.payload_as_str().unwrap_or("something that is no text");
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("<unnamed>");
        let trace = Backtrace::capture();
        let trace = match trace.status() {
            BacktraceStatus::Captured => format!("{trace}\n"),
            _ => String::new(),
        };
        // Line breaks stay: it is a text for developers.
        self.clean(&format!("thread '{thread}' panicked at {place}:\n{words}\n{trace}")).into_owned()
    }
}
