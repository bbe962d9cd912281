//! Stateful simulators of Epicor Kinetic and Tableau, for tests, examples and the demo. They share no code with the clients.

pub mod faults;
pub mod kinetic;
pub mod tableau;
