//! The real Kinetic client, whose requests go straight to the simulator, past a source of faults.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use epicor_kinetic::{Transport, TransportError, TransportErrorKind};
use http::{Request, Response};

use super::chaos::{Blow, Chaos, Table};

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) chaos: Chaos,
    pub(crate) worker: usize,
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let target = request.uri().to_string();
        let table = self.chaos.scenario.table();
        let reads = target.contains(table.set) && !target.contains("metadata");
        self.chaos.users_work();
        let took = Duration::from_millis(self.chaos.lock().random.between(5, 400));
        tokio::time::sleep(took).await;
        let name = target.rsplit('/').next().unwrap_or_default().to_owned();
        let blow = self.chaos.effect(self.worker, &name, reads).await;
        if blow == Blow::FailBefore {
            if self.chaos.lock().random.chance(500) {
                return Err(TransportError::new(TransportErrorKind::Connect));
            }
            return Ok(answer(503, Bytes::from_static(b"{\"ErrorMessage\":\"busy\"}")));
        }
        let (head, body) = request.into_parts();
        let response = self.chaos.kinetic.call(Request::from_parts(head, axum::body::Body::from(body))).await;
        let (head, body) = response.into_parts();
        let mut body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        match blow {
            Blow::FailAfter => return Err(TransportError::new(TransportErrorKind::Interrupted)),
            Blow::DieAfter => self.chaos.die(self.worker).await,
            Blow::Cut => {
                let length = self.chaos.lock().random.below(body.len() as u64);
                body.truncate(usize::try_from(length).unwrap());
            }
            _ => {}
        }
        if reads && head.status == 200 && blow != Blow::Cut {
            if self.chaos.is_deaf() {
                body = Bytes::from_static(b"{\"value\":[]}");
            } else if self.chaos.scenario.overlooks && is_listing(&target, table) {
                body = self.overlook(&body);
            }
        }
        let mut inner = self.chaos.lock();
        if let Some(at) = inner.cut_at.filter(|at| reads && *at < body.len()) {
            inner.cuts += 1;
            body.truncate(at);
        }
        Ok(Response::from_parts(head, body))
    }
}

impl Wire {
    /// Leaves out a row of a listing now and then.
    fn overlook(&self, body: &Bytes) -> Bytes {
        let mut page: serde_json::Value = serde_json::from_slice(body).unwrap();
        let mut inner = self.chaos.lock();
        if let Some(rows) = page["value"].as_array_mut()
            && rows.len() > 1
            && !inner.quiet
            && inner.random.chance(100)
        {
            let at = inner.random.below(rows.len() as u64 - 1);
            rows.remove(usize::try_from(at).unwrap());
        }
        Bytes::from(page.to_string())
    }
}

/// Whether keys and versions of everything are asked for.
fn is_listing(target: &str, table: Table) -> bool {
    let one = target.contains("top=1&") || target.ends_with("top=1");
    !target.contains(table.content) && target.contains(table.key) && !one
}

fn answer(status: u16, body: Bytes) -> Response<Bytes> {
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}
