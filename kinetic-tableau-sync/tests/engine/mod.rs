//! The engine over a source and a destination in memory, which can be made to fail at any effect.

mod crash;
mod cycle;
mod faulty;
mod lease;
mod mapping;
mod reason;
mod reconcile;
#[cfg(all(feature = "tracing", feature = "metrics"))]
mod telemetry;
mod world;
