//! The engine's [`Source`](crate::Source) and [`Destination`](crate::Destination) over the two clients.

#[cfg(any(feature = "axum", all(feature = "tableau", feature = "hyper")))]
mod events;
#[cfg(feature = "kinetic")]
mod kinetic;
#[cfg(all(feature = "tableau", feature = "hyper"))]
mod tableau;

#[cfg(any(feature = "axum", all(feature = "tableau", feature = "hyper")))]
pub use self::events::TableauEvents;
#[cfg(feature = "kinetic")]
pub use self::kinetic::{Advice, KineticProcesses, KineticSource};
#[cfg(all(feature = "tableau", feature = "hyper"))]
pub use self::tableau::{HyperOptions, TableauDestination};
