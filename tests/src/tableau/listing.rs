//! Listings: filters and pages.

use super::wire::{Failure, Node};
use super::{Query, Reply};

/// A page of a listing, filtered.
pub(super) fn page(name: &'static str, entries: Vec<(Vec<(&'static str, String)>, Node)>, query: &Query) -> Reply {
    let number = |name: &str, otherwise: usize| query.get(name).map_or(Some(otherwise), |text| text.parse().ok());
    let bad = |code| Failure::new(code, "Bad Request", "The page size or number is not valid.");
    let size = number("pageSize", 100).filter(|size| *size >= 1).ok_or_else(|| bad("400007"))?;
    let page = number("pageNumber", 1).filter(|page| *page >= 1).ok_or_else(|| bad("400006"))?;
    if size > 1_000 {
        return Err(Failure::new("403014", "Forbidden", "The page size must not be larger than 1000."));
    }
    let mut kept = Vec::new();
    let wanted: Vec<(&str, &str)> = match query.get("filter") {
        Some(filter) => filter
            .split(',')
            .map(|condition| {
                let mut parts = condition.splitn(3, ':');
                match (parts.next(), parts.next(), parts.next()) {
                    (Some(field), Some("eq"), Some(value)) => Ok((field, value)),
                    _ => Err(Failure::new("400065", "Bad Request", "The filter cannot be read.")),
                }
            })
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    for (fields, node) in entries {
        let fits = wanted.iter().all(|(field, value)| fields.iter().any(|(name, its)| name == field && its == value));
        if fits {
            kept.push(node);
        }
    }
    let (total, start) = (kept.len(), (page - 1) * size);
    if page > 1 && start >= total {
        return Err(bad("400006"));
    }
    let pagination =
        Node::new("pagination").with("pageNumber", page).with("pageSize", size).with("totalAvailable", total);
    Ok((200, vec![pagination, Node::list(name, kept.into_iter().skip(start).take(size))]))
}
