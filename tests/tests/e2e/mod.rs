//! The whole way: a simulated Kinetic, the crates, Tableau's own engine, a simulated Tableau; what has landed is read back and
//! compared cell by cell.

mod advice;
pub(crate) mod copies;
mod cycle;
mod errors;
mod faults;
mod lines;
mod parquet;
mod reconcile;
pub(crate) mod support;
mod vendor;
