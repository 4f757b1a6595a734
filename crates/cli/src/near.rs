//! Names that a mistyped one may stand for.

/// Most names in a hint.
const HINTS_MAX: usize = 3;

/// The names that are nearest to one that is not there, nearest first.
pub(crate) fn near<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let limit = (wrong.chars().count() / 3).max(1);
    let mut all: Vec<(usize, &str)> = names
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, name)| *distance <= limit || name.contains(wrong))
        .collect();
    all.sort_unstable();
    all.into_iter().map(|(_, name)| name).take(HINTS_MAX).collect()
}

/// How many characters must be changed, added or removed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, a) in one.chars().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (to, b) in other.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[to + 1];
            row[to + 1] = changed.min(corner + 1).min(row[to] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_nearby_are_found() {
        let names = ["smith/ci", "smith/argo", "jones/ci", "smith/orders-db"];
        for (wrong, expected) in [
            ("smith/c", &["smith/ci"][..]),
            ("smth/ci", &["smith/ci"]),
            ("smith/cI", &["smith/ci"]),
            ("orders", &["smith/orders-db"]),
            ("smith/", &["smith/ci", "smith/argo", "smith/orders-db"]),
            ("other/thing", &[]),
        ] {
            assert_eq!(near(wrong, names.into_iter()), expected, "{wrong}");
        }
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
