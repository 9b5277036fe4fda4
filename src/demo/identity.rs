//! Invented people: ID numbers that are well-formed and belong to nobody.

use crate::auth::id_number::check_character;

/// A number for the `index`th learner. It says "born in 1901", so that no living person has it.
pub fn invented_id_number(index: u32) -> String {
    let body = format!("110101190101{:02}{:03}", index % 28 + 1, index % 1000);
    let check = char::from(check_character(&body));
    format!("{body}{check}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::id_number::IdNumber;

    #[test]
    fn numbers_are_well_formed_and_differ() {
        let numbers: std::collections::HashSet<_> = (0..100).map(invented_id_number).collect();
        assert_eq!(numbers.len(), 100);
        for number in numbers {
            assert!(IdNumber::parse(&number, jiff::civil::date(2026, 1, 1)).is_ok(), "{number}");
        }
    }
}
