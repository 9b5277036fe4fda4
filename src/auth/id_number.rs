//! The citizen identification number of GB 11643: checked before a person is looked up by it.
//!
//! A number in the clear lives in memory for one request: it is stored sealed only (`person.rs`) and never logged, and
//! no error repeats any of it. That a number is well-formed does not say that the person exists.

use std::fmt;

use jiff::civil::Date;

/// First two digits of GB/T 2260, the provinces; 81–83 are those of the residence permits for people from Hong
/// Kong, Macao and Taiwan.
pub const PROVINCES: &[&str] = &[
    "11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43", "44",
    "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82", "83",
];
/// Weights of the first seventeen digits: 2^(18 − i) mod 11 for the i-th (ISO 7064, MOD 11-2).
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
/// The check character for each remainder.
const CHECK_CHARACTERS: &[u8; 11] = b"10X98765432";
/// Nobody who learns was born before; a year this early is a slip.
const EARLIEST_BIRTH_YEAR: i16 = 1900;

/// What is wrong with a number. Says which part, never what stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdNumberError {
    /// Too short or too long.
    #[error("must have 18 characters")]
    Length,
    /// A character that cannot stand there.
    #[error("must be 17 digits and a check character (a digit or X)")]
    Characters,
    /// The first digits name no region.
    #[error("the region (characters 1 to 6) does not exist")]
    Region,
    /// The middle is no date.
    #[error("the birth date (characters 7 to 14) is not a date since 1900")]
    BirthDate,
    /// The middle is a date to come.
    #[error("the birth date (characters 7 to 14) is in the future")]
    BirthDateInFuture,
    /// A digit somewhere is not what it was.
    #[error("the check character (character 18) does not fit the others: please compare the number again")]
    Checksum,
}

/// A well-formed number, normalised (upper-case X). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct IdNumber(String);

impl IdNumber {
    /// Checks a number as it was typed; `today` is the date in China.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(text: &str, today: Date) -> Result<Self, IdNumberError> {
        if text.chars().count() != 18 {
            return Err(IdNumberError::Length);
        }
        let number = text.to_ascii_uppercase();
        let (body, check) = number.split_at_checked(17).ok_or(IdNumberError::Characters)?;
        let digits = body.bytes().all(|byte| byte.is_ascii_digit());
        let last = check.as_bytes()[0];
        if !digits || !(last.is_ascii_digit() || last == b'X') {
            return Err(IdNumberError::Characters);
        }
        check_region(&body[..6])?;
        check_birth_date(&body[6..14], today)?;
        if check_character(body) != last {
            return Err(IdNumberError::Checksum);
        }
        Ok(Self(number))
    }

    /// The number: to make an identity of it, and to seal it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IdNumber(…)")
    }
}

fn check_region(region: &str) -> Result<(), IdNumberError> {
    // Permanent residence cards of foreigners: a 9, then the province that issued it.
    let province = if region.starts_with('9') { &region[1..3] } else { &region[..2] };
    if PROVINCES.contains(&province) { Ok(()) } else { Err(IdNumberError::Region) }
}

fn check_birth_date(text: &str, today: Date) -> Result<(), IdNumberError> {
    let part = |range: std::ops::Range<usize>| text[range].parse::<i16>().map_err(|_| IdNumberError::BirthDate);
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    // Month and day have two digits, so they fit.
    let birth = Date::new(year, month as i8, day as i8).map_err(|_| IdNumberError::BirthDate)?;
    if birth.year() < EARLIEST_BIRTH_YEAR {
        return Err(IdNumberError::BirthDate);
    }
    if birth > today { Err(IdNumberError::BirthDateInFuture) } else { Ok(()) }
}

/// The check character of seventeen digits.
pub(crate) fn check_character(digits: &str) -> u8 {
    let sum: u32 = digits.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    CHECK_CHARACTERS[(sum % 11) as usize]
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// The check character, computed another way than above: the one that makes the whole number 1 modulo 11.
    fn complete(digits: &str) -> String {
        let fits = |candidate: &u32| {
            let values = digits.chars().map(|digit| digit.to_digit(10).unwrap()).chain([*candidate]);
            values.fold(0, |sum, value| (sum * 2 + value) % 11) == 1
        };
        let check = (0..11).find(fits).unwrap();
        format!("{digits}{}", if check == 10 { "X".to_owned() } else { check.to_string() })
    }

    fn parse(text: &str) -> Result<IdNumber, IdNumberError> {
        IdNumber::parse(text, date(2026, 3, 1))
    }

    #[test]
    fn well_formed_numbers_pass() {
        for digits in [
            "11010119900307001", // an ordinary one
            "65432120000229999", // 2000 was a leap year
            "83000019850101123", // a residence permit
            "91115619850101123", // a foreigner's permanent residence card
            "44030020260301000", // born today
            "31010119000101000", // the earliest
        ] {
            assert!(parse(&complete(digits)).is_ok(), "{digits}");
        }
    }

    #[test]
    fn each_wrong_part_is_named() {
        let good = complete("11010119900307001");
        let wrong_check = format!("{}{}", &good[..17], if good.ends_with('0') { '1' } else { '0' });
        let mut swapped = good.clone().into_bytes();
        swapped.swap(15, 16);
        for (number, error) in [
            (String::new(), IdNumberError::Length),
            (good[..17].to_owned(), IdNumberError::Length),
            (format!("{good}1"), IdNumberError::Length),
            ("一二三四五六七八九十一二三四五六七八".to_owned(), IdNumberError::Characters),
            (format!("X{}", &good[1..]), IdNumberError::Characters),
            (format!("{}Y", &good[..17]), IdNumberError::Characters),
            (format!(" {}", &good[1..]), IdNumberError::Characters),
            (complete("00010119900307001"), IdNumberError::Region),
            (complete("47010119900307001"), IdNumberError::Region),
            (complete("99910119900307001"), IdNumberError::Region),
            (complete("11010119900230001"), IdNumberError::BirthDate),
            (complete("11010119901301001"), IdNumberError::BirthDate),
            (complete("11010119000229001"), IdNumberError::BirthDate),
            (complete("11010118991231001"), IdNumberError::BirthDate),
            (complete("11010100000000001"), IdNumberError::BirthDate),
            (complete("11010120260302001"), IdNumberError::BirthDateInFuture),
            (wrong_check, IdNumberError::Checksum),
            (String::from_utf8(swapped).unwrap(), IdNumberError::Checksum),
        ] {
            assert_eq!(parse(&number).unwrap_err(), error, "{number}");
        }
    }

    #[test]
    fn a_lower_case_x_is_the_same_person() {
        let number =
            (0..20).map(|i| complete(&format!("110101199003070{i:02}"))).find(|number| number.ends_with('X')).unwrap();
        assert_eq!(parse(&number.to_lowercase()).unwrap(), parse(&number).unwrap());
    }

    #[test]
    fn one_changed_digit_never_passes() {
        let good = complete("11010119900307001");
        for position in 14..17 {
            for digit in '0'..='9' {
                let mut changed: Vec<char> = good.chars().collect();
                changed[position] = digit;
                let changed: String = changed.into_iter().collect();
                assert_eq!(parse(&changed).is_ok(), changed == good);
            }
        }
    }
}
