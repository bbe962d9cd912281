//! Rejected rows of a dataset, by what is wrong with them.

use kinetic_tableau_sync::{DatasetId, Reject};

use crate::commands::standing::Stores;
use crate::failure::{Outcome, one_line};

/// Rows that are read at once.
const PAGE: usize = 500;

/// After so many rows no more are looked at.
const MOST: usize = 20_000;

/// So many reasons are told apart.
const KEPT: usize = 40;

/// Rejected rows.
#[derive(Debug, Default)]
pub(in super::super) struct Rejected {
    /// Those with most rows first.
    pub(in super::super) groups: Vec<RejectGroup>,
    /// Rows that were looked at, of all that the dataset has.
    pub(in super::super) looked_at: u64,
    /// Rows whose reasons are not shown.
    pub(in super::super) others: u64,
}

/// Rows with the same reason.
#[derive(Debug)]
pub(in super::super) struct RejectGroup {
    pub(in super::super) column: String,
    pub(in super::super) reason: String,
    pub(in super::super) hint: Option<String>,
    pub(in super::super) count: u64,
    /// Key of one of them.
    pub(in super::super) example: String,
}

/// Reads them page by page.
pub(super) async fn gather(stores: &Stores, id: &DatasetId) -> Outcome<Rejected> {
    let mut rejected = Rejected::default();
    let (mut after, mut read): (Option<String>, usize) = (None, 0);
    while read < MOST {
        let page = stores.rejects.rejects(id, after.as_deref(), PAGE).await?;
        read += page.len();
        for reject in &page {
            rejected.add(reject);
        }
        after = page.last().map(|reject| reject.key.clone());
        if page.len() < PAGE {
            break;
        }
    }
    rejected.groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(rejected)
}

impl Rejected {
    fn add(&mut self, reject: &Reject) {
        self.looked_at += 1;
        let reason = one_line(&reject.reason);
        let is_full = self.groups.len() >= KEPT;
        let same = self.groups.iter_mut().find(|group| group.column == reject.column && group.reason == reason);
        match same {
            Some(group) => group.count += 1,
            None if is_full => self.others += 1,
            None => self.groups.push(RejectGroup {
                column: reject.column.clone(),
                reason,
                hint: reject.hint.as_deref().map(one_line),
                count: 1,
                example: reject.key.clone(),
            }),
        }
    }
}
