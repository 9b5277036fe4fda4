//! Invented people: ID numbers that are well-formed and belong to nobody.

use crate::auth::id_number::check_character;

/// A number for the `index`th learner. It says "born in 1901", so that no living person has it.
pub fn invented_id_number(index: u32) -> String {
    let body = format!("110101190101{:02}{:03}", index % 28 + 1, index % 1000);
    let check = char::from(check_character(&body));
    format!("{body}{check}")
}

/// A name for the `index`th learner.
pub fn invented_name(index: usize) -> String {
    const FAMILIES: [&str; 8] = ["王", "李", "张", "刘", "陈", "杨", "赵", "欧阳"];
    const GIVEN: [&str; 7] = ["秀英", "建国", "晓明", "丽华", "志强", "玉兰", "文"];
    format!("{}{}", FAMILIES[index % FAMILIES.len()], GIVEN[index % GIVEN.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::id_number::IdNumber;

    #[test]
    fn names_differ() {
        let names: std::collections::HashSet<_> = (0..56).map(invented_name).collect();
        assert_eq!(names.len(), 56);
    }

    #[test]
    fn numbers_are_well_formed_and_differ() {
        let numbers: std::collections::HashSet<_> = (0..100).map(invented_id_number).collect();
        assert_eq!(numbers.len(), 100);
        for number in numbers {
            assert!(IdNumber::parse(&number, jiff::civil::date(2026, 1, 1)).is_ok(), "{number}");
        }
    }
}
