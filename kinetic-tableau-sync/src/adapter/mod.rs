//! The engine's [`Source`](crate::Source) and [`Destination`](crate::Destination) over the two clients.

#[cfg(feature = "kinetic")]
mod kinetic;
#[cfg(all(feature = "tableau", feature = "hyper"))]
mod tableau;

#[cfg(feature = "kinetic")]
pub use self::kinetic::{Advice, KineticProcesses, KineticSource};
#[cfg(all(feature = "tableau", feature = "hyper"))]
pub use self::tableau::{HyperOptions, TableauDestination};
