//! Reading ahead: the next pages are fetched while the caller works on the ones before.

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Ends the reading when the stream is dropped.
struct Reader(JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The same stream, read up to `ahead` items before they are asked for. Outside of a tokio runtime, and for 0, nothing
/// is read ahead.
pub(super) fn read_ahead<T: Send + 'static>(mut source: BoxStream<'static, T>, ahead: usize) -> BoxStream<'static, T> {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return source };
    if ahead == 0 {
        return source;
    }
    // One item more is held by the task that waits for room.
    let (sender, receiver) = mpsc::channel((ahead - 1).max(1));
    let reader = Reader(runtime.spawn(async move {
        while let Some(item) = source.next().await {
            if sender.send(item).await.is_err() {
                return;
            }
        }
    }));
    let items = stream::unfold((receiver, reader), |(mut receiver, reader)| async move {
        receiver.recv().await.map(|item| (item, (receiver, reader)))
    });
    items.boxed()
}
