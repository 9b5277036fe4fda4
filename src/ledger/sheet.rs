//! The ledger as a sheet: CSV that Excel and WPS open by a double click, with its sums beneath.
//!
//! UTF-8 with a byte order mark, lines that end in CR LF, Chinese headings, times as they are in China. A cell that a
//! spreadsheet would take for a formula or turn into another number is defused (see `text`). The sums are of the rows
//! above them and of nothing else, so they reconcile whatever happens while the sheet is written.

use std::borrow::Cow;

use crate::ledger::period::in_china;
use crate::store::ledger::{LedgerEntry, LedgerPhoto, hours};

/// By which Excel knows UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Digits that Excel still shows as they are.
const DIGITS_SHOWN: usize = 11;

/// The headings, in the order of the cells.
pub const HEADINGS: [&str; 32] = [
    "会话编号",
    "会话数",
    "学员编号",
    "平台学员编号",
    "平台编号",
    "平台名称",
    "地区代码",
    "项目编号",
    "项目名称",
    "班级",
    "退班时间",
    "课程编号",
    "课程序号",
    "课程名称",
    "开始时间",
    "结束时间",
    "结论",
    "结论版本",
    "政策依据",
    "结论时间",
    "复核人",
    "观看时长(毫秒)",
    "新学时长(毫秒)",
    "可计时长(毫秒)",
    "认定时长(毫秒)",
    "认定学时",
    "待复核学时",
    "课程完成",
    "违规规则",
    "违规次数",
    "补课批准文号",
    "证据摘要",
];

/// Sums of the rows that have one conclusion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    sessions: i64,
    watch_ms: i64,
    watched_ms: i64,
    creditable_ms: i64,
    credited_ms: i64,
    credited_hundredths: i64,
    pending_hundredths: i64,
    violations: i64,
}

/// Writes a sheet piece by piece, so that a sheet of any length passes through a fixed amount of memory.
pub struct Sheet {
    writer: csv::Writer<Vec<u8>>,
    begun: bool,
    valid: Sums,
    review: Sums,
    invalid: Sums,
}

impl Default for Sheet {
    fn default() -> Self {
        let writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        Self { writer, begun: false, valid: Sums::default(), review: Sums::default(), invalid: Sums::default() }
    }
}

impl Sheet {
    /// What these entries add to the sheet: the beginning as well, when they are the first.
    pub fn rows(&mut self, entries: &[LedgerEntry]) -> Vec<u8> {
        let mut bytes = self.beginning();
        for entry in entries {
            self.sums_of(entry).add(entry);
            self.put(row(entry));
        }
        bytes.append(&mut self.take());
        bytes
    }

    /// The end of the sheet: its sums.
    pub fn finish(mut self) -> Vec<u8> {
        let mut bytes = self.beginning();
        let (valid, review, invalid) = (self.valid, self.review, self.invalid);
        for (title, sums) in [("合计:有效", valid), ("合计:待复核", review), ("合计:无效", invalid)] {
            self.put(sums_row(title, sums));
        }
        self.put(sums_row("合计", valid.plus(review).plus(invalid)));
        bytes.append(&mut self.take());
        bytes
    }

    fn beginning(&mut self) -> Vec<u8> {
        if self.begun {
            return Vec::new();
        }
        self.begun = true;
        self.put(HEADINGS.map(Cow::Borrowed));
        [BYTE_ORDER_MARK, &self.take()].concat()
    }

    fn put(&mut self, cells: [Cow<'_, str>; HEADINGS.len()]) {
        self.writer.write_record(cells.iter().map(|cell| cell.as_bytes())).expect("all rows have as many cells");
    }

    fn take(&mut self) -> Vec<u8> {
        let next = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        std::mem::replace(&mut self.writer, next).into_inner().expect("a vector takes everything")
    }

    fn sums_of(&mut self, entry: &LedgerEntry) -> &mut Sums {
        match entry.status.as_str() {
            "valid" => &mut self.valid,
            "review" => &mut self.review,
            _ => &mut self.invalid,
        }
    }
}

impl Sums {
    fn add(&mut self, entry: &LedgerEntry) {
        let (credited_ms, credited_hundredths, pending_hundredths) = counted(entry);
        *self = self.plus(Self {
            sessions: 1,
            watch_ms: entry.watch_ms,
            watched_ms: entry.watched_ms,
            creditable_ms: entry.creditable_ms,
            credited_ms,
            credited_hundredths,
            pending_hundredths,
            violations: entry.violations_total,
        });
    }

