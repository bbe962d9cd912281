//! The remedies against lost, doubled and stale rows, by name: so that a test can leave one out and show that it is needed.
//!
//! In a normal build all of them are always on. With the feature `test-util`, [`SyncerBuilder::without`](crate::SyncerBuilder::without)
//! and `KineticSource::without` leave one out. `docs/hazards.md` tells what each is for.

/// One remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(not(feature = "test-util"), allow(dead_code, unreachable_pub, reason = "only tests name all of them"))]
#[non_exhaustive]
pub enum Remedy {
    /// What lies a little behind the checkpoint is read again, for writes that became visible late.
    Overlap,
    /// The lower bound of a stamp is inclusive, for several writes with one stamp.
    InclusiveBound,
    /// Pages begin behind the last row of the one before, not at a number of rows.
    Keyset,
    /// A page shorter than asked for is not the end.
    ShortPages,
    /// The load is noted before it is published.
    IntentFirst,
    /// The checkpoint moves only behind the receipt.
    CheckpointLast,
    /// A publish is repeated under the same request id.
    RequestId,
    /// A row is deleted only when it is not found by its key either.
    SecondSighting,
    /// A run removes a small part of the rows at most.
    DeleteLimit,
    /// A database that was put back to an older state is noticed.
    RestoreCheck,
    /// A target that somebody else has written to is loaded anew.
    TargetCheck,
}

/// Which remedies are on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Remedies {
    #[cfg(feature = "test-util")]
    off: Option<Remedy>,
}

impl Remedies {
    #[cfg(feature = "test-util")]
    pub(crate) fn without(remedy: Remedy) -> Self {
        Self { off: Some(remedy) }
    }

    /// Whether a remedy is on.
    #[cfg(feature = "test-util")]
    pub(crate) fn has(self, remedy: Remedy) -> bool {
        self.off != Some(remedy)
    }

    /// Whether a remedy is on: always.
    #[cfg(not(feature = "test-util"))]
    #[allow(clippy::unused_self, reason = "as with the feature")]
    pub(crate) fn has(self, _: Remedy) -> bool {
        true
    }
}
