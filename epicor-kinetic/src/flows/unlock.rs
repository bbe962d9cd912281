//! The lock on a group of invoices, given back however the work ends.

use serde_json::json;

use crate::client::Client;
use crate::entity::EntitySet;
use crate::error::Result;

/// Holds a group. Dropped without [`GroupLock::release`], as when the caller drops the future, it unlocks the group in
/// the background.
pub(super) struct GroupLock {
    held: Option<(Client, String)>,
}

impl GroupLock {
    /// Locks a group (`LockAPGroup`).
    pub(super) async fn take(client: &Client, group: &str) -> Result<Self> {
        // Held from here on: when the answer is lost, the group may be locked.
        let lock = Self { held: Some((client.clone(), group.to_owned())) };
        let service = client.service(EntitySet::AP_INVOICE_GROUPS.service());
        match service.read("LockAPGroup", &json!({ "groupID": group, "ds": {} })).await {
            Ok(_) => Ok(lock),
            Err(error) if error.delivery() == crate::Delivery::Unknown => Err(error),
            Err(error) => {
                // It is somebody else's, or there is none: not ours to unlock.
                lock.forget();
                Err(error)
            }
        }
    }

    /// Unlocks the group (`UnlockGroup`).
    pub(super) async fn release(mut self) -> Result<()> {
        let Some((client, group)) = self.held.clone() else { return Ok(()) };
        let unlocked = unlock(&client, &group).await;
        self.held = None;
        unlocked
    }

    fn forget(mut self) {
        self.held = None;
    }
}

impl Drop for GroupLock {
    fn drop(&mut self) {
        let Some((client, group)) = self.held.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Nobody is left to be told; the group can be unlocked in Kinetic.
                let _ = unlock(&client, &group).await;
            });
        }
    }
}

/// Unlocking twice does no harm, so that it is sent again when its answer was lost.
async fn unlock(client: &Client, group: &str) -> Result<()> {
    let service = client.service(EntitySet::AP_INVOICE_GROUPS.service());
    service.read("UnlockGroup", &json!({ "InGroupID": group })).await.map(drop)
}
