//! No secret in anything that leaves a process: each secret is a canary, every way of failing is driven, and everything that was written
//! anywhere is searched for every canary in every spelling.
//!
//! A search that finds nothing proves nothing unless it would have found something: so each kind of place is searched once with redaction
//! switched off, or with the same words where nobody said that they are secret.

mod canaries;
mod children;
mod commands;
mod library;
mod own;
mod panics;
mod program;
mod servers;
mod world;
