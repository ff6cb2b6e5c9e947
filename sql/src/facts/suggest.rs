//! A name close to one that does not exist.

/// The known name that is closest, if one is close.
pub(super) fn closest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let scored = known.map(|other| (distance(name, &other), other));
    scored.filter(|(distance, _)| *distance > 0 && *distance <= limit).min().map(|(_, other)| other)
}

/// Edits from one name to the other; long names are cut.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (j, right) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX);
            let cost = diagonal + usize::from(left != *right);
            if let Some(cell) = row.get_mut(j) {
                *cell = before;
            }
            before = cost.min(above.saturating_add(1)).min(before + 1);
            diagonal = above;
        }
        if let Some(last) = row.last_mut() {
            *last = before;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_name() {
        let known = || ["customers", "orders", "order_items"].into_iter().map(str::to_owned);
        assert_eq!(closest("custmers", known()).as_deref(), Some("customers"));
        assert_eq!(closest("order", known()).as_deref(), Some("orders"));
        assert_eq!(closest("payments", known()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