    fn plus(self, other: Self) -> Self {
        Self {
            sessions: self.sessions + other.sessions,
            watch_ms: self.watch_ms + other.watch_ms,
            watched_ms: self.watched_ms + other.watched_ms,
            creditable_ms: self.creditable_ms + other.creditable_ms,
            credited_ms: self.credited_ms + other.credited_ms,
            credited_hundredths: self.credited_hundredths + other.credited_hundredths,
            pending_hundredths: self.pending_hundredths + other.pending_hundredths,
            violations: self.violations + other.violations,
        }
    }
}

/// What counts: ms, hundredths of hours; and the hundredths that would count, were the session found valid.
fn counted(entry: &LedgerEntry) -> (i64, i64, i64) {
    match entry.status.as_str() {
        "valid" => (entry.credited_ms, entry.credited_hundredths, 0),
        "review" => (0, 0, entry.credited_hundredths),
        _ => (0, 0, 0),
    }
}

fn row(entry: &LedgerEntry) -> [Cow<'_, str>; HEADINGS.len()] {
    let (credited_ms, credited_hundredths, pending_hundredths) = counted(entry);
    let number = |value: i64| Cow::Owned(value.to_string());
    let decided = |text: &Option<String>| text.as_deref().map_or(Cow::Borrowed(""), |text| Cow::Owned(safe(text)));
    [
        text(&entry.session),
        Cow::Borrowed("1"),
        text(&entry.learner),
        decided(&entry.external_reference),
        text(&entry.platform),
        text(&entry.platform_name),
        text(&entry.region),
        text(&entry.project),
        text(&entry.project_name),
        text(&entry.class),
        entry.withdrawn_at.map_or(Cow::Borrowed(""), time),
        text(&entry.lesson),
        number(entry.lesson_position),
        text(&entry.lesson_title),
        time(entry.opened_at),
        time(entry.closed_at),
        Cow::Borrowed(conclusion(&entry.status)),
        number(entry.version),
        text(&entry.policy),
        time(entry.decided_at),
        decided(&entry.reviewer),
        number(entry.watch_ms),
        number(entry.watched_ms),
        number(entry.creditable_ms),
        number(credited_ms),
        hours_text(credited_hundredths),
        hours_text(pending_hundredths),
        Cow::Borrowed(if entry.completed { "是" } else { "否" }),
        Cow::Owned(entry.rules.iter().map(|rule| rule_in_chinese(rule)).collect::<Vec<_>>().join("、")),
        number(entry.violations_total),
        entry.makeup.as_ref().map_or(Cow::Borrowed(""), |makeup| text(&makeup.reference)),
        Cow::Owned(evidence(&entry.log_digest, &entry.photos)),
    ]
}

fn sums_row(title: &'static str, sums: Sums) -> [Cow<'static, str>; HEADINGS.len()] {
    let mut cells = [const { Cow::Borrowed("") }; HEADINGS.len()];
    let mut set = |heading: &str, value: String| {
        let place = HEADINGS.iter().position(|known| *known == heading).expect("a heading of this sheet");
        cells[place] = Cow::Owned(value);
    };
    set("会话数", sums.sessions.to_string());
    set("观看时长(毫秒)", sums.watch_ms.to_string());
    set("新学时长(毫秒)", sums.watched_ms.to_string());
    set("可计时长(毫秒)", sums.creditable_ms.to_string());
    set("认定时长(毫秒)", sums.credited_ms.to_string());
    set("认定学时", hours_text(sums.credited_hundredths).into_owned());
    set("待复核学时", hours_text(sums.pending_hundredths).into_owned());
    set("违规次数", sums.violations.to_string());
    cells[0] = Cow::Borrowed(title);
    cells
}

fn evidence(log_digest: &str, photos: &[LedgerPhoto]) -> String {
    let photos = photos.iter().map(|photo| format!(" 照片{}:{}", photo.capture, photo.digest));
    std::iter::once(format!("日志:{log_digest}")).chain(photos).collect()
}

fn hours_text(hundredths: i64) -> Cow<'static, str> {
    Cow::Owned(format!("{:.2}", hours(hundredths)))
}

