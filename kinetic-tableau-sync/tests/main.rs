//! Integration tests of the crate, in one binary.

#[cfg(test)]
mod engine;
#[cfg(feature = "hyper-install")]
#[cfg(test)]
mod hyper;
#[cfg(all(feature = "sqlite", feature = "test-util"))]
#[cfg(test)]
mod stores;
#[cfg(test)]
mod worker;
