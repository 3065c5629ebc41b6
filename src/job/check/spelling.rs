//! Spelling: the name that was probably meant.
//!
//! A misspelt field or choice comes in with the names that exist there; a few words for the fault's
//! text go out. It never repeats what was written, only what could have been.

/// Longest name that is worth comparing.
const LONGEST: usize = 32;

/// `; did you mean "mode"?`, or nothing when no name is near.
pub(super) fn hint(written: &str, names: &[&str]) -> String {
    if written.len() > LONGEST {
        return String::new();
    }
    let written = written.to_lowercase();
    let near = names
        .iter()
        .map(|name| (distance(&written, name), name))
        .filter(|(steps, name)| *steps <= (name.len() / 2).min(2))
        .min_by_key(|(steps, _)| *steps);
    near.map_or(String::new(), |(_, name)| {
        format!("; did you mean \"{name}\"?")
    })
}

/// Levenshtein distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let names = ["mode", "key", "iv", "ctr_start", "cobblestone_context"];
        assert_eq!(hint("moed", &names), "; did you mean \"mode\"?");
        assert_eq!(hint("IV", &names), "; did you mean \"iv\"?");
        assert_eq!(hint("ctrstart", &names), "; did you mean \"ctr_start\"?");
        assert_eq!(hint("profile", &names), "");
        assert_eq!(hint(&"mode".repeat(100), &names), "");
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
