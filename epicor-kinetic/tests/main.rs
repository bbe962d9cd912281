//! Everything through the public surface: against scripted transports, and over real connections where bytes matter.

#[cfg(test)]
mod fake;
#[cfg(test)]
mod table;

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod drafts;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod keyset;
#[cfg(test)]
mod links;
#[cfg(test)]
mod lookup;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod methods;
#[cfg(test)]
mod paging;
#[cfg(test)]
mod retry;

#[cfg(test)]
#[cfg(feature = "reqwest")]
mod connection;
#[cfg(test)]
#[cfg(feature = "reqwest")]
mod identity;
