//! What Tableau's webhooks tell, for those who wait for the ends of jobs.

use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use tokio::sync::broadcast;

/// How many messages a waiting job may be behind. One that is further behind asks once, and goes on.
const BEHIND: usize = 256;

/// Carries what webhooks tell to the jobs that wait for it. Clones share it.
///
/// A message is never taken for the truth: whoever waits for a job of the thing that it names asks Tableau at once instead of at the next
/// turn. So a message that is lost, late, doubled or forged does no harm.
#[derive(Clone, Debug)]
pub struct TableauEvents {
    heard: broadcast::Sender<Option<String>>,
}

impl TableauEvents {
    /// Nobody tells or waits yet.
    #[must_use]
    pub fn new() -> Self {
        Self { heard: broadcast::Sender::new(BEHIND) }
    }

    /// Something happened to a datasource or workbook with this id; without one, to any of them.
    pub fn tell(&self, id: Option<&str>) {
        // Nobody waits: then nobody has to know.
        let _ = self.heard.send(id.map(str::to_owned));
    }

    /// Yields whenever something may have happened to this thing; to anything when its id is not known.
    pub(crate) fn of(&self, id: Option<&str>) -> BoxStream<'static, ()> {
        let id = id.map(str::to_owned);
        let heard = stream::unfold(self.heard.subscribe(), |mut heard| async {
            match heard.recv().await {
                Ok(told) => Some((told, heard)),
                // Some were missed: any of them may have been ours.
                Err(broadcast::error::RecvError::Lagged(_)) => Some((None, heard)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        let concerns = move |told: &Option<String>| std::future::ready(told.is_none() || id.is_none() || *told == id);
        heard.filter(concerns).map(|_| ()).boxed()
    }
}

impl Default for TableauEvents {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn only_what_may_concern_a_thing_is_told_to_those_who_wait_for_it() {
        let events = TableauEvents::new();
        events.tell(Some("a"));
        let mut a = events.of(Some("a"));
        assert_eq!(a.next().now_or_never(), None, "what was told before was seen by asking");
        events.tell(Some("b"));
        assert_eq!(a.next().now_or_never(), None);
        events.tell(Some("a"));
        assert_eq!(a.next().now_or_never(), Some(Some(())));
        events.tell(None);
        assert_eq!(a.next().now_or_never(), Some(Some(())));
        for _ in 0..2 * BEHIND {
            events.tell(Some("b"));
        }
        assert_eq!(a.next().now_or_never(), Some(Some(())), "one that is behind asks to be sure");
    }
}
