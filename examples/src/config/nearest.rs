//! The known word that somebody probably meant.

/// The candidate that is nearest to a wrong word, if any is near: equal but for case, or at most a third of its letters away.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let far = |candidate: &str| strsim::levenshtein(&word, &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (far(candidate), candidate))
        .filter(|(far, _)| *far <= word.chars().count().div_ceil(3))
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// The candidate to offer, or all there are where none is near.
pub(crate) fn offer<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("known here: {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_wins_whatever_the_case_and_what_is_far_is_not_offered() {
        let known = ["service", "entity_set", "select", "schedule"];
        assert_eq!(nearest("EntitySet", known), Some("entity_set"));
        assert_eq!(nearest("shedule", known), Some("schedule"));
        assert_eq!(nearest("balance", known), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(offer("shedule", known), "did you mean 'schedule'?");
        assert_eq!(offer("balance", known), "known here: service, entity_set, select, schedule");
    }
}
