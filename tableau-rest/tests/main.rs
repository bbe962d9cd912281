//! Everything through the public surface, over real connections.

#[cfg(test)]
mod data;
#[cfg(test)]
mod listing;
#[cfg(test)]
mod server;
#[cfg(test)]
mod session;
#[cfg(test)]
mod upload;
