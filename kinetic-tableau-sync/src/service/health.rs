//! Whether a worker lives, and whether it can work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::clock::{Clock, SystemClock};
use crate::store::NoteStore;
use crate::worker::workers;

/// Answers probes, as Kubernetes and load balancers send them.
///
/// - `GET /health/live`: 200 as long as the process answers. It does not look at the store: a database that is away is not mended by
///   starting this process anew.
/// - `GET /health/ready`: 200 when the store can be read, and the worker has said within the last three minutes that it is alive; otherwise
///   503. The body is JSON, `{"ready": bool, "why": text}`.
#[derive(Clone, Debug)]
pub struct Health {
    notes: Arc<dyn NoteStore>,
    clock: Arc<dyn Clock>,
    owner: Option<String>,
}

impl Health {
    /// Looks into the store of the worker.
    #[must_use]
    pub fn new(notes: Arc<dyn NoteStore>) -> Self {
        Self { notes, clock: Arc::new(SystemClock), owner: None }
    }

    /// The worker that is looked for, by the name it was built with; any worker unless set.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Takes the time from elsewhere.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Why no work can be done now; none when it can.
    pub async fn trouble(&self) -> Option<String> {
        match workers(&*self.notes, self.clock.now()).await {
            // The words of a database stay inside.
            Err(error) => Some(format!("the store cannot be read ({:?})", error.kind())),
            Ok(alive) => {
                let ours = |name: &str| self.owner.as_ref().is_none_or(|owner| owner == name);
                (!alive.iter().any(|worker| ours(&worker.name)))
                    .then(|| "the worker has not said that it is alive".to_owned())
            }
        }
    }

    /// The routes `/health/live` and `/health/ready`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/health/live", get(async || Self::live()))
            .route("/health/ready", get(ready))
            .with_state(self)
    }

    /// The answer to `/health/live`, for a program that has no store yet.
    pub fn live() -> Json<Value> {
        Json(json!({ "live": true }))
    }

    /// The answer of `/health/ready` while no work can be done, for a program that has no store yet.
    pub fn not_ready(why: &str) -> (StatusCode, Json<Value>) {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "why": why })))
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    match health.trouble().await {
        None => (StatusCode::OK, Json(json!({ "ready": true }))),
        Some(why) => Health::not_ready(&why),
    }
}
