//! docs/clauses.md against the packs: nothing is left out, and what the tables say is what the packs do.

use std::sync::Arc;

use super::*;

const CLAUSES: &str = include_str!("../../docs/clauses.md");
/// In the order of the columns.
const PACKS: [&str; 6] = ["default", "henan-2022", "fujian-2024", "hebei-2024", "national-2021", "city-2019"];

fn packs() -> Vec<Arc<Policy>> {
    let policies = Policies::new(Vec::new()).unwrap();
    let mut found: Vec<Arc<Policy>> = policies.all().cloned().collect();
    assert_eq!(found.len(), PACKS.len());
    found.sort_by_key(|policy| PACKS.iter().position(|id| *id == policy.id));
    found
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    format!("| `{name}` | {} |", cells.collect::<Vec<_>>().join(" | "))
}

/// A number as people write it, with spaces between thousands.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(" ")
}

#[test]
fn every_rule_and_number_has_its_place_in_the_clauses() {
    let rules = Rule::ALL.iter().map(|rule| rule.as_str());
    let enrolment = EnrolmentRule::ALL.iter().map(|rule| rule.as_str());
    let numbers = EnrolmentRules::NUMBERS.iter().chain(EnrolmentRules::WORDS).chain([&EnrolmentRules::LIST]);
    let parameters = Parameters::KEYS.iter().chain(Schedule::KEYS).chain(numbers).copied();
    for name in rules.chain(enrolment).chain(parameters) {
        assert!(CLAUSES.contains(&format!("`{name}`")), "docs/clauses.md does not name {name}");
    }
}

#[test]
fn the_clauses_tables_say_what_the_packs_do() {
    let packs = packs();
    let actions =
        Rule::ALL.iter().map(|&rule| row(rule.as_str(), packs.iter().map(|policy| policy.action(rule).to_string())));
    let number = |key: &&'static str| {
        let cell = |policy: &Arc<Policy>| {
            let numbers = policy.enrolment.numbers();
            grouped(numbers.into_iter().find(|(found, _)| found == key).unwrap().1)
        };
        row(key, packs.iter().map(cell))
    };
    let word = |key: &&'static str| {
        let cell = |policy: &Arc<Policy>| {
            let words = policy.enrolment.words();
            words.into_iter().find(|(found, _)| found == key).unwrap().1.to_owned()
        };
        row(key, packs.iter().map(cell))
    };
    let numbers = EnrolmentRules::NUMBERS.iter().map(number);
    let lines: Vec<String> = actions.chain(numbers).chain(EnrolmentRules::WORDS.iter().map(word)).collect();
    let absent: Vec<&String> = lines.iter().filter(|line| !CLAUSES.lines().any(|found| found == *line)).collect();
    assert!(absent.is_empty(), "docs/clauses.md lacks these lines:\n{absent:#?}");
    for policy in packs.iter().filter(|policy| !policy.document.is_empty()) {
        let until = policy.effective_until.map_or("none".to_owned(), |day| day.to_string());
        let days = format!(" | {} | {until} |", policy.effective_from.unwrap());
        let line = CLAUSES.lines().find(|line| line.starts_with(&format!("| `{}` | {}", policy.id, policy.document)));
        let line = line.unwrap_or_else(|| panic!("no line for {}", policy.id));
        assert!(line.ends_with(&days), "{line}");
        let place =
            if policy.region == "unknown" { "| unknown |".to_owned() } else { format!("| {} (", policy.region) };
        assert!(line.contains(&place), "{line}");
    }
}

#[test]
fn every_clause_is_of_a_document_that_was_read() {
    let packs = packs();
    let documents: Vec<&str> =
        packs.iter().map(|policy| policy.document.as_str()).filter(|document| !document.is_empty()).collect();
    for document in &documents {
        assert!(CLAUSES.contains(&format!("\n## {document}")), "docs/clauses.md has no section for {document}");
    }
    for policy in &packs {
        let clauses = Rule::ALL.iter().map(|&rule| policy.clause(rule));
        for clause in clauses.chain(EnrolmentRule::ALL.iter().map(|&rule| policy.enrolment.clause(rule))) {
            for source in clause.source.split("; ") {
                let (document, item) = source.split_once(' ').unwrap_or((source, ""));
                assert!(documents.contains(&document), "{}: {source}", policy.id);
                assert_eq!(item.is_empty(), clause.text == "（未规定）", "{}: {source}", policy.id);
                // A document judges by its own words; only the pack of none borrows.
                assert!(policy.id == "default" || document == policy.document, "{}: {source}", policy.id);
            }
        }
    }
}
