//! Against a transport that answers from a closure: lost answers, clocks that are turned ahead, and tables of all there is.

mod fake;

mod decoding;
mod errors;
mod jobs;
mod projects;
mod publish;
mod refresh;
mod retry;
mod secrets;
mod session;
mod shapes;
mod update;
mod version;
