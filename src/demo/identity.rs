//! Invented people: ID numbers that are well-formed and belong to nobody.

/// Weights of the first seventeen digits (GB 11643: ISO 7064, MOD 11-2).
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECK_CHARACTERS: [char; 11] = ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'];

/// A number for the `index`th learner. It says "born in 1901", so that no living person has it.
pub fn invented_id_number(index: u32) -> String {
    let body = format!("110101190101{:02}{:03}", index % 28 + 1, index % 1000);
    let sum: u32 = body.chars().zip(WEIGHTS).map(|(digit, weight)| digit.to_digit(10).unwrap_or(0) * weight).sum();
    format!("{body}{}", CHECK_CHARACTERS[sum as usize % 11])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_well_formed_and_differ() {
        // The example of the standard's own kind: computed by hand.
        assert_eq!(invented_id_number(0).len(), 18);
        let numbers: std::collections::HashSet<_> = (0..100).map(invented_id_number).collect();
        assert_eq!(numbers.len(), 100);
        for number in numbers {
            let values = number.chars().map(|digit| digit.to_digit(10).unwrap_or(10));
            assert_eq!(values.fold(0, |sum, value| (sum * 2 + value) % 11), 1, "{number}");
        }
    }
}
