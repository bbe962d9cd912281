//! `.hyper` extracts, written and read by Tableau's own engine `hyperd`.
//!
//! The engine is a program of Tableau's (it comes with the Python package `tableauhyperapi`, Apache-2.0). It is found, never
//! downloaded unasked: see [`EngineLocation::find`]. It speaks the `PostgreSQL` protocol, so that only its start, the binary form of
//! rows and the order of statements are ours.
//!
//! What was observed of `hyperd` 0.0.26963 and shapes this module:
//! - A `COMMIT` is **not durable, a `DETACH` is**: nothing counts as written before the detach has answered.
//! - Its binary `COPY` does not check the range of `NUMERIC`, so the encoder does.
//! - It has no unique keys, so [`ExtractWriter::seal`] counts doubled ones.
//! - A `COMMIT` after an error answers without an error and takes everything back, so the first error ends a write.

mod child;
mod encode;
mod engine;
mod error;
mod extract;
#[cfg(feature = "hyper-install")]
mod install;
mod locate;
mod reader;

pub use self::engine::{Connection, Engine};
pub use self::error::{HyperError, HyperErrorKind};
pub use self::extract::{DELETES, ExtractWriter, FileVersion};
#[cfg(feature = "hyper-install")]
pub use self::install::{ENGINE_VERSION, InstallOptions, find_or_install, install};
pub use self::locate::{EngineLocation, Origin};
pub use self::reader::{ExtractColumn, ExtractReader};

/// A name as an identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
