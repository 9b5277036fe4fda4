//! Mappings: what they make of records and answers, and what they refuse.

use serde_json::json;

use super::*;

/// The example of docs/ledger.md, which must work.
fn example() -> String {
    let documented = include_str!("../../docs/ledger.md");
    let after = documented.split("```toml\n").find(|part| part.starts_with("# mapping.toml")).expect("the example");
    after.split("```").next().unwrap().to_owned()
}

fn record(kind: ReportKind, more: &[(&'static str, Value)]) -> ReportRecord {
    let facts = match kind {
        ReportKind::Enrolment => ENROLMENT_FACTS,
        ReportKind::Withdrawal => WITHDRAWAL_FACTS,
        ReportKind::Verdict => VERDICT_FACTS,
    };
    let mut facts: BTreeMap<&'static str, Value> = facts
        .iter()
        .map(|(name, _)| (*name, if name.ends_with("_at") { json!(1_772_294_400_000_i64) } else { json!(*name) }))
        .collect();
    facts.extend(more.iter().cloned());
    ReportRecord { id: 1, kind, number: "s1-1".into(), learner: "l1".into(), facts }
}

fn person() -> Person {
    Person { name: Some("张三".into()), id_number: "110101199003070011".into() }
}

#[test]
fn the_documented_example_fills_every_field() {
    let mapping = Mapping::from_toml(&example()).unwrap();
    assert!(mapping.asks_for_person(ReportKind::Enrolment) && !mapping.asks_for_person(ReportKind::Verdict));
    let enrolment = mapping.record(&record(ReportKind::Enrolment, &[]), Some(&person())).unwrap();
    assert_eq!(enrolment["idCard"], "110101199003070011");
    let more = [("verdict.status", json!("review")), ("verdict.completed", json!("true"))];
    let verdict = mapping.record(&record(ReportKind::Verdict, &more), None).unwrap();
    assert_eq!((&verdict["result"], &verdict["beginTime"]), (&json!("2"), &json!("2026-03-01 00:00:00")));
    let withdrawal = mapping.record(&record(ReportKind::Withdrawal, &[]), None).unwrap();
    assert_eq!((&withdrawal["quitTime"], &withdrawal["type"]), (&json!("2026-03-01 00:00:00"), &json!("TB")));
    let body: Value =
        serde_json::from_str(&mapping.body("b1", 1_772_294_400_000, vec![enrolment.clone(), verdict])).unwrap();
    assert_eq!((&body["batchNo"], &body["total"]), (&json!("b1"), &json!(2)));
    assert_eq!(body["data"][0], Value::Object(enrolment));
}

#[test]
fn what_is_not_on_record_is_said_and_never_what_is() {
    let mapping = Mapping::from_toml(&example()).unwrap();
    let missing = mapping.record(&record(ReportKind::Enrolment, &[]), None).unwrap_err();
    assert!(missing.starts_with("learner.id_number is not on record"), "{missing}");
    let odd = [("verdict.status", json!("110101199003070011"))];
    let odd = mapping.record(&record(ReportKind::Verdict, &odd), Some(&person())).unwrap_err();
    assert_eq!(odd, "verdict.status has a value for which the mapping has no code");
    let gone = ReportRecord { facts: BTreeMap::new(), ..record(ReportKind::Verdict, &[]) };
    assert_eq!(mapping.record(&gone, Some(&person())).unwrap_err(), "the record that it is about is gone");
}

#[test]
fn a_platform_that_is_not_told_of_withdrawals_has_them_refused_here() {
    let example = example();
    let (before, after) = example.split_once("[withdrawal]").unwrap();
    let without = format!("{before}{}", &after[after.find("[verdict]").unwrap()..]);
    let mapping = Mapping::from_toml(&without).unwrap();
    assert!(!mapping.asks_for_person(ReportKind::Withdrawal));
    let refused = mapping.record(&record(ReportKind::Withdrawal, &[]), Some(&person())).unwrap_err();
    assert_eq!(refused, "the mapping has no [withdrawal]");
    let nameless = format!("{before}[withdrawal]{}", after.replacen("item.number", "learner.id", 1));
    let error = Mapping::from_toml(&nameless).unwrap_err().to_string();
    assert!(error.starts_with("withdrawal: has no field from \"item.number\""), "{error}");
}

#[test]
fn refusals_name_the_field() {
    let example = example();
    for (from, to, expected) in [
        ("\"platform.name\"", "\"platform.nmae\"", "enrolment.orgName: \"platform.nmae\" is not known here"),
        ("review = \"2\"", "other = \"2\"", "verdict.result: codes: \"review\" has none"),
        ("format = \"%Y-%m-%d %H:%M:%S\"", "format = \"%Y-%!\"", "batch.fields.sendTime: format"),
        ("from = \"batch.created_at\"", "from = \"batch.count\"", "batch.fields.sendTime: \"batch.count\" is no time"),
        ("from = \"batch.created_at\"", "form = \"batch.created_at\"", "batch.fields.sendTime: "),
        ("records = \"data\"", "records = \"batchNo\"", "batch.records"),
        ("constant = \"BM\"", "constant = \"BM\", from = \"item.kind\"", "enrolment.type: has `from` and `constant`"),
        ("recordNo = \"item.number\"", "recordNo = \"item.kind\"", "enrolment: has no field from \"item.number\""),
        ("[answer]", "[reply]", "TOML parse error"),
    ] {
        assert!(example.contains(from), "{from}");
        let error = Mapping::from_toml(&example.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{to}: {error}");
    }
}

#[test]
fn answers_are_read_as_the_mapping_says() {
    let answer = Mapping::from_toml(&example()).unwrap().answer();
    let body = json!({"result": {"list": [
        {"recordNo": "a-1", "code": 0, "msg": ""},
        {"recordNo": "b-1", "code": "DUPLICATE"},
        {"recordNo": "c-1", "code": "E7", "msg": "身份证110101199003070011不存在"},
    ]}});
    let read = answer.acknowledgements(&body.to_string()).unwrap();
    assert_eq!(
        read.iter().map(|one| one.refused.as_deref()).collect::<Vec<_>>(),
        [None, None, Some("code E7: 身份证…不存在"),]
    );
    for bad in ["", "<html>", "{}", r#"{"result":{"list":{}}}"#, r#"{"result":{"list":[{"code":0}]}}"#] {
        assert!(answer.acknowledgements(bad).is_err(), "{bad}");
    }
}

#[test]
fn long_numbers_are_left_out_and_short_ones_are_not() {
    for (text, shown) in
        [("11010119900307001X", "…"), ("a 110101900307001b", "a …b"), ("code 404: x 12", "code 404: x 12"), ("", "")]
    {
        assert_eq!(without_numbers(text), shown);
    }
}