fn time(at_ms: i64) -> Cow<'static, str> {
    Cow::Owned(in_china(at_ms).strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// What the inspectors' documents call a status.
pub fn conclusion(status: &str) -> &'static str {
    match status {
        "valid" => "有效",
        "review" => "待复核",
        "invalid" => "无效",
        _ => "未知",
    }
}

fn rule_in_chinese(rule: &str) -> &str {
    match rule {
        "fast_forward" => "快进拖拽",
        "multi_window" => "多窗口学习",
        "prompt_gap" => "随机验证超时",
        "face_liveness" => "人脸验证未通过",
        "course_order" => "未按课程顺序学习",
        "photo_missing" => "缺少课时照片",
        "content_unapproved" => "课程内容未审核",
        "platform_unregistered" => "平台未纳入监管",
        "platform_banned" => "平台禁入期内",
        "platform_suspended" => "平台已中止培训",
        "project_unapproved" => "项目未审核",
        "practice_online" => "实操课程线上培训",
        "online_quota" => "超出线上课时上限",
        "clock_tamper" => "篡改时钟",
        "client_tamper" => "篡改客户端",
        "unfocused" => "未专注学习",
        "face_unchecked" => "未完成人脸验证",
        "face_unresolved" => "人脸疑点未消除",
        "face_passive" => "疑似非真人影像",
        "revoked" => "已撤销",
        other => other,
    }
}

/// A cell of another sheet, that a spreadsheet shows as it stands.
pub fn safe_cell(value: &str) -> String {
    safe(value)
}

fn text(value: &str) -> Cow<'_, str> {
    if is_formula(value) || is_number_or_date(value) { Cow::Owned(safe(value)) } else { Cow::Borrowed(value) }
}

/// A cell that a spreadsheet shows as it stands. What would be a formula gets an apostrophe in front; what would be
/// read as a number or a date, and shown as another (an ID number of 18 digits, a class 2-3, a code with leading
/// zeros), gets a tab behind.
fn safe(value: &str) -> String {
    if is_formula(value) {
        format!("'{value}")
    } else if is_number_or_date(value) {
        format!("{value}\t")
    } else {
        value.to_owned()
    }
}

/// Spreadsheets take for formulas what begins so, in full width as well; what they skip first is as bad.
fn is_formula(value: &str) -> bool {
    value.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠', '|', '%'])
        || value.trim_start() != value && is_formula(value.trim_start())
}

