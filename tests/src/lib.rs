//! Stateful simulators of Epicor Kinetic and Tableau, for tests, examples and the demo. They share no code with the clients. And a real
//! Postgres server for tests.

pub mod faults;
pub mod kinetic;
pub mod postgres;
pub mod tableau;
