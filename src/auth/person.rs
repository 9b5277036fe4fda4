//! A person's name and ID number: sealed with the learner's own key, masked for whoever need not know them.
//!
//! They are forgotten with the key. `Debug` does not show them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::keys::{DataKey, KeyError};
use crate::clock::Entropy;

/// Who a learner is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// the name as it was given; `None` when it was not
    pub name: Option<String>,
    /// the ID number, checked and normalised
    pub id_number: String,
}

impl Person {
    /// Seals the person for the learner that they are.
    pub fn seal(&self, key: &DataKey, entropy: &Entropy, learner: &str) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("two texts are JSON");
        key.seal(entropy, &context(learner), &json)
    }

    /// The reverse of [`Person::seal`].
    ///
    /// # Errors
    /// [`KeyError::Sealed`] when it was not sealed for this learner with this key.
    pub fn open(key: &DataKey, learner: &str, sealed: &[u8]) -> Result<Self, KeyError> {
        serde_json::from_slice(&key.open(&context(learner), sealed)?).map_err(|_| KeyError::Sealed)
    }

    /// Enough of the person to be recognised by whoever knows them: the first character of the name, the first three of
    /// the number (the province and a half) and its last four.
    pub fn masked(&self) -> Self {
        let name = self.name.as_deref().map(|name| {
            let rest = name.chars().count().saturating_sub(1);
            name.chars().take(1).chain(std::iter::repeat_n('*', rest)).collect()
        });
        let hidden = 3..self.id_number.len().saturating_sub(4);
        let masked = |(index, character)| if hidden.contains(&index) { '*' } else { character };
        Self { name, id_number: self.id_number.chars().enumerate().map(masked).collect() }
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Person(…)")
    }
}

fn context(learner: &str) -> String {
    format!("person {learner}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person() -> Person {
        Person { name: Some("欧阳小明".to_owned()), id_number: "110101199003070011".to_owned() }
    }

    #[test]
    fn a_person_opens_for_their_learner_only() {
        let entropy = Entropy::seeded(1);
        let key = DataKey::generate(&entropy);
        let sealed = person().seal(&key, &entropy, "l1");
        assert_eq!(Person::open(&key, "l1", &sealed).unwrap(), person());
        assert!(Person::open(&key, "l2", &sealed).is_err());
        assert!(Person::open(&DataKey::generate(&entropy), "l1", &sealed).is_err());
    }

    #[test]
    fn a_mask_leaves_no_birth_date() {
        let masked = person().masked();
        assert_eq!(masked.name.as_deref(), Some("欧***"));
        assert_eq!(masked.id_number, "110***********0011");
        assert_eq!(Person { name: None, ..person() }.masked().name, None);
        assert!(!format!("{:?}", person()).contains("110"));
    }
}
