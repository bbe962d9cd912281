//! `kinetic-tableau`: Epicor Kinetic ERP rows in Tableau extracts, with no row lost, none doubled, and proof of it.
//!
//! A thin binary over the library `kinetic-tableau-sync`: it reads one configuration file, builds both clients and runs.

mod args;
mod commands;
mod config;
mod connect;
mod deliver;
mod failure;
mod output;
mod secrets;
mod service;
mod store;
mod terminal;
mod tokens;
mod unconnected;
mod visible;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;
use crate::failure::{Exit, Failure};

fn main() -> ExitCode {
    let args = Args::parse();
    let verbose = args.verbose > 0;
    start_logging(args.verbose);
    output::redactor().hook_panics();
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(commands::run(args));
            // A blocking call that hangs must not keep the process alive after the outcome is known.
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            outcome
        }
        Err(error) => Err(Failure::new(format!("the runtime does not start: {error}"))),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        output::complain(&failure, verbose);
        failure.exit()
    });
    ExitCode::from(Exit::code(exit))
}

/// Logs go to standard error, and only when asked for: by `--verbose`, or by `RUST_LOG`.
fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "info",
        _ => "debug",
    };
    // Only our own crates: what others log about headers and bodies is not ours to vouch for.
    let default = ["kinetic_tableau", "kinetic_tableau_sync", "epicor_kinetic", "tableau_rest"]
        .map(|name| format!("{name}={level}"))
        .join(",");
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    // Colours are escape sequences, which could not be told from those in what is logged.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    log.with_writer(|| output::Clean(std::io::stderr())).init();
}
