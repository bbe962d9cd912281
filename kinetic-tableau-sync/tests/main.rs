//! Integration tests of the crate, in one binary.

mod engine;
#[cfg(feature = "hyper-install")]
mod hyper;
#[cfg(all(feature = "sqlite", feature = "test-util"))]
mod stores;
