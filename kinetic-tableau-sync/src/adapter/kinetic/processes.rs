//! Batch processes of Epicor, as its task monitor shows them.

use async_trait::async_trait;
use epicor_kinetic::{Client, TaskWatch};

use super::failed;
use crate::source::SourceError;
use crate::worker::BatchProcesses;

/// The task monitor of one Kinetic: processes are named as it describes them (`Post AP Invoices`), or by their program, which has the same
/// name in every language. However a process ends counts as an end: what it wrote before it failed is to be read as well.
#[derive(Clone, Debug)]
pub struct KineticProcesses {
    client: Client,
    system: String,
}

impl KineticProcesses {
    /// Asks with this client, whose user must be allowed to see the tasks of others.
    #[must_use]
    pub fn new(client: Client) -> Self {
        // Tasks are of the whole tenant, whatever the company.
        let system = client.root().to_string();
        Self { client, system }
    }
}

#[async_trait]
impl BatchProcesses for KineticProcesses {
    fn system(&self) -> &str {
        &self.system
    }

    async fn ended(&self, process: &str, seen: Option<&str>) -> Result<(u64, String), SourceError> {
        // A note that a later version has written in another way begins anew: nothing is lost by that but an end in between.
        let known = seen.and_then(|seen| serde_json::from_str::<TaskWatch>(seen).ok());
        let (count, watch) = match known.filter(|watch| watch.process() == process) {
            Some(mut watch) => (watch.ended(&self.client).await.map_err(failed)?.len() as u64, watch),
            None => (0, self.client.tasks().watch(process).await.map_err(failed)?),
        };
        let seen = serde_json::to_string(&watch).unwrap_or_default();
        Ok((count, seen))
    }
}
