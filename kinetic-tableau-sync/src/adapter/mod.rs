//! The engine's [`Source`](crate::Source) and [`Destination`](crate::Destination) over the two clients, and over a database between
//! them.

#[cfg(feature = "tableau")]
mod events;
#[cfg(feature = "kinetic")]
mod kinetic;
#[cfg(all(feature = "tableau", feature = "parquet"))]
mod parquet;
#[cfg(feature = "tableau")]
mod site;
#[cfg(all(feature = "tableau", any(feature = "hyper", feature = "parquet")))]
mod spool;
#[cfg(feature = "postgres")]
mod staging;
#[cfg(all(feature = "tableau", feature = "hyper"))]
mod tableau;

#[cfg(feature = "tableau")]
pub use self::events::TableauEvents;
#[cfg(feature = "kinetic")]
pub use self::kinetic::{Advice, KineticProcesses, KineticSource};
#[cfg(all(feature = "tableau", feature = "parquet"))]
pub use self::parquet::ParquetDestination;
#[cfg(feature = "tableau")]
pub use self::site::TableauRefresher;
#[cfg(feature = "postgres")]
pub use self::staging::{Deletes, PostgresDestination, StagingOptions};
#[cfg(all(feature = "tableau", feature = "hyper"))]
pub use self::tableau::{HyperOptions, TableauDestination};
