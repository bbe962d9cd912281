//! The Kinetic source over a server that is scripted: what it makes of answers that no table in order would give.

mod ranges;
mod script;
mod stamps;
