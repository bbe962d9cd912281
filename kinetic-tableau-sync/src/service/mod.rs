//! A small web service for workers: what Tableau's webhooks tell comes in, and whether the worker is well can be asked.
//!
//! Both are routers of `axum`, for a service of your own:
//!
//! ```no_run
//! # async fn example(store: std::sync::Arc<kinetic_tableau_sync::store::MemoryStore>, secret: &str)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use kinetic_tableau_sync::TableauEvents;
//! use kinetic_tableau_sync::service::{Health, Webhooks};
//!
//! let events = TableauEvents::new(); // also handed to `TableauDestination::events`
//! let receiver = tableau_rest::Receiver::new(secret)?;
//! let app = Webhooks::new(receiver, &events).router().merge(Health::new(store).router());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8700").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```

mod health;
mod webhooks;

pub use self::health::Health;
pub use self::webhooks::Webhooks;
