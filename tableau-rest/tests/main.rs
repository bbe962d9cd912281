//! Everything through the public surface: over real connections, and against a scripted transport.

#[cfg(test)]
mod scripted;

#[cfg(test)]
#[cfg(feature = "reqwest")]
mod connection;
#[cfg(test)]
#[cfg(feature = "reqwest")]
mod data;
#[cfg(test)]
#[cfg(feature = "reqwest")]
mod listing;
#[cfg(test)]
#[cfg(feature = "reqwest")]
mod server;
#[cfg(test)]
#[cfg(feature = "reqwest")]
mod session;
#[cfg(test)]
#[cfg(feature = "reqwest")]
mod upload;