fn is_number_or_date(value: &str) -> bool {
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | 'e' | 'E' | '+' | '-' | '/' | ':' | ' ');
    let begins = value.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let plain = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    begins && value.chars().all(numeric) && !(plain && value.len() <= DIGITS_SHOWN)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::store::ledger::LedgerMakeup;

    pub(crate) fn entry(session: &str, status: &str, hundredths: i64) -> LedgerEntry {
        LedgerEntry {
            session: session.to_owned(),
            learner: "l1".to_owned(),
            external_reference: Some("110101199003070011".to_owned()),
            platform: "p1".to_owned(),
            platform_name: "=cmd|'/c calc'!A1".to_owned(),
            region: "411300".to_owned(),
            project: "j1".to_owned(),
            project_name: "电工,\"五级\"\n一期".to_owned(),
            class: "2-3".to_owned(),
            withdrawn_at: Some(1_772_298_000_000),
            lesson: "e1".to_owned(),
            lesson_position: 1,
            lesson_title: "安全用电".to_owned(),
            opened_at: 1_772_294_400_000,
            closed_at: 1_772_298_000_000,
            status: status.to_owned(),
            version: 1,
            policy: "default".to_owned(),
            decided_at: 1_772_298_000_000,
            reviewer: None,
            watch_ms: 2,
            watched_ms: 3,
            creditable_ms: 4,
            credited_ms: 5,
            credited_hundredths: hundredths,
            credited_hours: hours(hundredths),
            completed: true,
            rules: vec!["unfocused".to_owned(), "new_rule".to_owned()],
            violations_total: 2,
            log_digest: "ab".repeat(32),
            photos: vec![LedgerPhoto { capture: "c1".to_owned(), digest: "cd".repeat(32) }],
            makeup: Some(LedgerMakeup {
                id: "m1".to_owned(),
                reference: "补课〔2026〕1号".to_owned(),
                office: "南阳市人社局".to_owned(),
            }),
        }
    }

    fn read(bytes: &[u8]) -> Vec<csv::StringRecord> {
        let text = bytes.strip_prefix(BYTE_ORDER_MARK).expect("a byte order mark");
        csv::ReaderBuilder::new().has_headers(false).from_reader(text).records().collect::<Result<_, _>>().unwrap()
    }

    fn cell<'a>(record: &'a csv::StringRecord, heading: &str) -> &'a str {
        &record[HEADINGS.iter().position(|known| *known == heading).unwrap()]
    }

    #[test]
    fn a_sheet_reads_as_it_was_written_whatever_is_in_it() {
        let mut sheet = Sheet::default();
        let mut bytes = sheet.rows(&[entry("s1", "valid", 108), entry("s2", "review", 50)]);
        bytes.append(&mut sheet.rows(&[entry("s3", "invalid", 0), entry("s4", "valid", 33)]));
        bytes.append(&mut sheet.finish());
        let records = read(&bytes);
        assert_eq!(records.len(), 1 + 4 + 4);
        assert_eq!(records[0].iter().collect::<Vec<_>>(), HEADINGS);
        let first = &records[1];
        for (heading, expected) in [
            ("会话编号", "s1"),
            ("平台学员编号", "110101199003070011\t"),
            ("平台名称", "'=cmd|'/c calc'!A1"),
            ("地区代码", "411300"),
            ("项目名称", "电工,\"五级\"\n一期"),
            ("班级", "2-3\t"),
            ("退班时间", "2026-03-01 01:00:00"),
            ("开始时间", "2026-03-01 00:00:00"),
            ("结论", "有效"),
            ("认定学时", "1.08"),
            ("违规规则", "未专注学习、new_rule"),
            ("补课批准文号", "补课〔2026〕1号"),
        ] {
            assert_eq!(cell(first, heading), expected, "{heading}");
        }
        assert_eq!((cell(&records[2], "认定学时"), cell(&records[2], "待复核学时")), ("0.00", "0.50"));
        let sums: Vec<_> = records[5..]
            .iter()
            .map(|sums| (&sums[0], cell(sums, "会话数"), cell(sums, "认定学时"), cell(sums, "待复核学时")))
            .collect();
        assert_eq!(
            sums,
            [
                ("合计:有效", "2", "1.41", "0.00"),
                ("合计:待复核", "1", "0.00", "0.50"),
                ("合计:无效", "1", "0.00", "0.00"),
                ("合计", "4", "1.41", "0.50"),
            ]
        );
        let text = String::from_utf8(bytes).unwrap();
        let lines = text.matches("\r\n").count();
        assert_eq!(lines, 9, "each record ends in CR LF");
    }

    #[test]
    fn an_empty_sheet_still_has_headings_and_sums() {
        let records = read(&Sheet::default().finish());
        assert_eq!((records.len(), &records[4][0], &records[4][1]), (5, "合计", "0"));
    }

    #[test]
    fn cells_that_spreadsheets_would_change_are_defused_and_no_others() {
        for (value, shown) in [
            ("=1+1", "'=1+1"),
            ("+8613800000000", "'+8613800000000"),
            ("-2", "'-2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("  =1", "'  =1"),
            ("\t=1", "'\t=1"),
            ("＝1", "'＝1"),
            ("110101199003070011", "110101199003070011\t"),
            ("007", "007\t"),
            ("2026-3-1", "2026-3-1\t"),
            ("12e5", "12e5\t"),
            ("3/4", "3/4\t"),
            ("411300", "411300"),
            ("11010119900307001X", "11010119900307001X"),
            ("a=1", "a=1"),
            ("电工", "电工"),
            ("", ""),
        ] {
            assert_eq!(text(value), shown);
            assert_eq!(safe(value), shown);
        }
    }
}
