//! The end of a walk: an empty page is doubted until the server has shown that it has nothing behind the last row.

use epicor_kinetic::{Literal, Order, field};

use super::{Walk, moment_of};
use crate::source::SourceError;

/// What is behind the last row that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Nothing,
    Rows,
    /// Rows have moved meanwhile, so that it cannot be told.
    Unknown,
}

impl Walk {
    /// Whether the server has rows behind the last one that it does not answer with. It is asked for the very last row, without any
    /// condition of ours, so that neither a filter which it does not understand nor an answer that came out empty by mistake can pass
    /// for the end of the table.
    pub(super) async fn what_is_behind(&mut self) -> Result<Behind, SourceError> {
        let whole = self.bound.is_none() && self.until.is_none();
        if !whole && self.until.is_none() && self.until_stamp.is_none() {
            // Rows by their keys, or without a stamp: that there are none is as likely as not.
            return Ok(Behind::Nothing);
        }
        let mut last = self.unordered.clone().top(1);
        let stamped = self.until_stamp.map_or(0, |(_, seconds)| 1 + usize::from(seconds.is_some()));
        for rank in self.ranks.iter().take(stamped) {
            // The server's databases sort null either way.
            last = last.and_filter(field(rank.name.as_str()).is_not_null());
        }
        let descending =
            self.ranks.iter().fold(last, |query, rank| query.order_by(rank.name.as_str(), Order::Descending));
        let batch = self.pages.decoded(&descending).await?.rows;
        if batch.rows() == 0 {
            // Nothing is read before a row was seen that tells how far to read.
            return Ok(Behind::Rows);
        }
        let newest: Option<Vec<Literal>> =
            self.ranks.iter().map(|rank| rank.literal(batch.column(rank.at)?, 0)).collect();
        if whole {
            return Ok(if newest.is_some() && newest != self.last { Behind::Rows } else { Behind::Nothing });
        }
        if let Some(until) = self.until_stamp {
            // While nothing newer came, the newest row is the last one that was to be read.
            let stamp = self.ranks.first().and_then(|rank| moment_of(batch.column(rank.at)?.text_at(0)?));
            let seconds = until.1.and_then(|_| batch.column(self.ranks.get(1)?.at)?.i64_at(0));
            return Ok(match stamp.map(|stamp| (stamp, seconds)) {
                Some(stamp) if stamp == until && newest != self.last => Behind::Rows,
                Some(stamp) if stamp == until => Behind::Nothing,
                _ => Behind::Unknown,
            });
        }
        // By revision: a row that lies behind the bound has moved since, and comes with the next window.
        let number = self.ranks.first().and_then(|rank| batch.column(rank.at)?.i64_at(0));
        let seen = self.position();
        match number {
            Some(number) if Some(number) > self.until => self.last_within(seen, number).await,
            Some(number) if seen.is_none_or(|seen| number > seen) => Ok(Behind::Rows),
            _ => Ok(Behind::Nothing),
        }
    }

    /// The same where the newest row, `newest`, lies behind this walk: the server is asked for the last row within it.
    async fn last_within(&mut self, seen: Option<i64>, newest: i64) -> Result<Behind, SourceError> {
        let (Some(rank), Some(until)) = (self.ranks.first(), self.until) else { return Ok(Behind::Unknown) };
        let (name, at) = (rank.name.clone(), rank.at);
        let query = self.unordered.clone().top(1).and_filter(field(name.as_str()).le(until));
        let rows = self.pages.decoded(&query.order_by(name, Order::Descending)).await?.rows;
        if rows.rows() == 0 {
            // All of them may have moved. But a row only moves onwards, and so the newest one is found by any filter that works.
            return Ok(match self.first_from(newest, None).await? {
                Some(_) => Behind::Unknown,
                None => Behind::Rows,
            });
        }
        Ok(match rows.column(at).and_then(|column| column.i64_at(0)) {
            Some(last) if seen.is_none_or(|seen| last > seen) => Behind::Rows,
            // The very row that was read last.
            Some(last) if Some(last) == seen => Behind::Nothing,
            _ => Behind::Unknown,
        })
    }
}
