//! Values as Kinetic writes them: exact decimals, and dates whose zone nobody has written down.

mod decimal;
mod time;

pub use decimal::Decimal;
pub use time::ServerTime;
