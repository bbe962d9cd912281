//! Reading runs in a task of its own, so that decoding overlaps staging.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::batch::Batch;
use crate::mapping::Mapper;
use crate::model::{DatasetSpec, Schema};
use crate::source::{Source, SourceError, SourceErrorKind, Window};

/// Batches that may wait between reader and stager: enough to keep both busy, few enough to keep memory flat.
const AHEAD: usize = 2;

/// What is to be read.
#[derive(Debug)]
pub(super) enum What {
    /// A range of the source's order.
    Window(Window),
    /// The rows of these keys.
    Keys(Batch),
}

/// A reader of one window. Dropping it stops the reading.
#[derive(Debug)]
pub(super) struct Reader {
    batches: mpsc::Receiver<Result<Batch, SourceError>>,
    task: JoinHandle<()>,
    finished: bool,
}

impl Reader {
    /// Reads the columns of `schema`, and maps them where there is a mapper.
    pub(super) fn start(
        source: Arc<dyn Source>,
        dataset: DatasetSpec,
        schema: Arc<Schema>,
        mapper: Option<Arc<Mapper>>,
        what: What,
    ) -> Self {
        let (sender, batches) = mpsc::channel(AHEAD);
        let task = tokio::spawn(async move {
            let mut stream = match what {
                What::Window(window) => source.read(&dataset, schema, window),
                What::Keys(keys) => source.fetch(&dataset, schema, keys),
            };
            while let Some(batch) = stream.next().await {
                let batch = match &mapper {
                    Some(mapper) => batch.and_then(|batch| {
                        let applied = mapper.apply(batch);
                        applied.map_err(|full| SourceError::new(SourceErrorKind::Decode, full.to_string()))
                    }),
                    None => batch,
                };
                let failed = batch.is_err();
                if sender.send(batch).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { batches, task, finished: false }
    }

    /// The next batch; none at the end of the window.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, SourceError> {
        if self.finished {
            return Ok(None);
        }
        match self.batches.recv().await {
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(error)) => {
                self.finished = true;
                Err(error)
            }
            None => {
                self.finished = true;
                // The channel also closes when the task panicked: that must not look like the end of the window.
                match (&mut self.task).await {
                    Ok(()) => Ok(None),
                    Err(error) => {
                        Err(SourceError::new(SourceErrorKind::Other, "the reader stopped unexpectedly")
                            .with_cause(error))
                    }
                }
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
