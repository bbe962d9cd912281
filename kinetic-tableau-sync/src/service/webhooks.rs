//! What Tableau's webhooks tell comes in here.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use tableau_rest::{Received, Receiver, WebhookEvent, WebhookPayload};
use uuid::Uuid;

use crate::adapter::TableauEvents;
use crate::audit::{AuditEntry, AuditEvent, AuditStore};
use crate::clock::{Clock, SystemClock};
use crate::model::{DatasetId, DatasetSpec, RefreshTarget, RunId};
use crate::redact::Redactor;
use crate::store::{StateError, StateStore};

/// Real messages have some hundred bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// Receives what Tableau posts when something has happened, such as the end of a refresh.
///
/// Tableau signs nothing, so the secret is in the address: `POST /hooks/tableau/SECRET`. A wrong one gets 404, as if there were nothing.
/// What is told is not taken for the truth: jobs that wait for the named thing ask Tableau at once. How refreshes of what datasets name
/// have ended goes into the audit trail, whoever began them. Where it cannot be written the answer is 500, and Tableau posts again.
///
/// Messages name no project. With the [`state`](Webhooks::state) of the datasets, what one lands in is told from others of its name by
/// its id; what a dataset refreshes is known by its name alone.
pub struct Webhooks {
    shared: Arc<Shared>,
}

struct Shared {
    receiver: Receiver,
    events: TableauEvents,
    audit: Option<Arc<dyn AuditStore>>,
    state: Option<Arc<dyn StateStore>>,
    datasets: Vec<DatasetSpec>,
    redactor: Redactor,
    clock: Arc<dyn Clock>,
}

impl Webhooks {
    /// Checks with a receiver, and tells those who wait.
    #[must_use]
    pub fn new(receiver: Receiver, events: &TableauEvents) -> Self {
        let (events, clock) = (events.clone(), Arc::new(SystemClock));
        let (datasets, redactor) = (Vec::new(), Redactor::default());
        Self { shared: Arc::new(Shared { receiver, events, audit: None, state: None, datasets, redactor, clock }) }
    }

    /// Notes in a trail how refreshes have ended of what these datasets land in or refresh.
    #[must_use]
    pub fn audit(self, audit: Arc<dyn AuditStore>, datasets: impl IntoIterator<Item = DatasetSpec>) -> Self {
        self.change(|shared| (shared.audit, shared.datasets) = (Some(audit), datasets.into_iter().collect()))
    }

    /// Where it is noted which id each dataset has landed under.
    #[must_use]
    pub fn state(self, state: Arc<dyn StateStore>) -> Self {
        self.change(|shared| shared.state = Some(state))
    }

    /// Keeps known secrets out of the trail.
    #[must_use]
    pub fn redactor(self, redactor: &Redactor) -> Self {
        self.change(|shared| shared.redactor = redactor.clone())
    }

    fn change(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        // Nobody else has it before there is a router.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            change(shared);
        }
        self
    }

    /// The route `/hooks/tableau/{secret}`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/hooks/tableau/{secret}", post(told))
            .layer(DefaultBodyLimit::max(LONGEST_BODY))
            .with_state(self.shared)
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("datasets", &self.shared.datasets.len()).finish_non_exhaustive()
    }
}

async fn told(State(shared): State<Arc<Shared>>, Path(secret): Path<String>, body: Bytes) -> StatusCode {
    let status = match shared.receiver.receive(&secret, &body) {
        Ok(Received::Event(payload)) => {
            shared.events.tell(payload.resource_luid.as_deref());
            if shared.note(&payload).await.is_ok() {
                return StatusCode::OK;
            }
            // Tableau posts it again; then it must not count as a duplicate.
            shared.receiver.forget(&body);
            500
        }
        Ok(Received::Duplicate(_) | Received::Test) => 200,
        Err(refused) => refused.status(),
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)
}

impl Shared {
    /// Notes the end of a refresh for each dataset that it concerns.
    async fn note(&self, payload: &WebhookPayload) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Some(audit) = &self.audit else { return Ok(()) };
        for dataset in &self.datasets {
            if !refreshes(dataset, payload) && !self.lands_in(dataset, payload).await? {
                continue;
            }
            let mut event = AuditEvent::Told {
                what: payload.event.to_string(),
                resource: payload.resource_name.clone(),
                id: payload.resource_luid.clone(),
                at: payload.created_at,
            };
            event.redact(&self.redactor);
            let dataset: DatasetId = dataset.id.clone();
            // No run of ours: an entry by itself.
            let run = RunId::new(format!("webhook-{}", Uuid::new_v4()));
            audit.record(AuditEntry { dataset, run, at: self.clock.now(), event }).await?;
        }
        Ok(())
    }

    /// Whether a message tells of the end of a refresh of what a dataset lands in: by its id where both are known, otherwise by its name.
    async fn lands_in(&self, dataset: &DatasetSpec, payload: &WebhookPayload) -> Result<bool, StateError> {
        if !is_of_datasource(payload) || payload.resource_name.as_ref() != Some(&dataset.target.datasource) {
            return Ok(false);
        }
        let (Some(state), Some(id)) = (&self.state, &payload.resource_luid) else { return Ok(true) };
        let landed = state.load(&dataset.id).await?.and_then(|found| found.checkpoint.landed);
        let known = landed.filter(|landed| landed.target == dataset.target);
        Ok(known.is_none_or(|landed| landed.target_id.eq_ignore_ascii_case(id)))
    }
}

fn is_of_datasource(payload: &WebhookPayload) -> bool {
    matches!(payload.event, WebhookEvent::DatasourceRefreshSucceeded | WebhookEvent::DatasourceRefreshFailed)
}

/// Whether a message tells of the end of a refresh of what a dataset refreshes. Whose id it is was never asked for.
fn refreshes(dataset: &DatasetSpec, payload: &WebhookPayload) -> bool {
    let of_workbook =
        matches!(payload.event, WebhookEvent::WorkbookRefreshSucceeded | WebhookEvent::WorkbookRefreshFailed);
    dataset.refresh.iter().any(|target| match target {
        RefreshTarget::Datasource { name, .. } => {
            is_of_datasource(payload) && payload.resource_name.as_ref() == Some(name)
        }
        RefreshTarget::Workbook { name, .. } => of_workbook && payload.resource_name.as_ref() == Some(name),
        RefreshTarget::Task { .. } => false,
    })
}
