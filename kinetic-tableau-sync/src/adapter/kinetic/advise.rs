//! How the changes of a dataset can be found: asked of the server, and explained.

use std::collections::HashMap;

use epicor_kinetic::{EdmType, EntityType, Order, field};
use serde_json::Value;

use super::stamp::Stamp;
use super::{KineticSource, failed, schema};
use crate::model::{DatasetSpec, Resolution, SourceObject, Track};
use crate::source::SourceError;

/// Rows that are looked at to tell how fine a stamp is.
const SAMPLE: u64 = 50;

/// What a probe found out about a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advice {
    /// How changes are best found.
    pub track: Track,
    /// Why, one sentence each, in the order in which it was found out.
    pub reasons: Vec<String>,
}

impl KineticSource {
    /// Finds out how the changes of a dataset are best found: by its row version where the server orders and filters by it, else by a
    /// stamp of the last change, else by comparing all rows. What the dataset itself says of it does not count. Reads the metadata
    /// and a few rows.
    ///
    /// # Errors
    /// When the source cannot be reached or refuses, or has no such set.
    pub async fn advise(&self, dataset: &DatasetSpec) -> Result<Advice, SourceError> {
        let (metadata, set) = self.metadata(dataset).await?;
        let entity = schema::entity(dataset, &metadata, set)?;
        let mut reasons = Vec::new();
        if let SourceObject::Lines { navigation, .. } = &dataset.source {
            reasons.push(format!("a change of {navigation} need not touch the header that it is read with"));
            return Ok(Advice { track: Track::Snapshot, reasons });
        }
        let revision = entity.property("SysRevID").is_some_and(|property| property.edm_type == EdmType::Int64);
        if revision && self.orders_by_revision(dataset, &mut reasons).await? {
            return Ok(Advice { track: Track::revision(), reasons });
        }
        if !revision {
            reasons.push("there is no SysRevID".to_owned());
        }
        for column in stamps(entity) {
            if let Some(resolution) = self.resolution_of(dataset, &column, &mut reasons).await? {
                let seconds = (resolution == Resolution::Day).then(|| seconds_beside(entity, &column)).flatten();
                let track = match seconds {
                    Some(seconds) => {
                        reasons.push(format!("{seconds} beside it holds the second of the day"));
                        Track::date_and_time(column, seconds)
                    }
                    None => Track::timestamp(column, resolution),
                };
                return Ok(Advice { track, reasons });
            }
        }
        reasons.push("no column tells of changes, so that all rows are compared each time".to_owned());
        Ok(Advice { track: Track::Snapshot, reasons })
    }

    /// Whether the newest row is found again by its row version.
    async fn orders_by_revision(&self, dataset: &DatasetSpec, reasons: &mut Vec<String>) -> Result<bool, SourceError> {
        let spec = DatasetSpec { track: Track::revision(), ..dataset.clone() };
        let Some(newest) = self.newest(&spec).await? else {
            reasons.push(
                "SysRevID is a row version that every write moves; there is no row yet to try it with".to_owned(),
            );
            return Ok(true);
        };
        let number = super::revision_of(&spec, &newest)?;
        let query = self.query(&spec)?.select(["SysRevID"]).top(1);
        let query = query.and_filter(field("SysRevID").ge(number)).order_by("SysRevID", Order::Ascending);
        let found = query.send::<HashMap<String, Value>>().await.map_err(failed)?;
        let works = found.items.first().and_then(|row| row.get("SysRevID")).is_some();
        reasons.push(if works {
            "SysRevID is a row version that every write moves, and the server filters and orders by it".to_owned()
        } else {
            "the server answers nothing when it is asked for rows by SysRevID".to_owned()
        });
        Ok(works)
    }

    /// How fine a stamp is; none when it is of no use.
    async fn resolution_of(
        &self,
        dataset: &DatasetSpec,
        column: &str,
        reasons: &mut Vec<String>,
    ) -> Result<Option<Resolution>, SourceError> {
        let spec = DatasetSpec { track: Track::timestamp(column, Resolution::Second), ..dataset.clone() };
        let query = self.query(&spec)?.select([column]).and_filter(field(column).is_not_null());
        let query = query.order_by(column, Order::Descending).top(SAMPLE);
        let page = match query.send::<HashMap<String, Value>>().await {
            Ok(page) => page,
            Err(error) if error.kind() == epicor_kinetic::ErrorKind::Rejected => {
                reasons.push(format!("the server does not order by {column}"));
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        let texts: Vec<&str> = page.items.iter().filter_map(|row| row.get(column)?.as_str()).collect();
        let Some(newest) = texts.first() else {
            reasons.push(format!("{column} is empty in all rows"));
            return Ok(None);
        };
        let newest = Stamp::parse(&spec, newest)?;
        if self.form(&spec, &newest).await.is_err() {
            reasons.push(format!("the server does not compare {column} with dates as it writes them"));
            return Ok(None);
        }
        let timed = texts.iter().filter(|text| !is_midnight(text)).count();
        let (resolution, how) = match timed {
            0 => (Resolution::Day, "dates only"),
            _ => (Resolution::Second, "dates with a time of day"),
        };
        reasons.push(format!("{column} holds {how} in the {} newest rows ({timed} with a time)", texts.len()));
        Ok(Some(resolution))
    }
}

/// Columns that may hold the moment of the last change, the likeliest first.
fn stamps(entity: &EntityType) -> Vec<String> {
    const KNOWN: [&str; 4] = ["UpdatedOn", "ChangedOn", "ChangeDate", "SysRevDate"];
    let moments = entity.properties.iter().filter(|property| property.edm_type == EdmType::DateTimeOffset);
    let mut found: Vec<(usize, String)> = moments
        .filter_map(|property| {
            // A BAQ names them after table and field: `Vendor_ChangeDate`.
            let name = property.name.rsplit('_').next().unwrap_or_default();
            let place = KNOWN.iter().position(|known| known.eq_ignore_ascii_case(name));
            let lower = property.name.to_lowercase();
            let likely = ["updated", "changed", "modified"].iter().any(|part| lower.contains(part));
            Some((place.or_else(|| likely.then_some(KNOWN.len()))?, property.name.clone()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

/// The column of the second of the day beside one of dates: `ChangeTime` beside `ChangeDate`, under the same table in a BAQ.
fn seconds_beside(entity: &EntityType, date: &str) -> Option<String> {
    let name = format!("{}Time", date.strip_suffix("Date")?);
    let found = entity.property(&name)?;
    matches!(found.edm_type, EdmType::Int16 | EdmType::Int32 | EdmType::Int64).then_some(name)
}

/// Whether a stamp has no time of day.
fn is_midnight(text: &str) -> bool {
    let time = text.split_once(['T', ' ']).map_or("", |(_, time)| time);
    !time.chars().take_while(|letter| !matches!(letter, 'Z' | '+' | '-')).any(|letter| matches!(letter, '1'..='9'))
}

#[cfg(test)]
mod tests {
    use super::is_midnight;

    #[test]
    fn a_date_without_time_is_told_from_a_moment() {
        for text in ["2026-11-24", "2026-11-24T00:00:00", "2026-11-24T00:00:00.000Z", "2026-11-24T00:00:00+02:00"] {
            assert!(is_midnight(text), "{text}");
        }
        for text in ["2026-11-24T00:00:01", "2026-11-24T10:00:00Z", "2026-11-24 00:00:00.5"] {
            assert!(!is_midnight(text), "{text}");
        }
    }
}
