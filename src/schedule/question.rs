//! What a prompt asks: one of four options, or a small sum. Follows from the seed, the prompt's number and the lesson,
//! so that the right answer need not be kept, and never leaves the server.

use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde::{Deserialize, Serialize};

use super::Seed;

/// How many options a question has.
pub const OPTIONS: usize = 4;

/// How a prompt is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptKind {
    /// with the text of one of the options
    Choice,
    /// with the result of the sum in the picture
    Sum,
}

impl PromptKind {
    /// The word of the log and the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Choice => "choice",
            Self::Sum => "sum",
        }
    }
}

/// A question of a lesson, as its platform gave it, or of the built-in pool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Question {
    /// what is asked
    pub text: String,
    /// the options, in any order
    pub options: [String; OPTIONS],
    /// index of the right option
    pub right: usize,
}

/// What one prompt asks, and the answer that passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// One of four options, in the order in which they are shown.
    Choice {
        /// what is asked
        text: String,
        /// the options as shown
        options: Vec<String>,
        /// text of the right one
        right: String,
    },
    /// A sum shown as a picture.
    Sum {
        /// the sum as it is drawn, `7 + 12`
        drawn: String,
        /// its result in decimal digits
        right: String,
    },
}

impl Challenge {
    /// What the `number`th prompt of this session asks: a sum with a chance of `sum_milli` thousandths. A lesson
    /// without questions takes them from the built-in pool.
    pub fn draw(seed: &Seed, number: u64, sum_milli: i64, lesson: &[Question]) -> Self {
        let mut generator = seed.generator("challenge", number);
        if generator.random_range(0..1000) < sum_milli {
            return Self::sum(&mut generator);
        }
        Self::choice(&mut generator, if lesson.is_empty() { pool() } else { lesson })
    }

    /// The kind's word in the log and the protocol.
    pub fn kind(&self) -> PromptKind {
        match self {
            Self::Choice { .. } => PromptKind::Choice,
            Self::Sum { .. } => PromptKind::Sum,
        }
    }

    /// Whether `answer` passes. Spaces around it do not count, nor full-width digits.
    pub fn passes(&self, answer: &str) -> bool {
        match self {
            Self::Choice { right, .. } => answer == right,
            Self::Sum { right, .. } => answer.trim().chars().map(half_width).eq(right.chars()),
        }
    }

    fn choice(generator: &mut impl rand::Rng, questions: &[Question]) -> Self {
        let Some(question) = questions.choose(generator) else { return Self::sum(generator) };
        let mut options = question.options.to_vec();
        let right = options[question.right.min(OPTIONS - 1)].clone();
        options.shuffle(generator);
        Self::Choice { text: question.text.clone(), options, right }
    }

    fn sum(generator: &mut impl rand::Rng) -> Self {
        let (one, other) = (generator.random_range(2..=20), generator.random_range(2..=9));
        let (drawn, result) = if generator.random() && one > other {
            (format!("{one} - {other}"), one - other)
        } else {
            (format!("{one} + {other}"), one + other)
        };
        Self::Sum { drawn, right: result.to_string() }
    }
}

/// Phones with a Chinese keyboard write digits at full width.
fn half_width(digit: char) -> char {
    if ('０'..='９').contains(&digit) {
        char::from_u32(u32::from(digit) - u32::from('０') + u32::from('0')).unwrap_or(digit)
    } else {
        digit
    }
}

/// The built-in questions, for lessons that bring none.
fn pool() -> &'static [Question] {
    #[derive(Deserialize)]
    struct Pool {
        question: Vec<Question>,
    }
    static POOL: std::sync::OnceLock<Vec<Question>> = std::sync::OnceLock::new();
    POOL.get_or_init(|| {
        let pool: Pool =
            toml::from_str(include_str!("questions.toml")).expect("the built-in pool is checked by a test");
        pool.question
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> Seed {
        Seed::new(&[5; 32])
    }

    #[test]
    fn the_pool_is_sound() {
        assert!(pool().len() >= 20);
        for question in pool() {
            assert!(question.right < OPTIONS, "{}", question.text);
            let different: std::collections::BTreeSet<_> = question.options.iter().collect();
            assert_eq!(different.len(), OPTIONS, "{}", question.text);
        }
    }

    #[test]
    fn the_same_seed_and_number_ask_the_same() {
        for number in 1..50 {
            assert_eq!(Challenge::draw(&seed(), number, 500, &[]), Challenge::draw(&seed(), number, 500, &[]));
        }
    }

    #[test]
    fn the_right_option_moves() {
        let places: std::collections::BTreeSet<_> = (1..100)
            .filter_map(|number| match Challenge::draw(&seed(), number, 0, &[]) {
                Challenge::Choice { options, right, .. } => options.iter().position(|option| *option == right),
                Challenge::Sum { .. } => None,
            })
            .collect();
        assert_eq!(places.len(), OPTIONS);
    }

    #[test]
    fn sums_are_right_and_read_full_width_digits() {
        for number in 1..200 {
            let challenge = Challenge::draw(&seed(), number, 1000, &[]);
            let Challenge::Sum { drawn, right } = &challenge else { panic!("asked for a sum") };
            let parts: Vec<&str> = drawn.split(' ').collect();
            let (one, other): (i64, i64) = (parts[0].parse().unwrap(), parts[2].parse().unwrap());
            let result = if parts[1] == "+" { one + other } else { one - other };
            assert!(result >= 0 && right == &result.to_string());
            let full: String =
                right.chars().map(|digit| char::from_u32(digit as u32 - 0x30 + 0xFF10).unwrap()).collect();
            assert!(challenge.passes(&full) && challenge.passes(&format!(" {right} ")));
            assert!(!challenge.passes("") && !challenge.passes(&format!("{right}0")));
        }
    }
}
