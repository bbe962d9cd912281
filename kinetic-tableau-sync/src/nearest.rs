//! The name that somebody probably meant.

/// The known name that is nearest to a wrong one, if any is near: equal but for case, or at most a third of its letters away.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    known
        .into_iter()
        .map(|name| (distance(&wrong, &name.to_lowercase()), name))
        .filter(|(far, _)| *far <= wrong.chars().count().div_ceil(3))
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// Letters to insert, remove or exchange (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (nth, letter) in one.chars().enumerate() {
        let mut diagonal = nth;
        let mut left = nth + 1;
        for (cell, its) in row.iter_mut().skip(1).zip(&other) {
            let best = (*cell + 1).min(left + 1).min(diagonal + usize::from(letter != *its));
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = nth + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted() {
        for (one, other, far) in
            [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2), ("abc", "", 3)]
        {
            assert_eq!(distance(one, other), far, "{one} to {other}");
        }
    }

    #[test]
    fn what_is_far_is_not_offered() {
        let known = ["VendorNum", "VendorID", "Name"];
        assert_eq!(nearest("VendorNumm", known), Some("VendorNum"));
        assert_eq!(nearest("vendorid", known), Some("VendorID"));
        assert_eq!(nearest("Balance", known), None);
    }
}
