//! One module for each command. They end with an exit code, or with a failure that `main` prints.

mod audit;
mod check;
mod control;
mod demo;
mod engine;
mod rejects;
mod report;
mod run;
mod secrets;
mod standing;
mod status;
mod sync;

use crate::args::{Args, Command};
use crate::config::Config;
use crate::failure::{Exit, Outcome};

/// Does what the command line asks for.
pub(crate) async fn run(args: Args) -> Outcome<Exit> {
    let verbose = args.verbose > 0;
    match args.command {
        Command::Demo(options) => Box::pin(demo::run(&options)).await,
        Command::Engine { command } => engine::run(&command).await,
        Command::Check { json } => or_interrupted(check::run(&Config::load(&args.config)?, json, verbose)).await,
        Command::Sync { datasets, full, reconcile, replay, json } => {
            let doing = match (full, reconcile, replay) {
                (true, ..) => sync::Doing::Full,
                (_, true, _) => sync::Doing::Reconcile,
                (.., true) => sync::Doing::Replay,
                _ => sync::Doing::Cycle,
            };
            sync::run(&Config::load(&args.config)?, &datasets, doing, json, verbose).await
        }
        Command::Run => run::run(&Config::load(&args.config)?, verbose).await,
        Command::Pause(options) => control::pause(&Config::load(&args.config)?, &options).await,
        Command::Resume { datasets } => control::resume(&Config::load(&args.config)?, &datasets).await,
        Command::Trigger(options) => control::trigger(&Config::load(&args.config)?, &options).await,
        Command::Status { json } => status::run(&Config::load(&args.config)?, json).await,
        Command::Rejects { datasets, json } => rejects::run(&Config::load(&args.config)?, &datasets, json).await,
        Command::Secrets { command } => {
            or_interrupted(secrets::run(&Config::load_secrets(&args.config)?, command)).await
        }
        Command::Report(options) => or_interrupted(report::run(&Config::load(&args.config)?, &options)).await,
        Command::Audit(options) => audit::run(&Config::load(&args.config)?, &options).await,
    }
}

/// How long a command takes its leave when it is interrupted.
const PARTING: std::time::Duration = std::time::Duration::from_secs(5);

/// Gives up when the operator does. What a command has done so far stands, and its next start continues from there.
async fn or_interrupted(command: impl Future<Output = Outcome<Exit>>) -> Outcome<Exit> {
    tokio::select! {
        outcome = command => outcome,
        () = interrupted() => Ok(Exit::Interrupted),
    }
}

/// Waits for Ctrl-C or a request to terminate.
async fn interrupted() {
    signalled().await;
}

/// Who wants the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// A person, by Ctrl-C.
    Interrupt,
    /// What supervises the process, such as systemd, or the shutdown of the machine.
    Terminate,
}

/// Waits for a signal that is to end the process.
async fn signalled() -> Signal {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Signal::Interrupt,
                _ = terminate.recv() => return Signal::Terminate,
            }
        }
    }
    let _ = tokio::signal::ctrl_c().await;
    Signal::Interrupt
}
