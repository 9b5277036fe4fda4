//! What a finding says to people, in Chinese and in English: made from its code and its numbers.

use serde_json::{Map, Value};

use super::Code;

/// Where it says that there should be warnings.
pub const CLAUSE_SOURCE: &str = "福建八条措施 七";
/// What it says.
pub const CLAUSE_TEXT: &str = "设置风控预警功能，为参训人员身份识别、培训项目筛查比对、远程实时监管等提供技术支撑";

/// A finding in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// in Chinese
    pub zh: String,
    /// in English
    pub en: String,
}

/// What a finding of this code with these numbers says.
pub fn explain(code: Code, evidence: &Map<String, Value>) -> Explanation {
    let (zh, en) = texts(code);
    let [scope_zh, scope_en] = scope_in_words(evidence);
    Explanation { zh: fill(zh, evidence, scope_zh), en: fill(en, evidence, scope_en) }
}

/// Where faces were searched; the evidence says in which class, or behind which address.
fn scope_in_words(evidence: &Map<String, Value>) -> [&'static str; 2] {
    let scope = evidence.get("scope").and_then(Value::as_str).unwrap_or_default();
    match scope.split(':').next().unwrap_or_default() {
        "class" => ["同班学员", "a class's learners"],
        "platform" => ["同平台学员", "a platform's learners"],
        "device" => ["同一设备的学员", "those on a device"],
        "address" => ["同一网络地址的学员", "those behind an address"],
        "learners" => ["指定学员", "a set of learners"],
        "versions" => ["本人的登记照片", "the learner's own photos"],
        "everybody" => ["全部学员", "everybody"],
        _ => ["?", "?"],
    }
}

fn texts(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::DeviceLearners => (
            "同一设备在{days}天内有{learners}名学员使用（阈值{thresholds.learners}名）。家庭或机房共用设备也会如此，请核实。",
            "{learners} learners used one device within {days} days (threshold {thresholds.learners}). A family or a \
             computer room may do so too: ask.",
        ),
        Code::DeviceAtOnce => (
            "{learners}名学员在同一设备上同时播放课程，共{minutes}分钟（阈值{thresholds.minutes}分钟）。",
            "{learners} learners were playing on one device at the same time, for {minutes} minutes (threshold \
             {thresholds.minutes}).",
        ),
        Code::AddressLearners => (
            "同一网络地址在{days}天内有{learners}名学员（阈值{thresholds.learners}名）。培训机构或运营商共用出口地址也会如此，仅供参考。",
            "{learners} learners came from one network address within {days} days (threshold {thresholds.learners}). A \
             training centre or a carrier shares one address too: a hint only.",
        ),
        Code::AnswersRegular => (
            "最近{answers}次弹窗作答用时几乎相同：平均{mean_ms}毫秒，变异系数{variation_milli}‰（低于{thresholds.variation_milli}‰）。人作答的快慢通常相差几倍于此。",
            "The latest {answers} prompts were answered in nearly the same time: {mean_ms} ms on average, coefficient \
             of variation {variation_milli}‰ (below {thresholds.variation_milli}‰). People vary several times as much.",
        ),
        Code::AnswersFast => (
            "最近{answers}次弹窗中有{fast}次在{thresholds.fast_ms}毫秒内答对，来不及读题。",
            "{fast} of the latest {answers} prompts were answered rightly within {thresholds.fast_ms} ms: too soon to \
             have been read.",
        ),
        Code::HeartbeatsRegular => (
            "连续{intervals}次心跳间隔精确相同（{interval_ms}毫秒），该学员已有{sessions}次学习如此。真实页面的计时器会有毫秒级误差。",
            "{intervals} heartbeats in a row came at exactly one interval ({interval_ms} ms), in {sessions} session(s) of \
             this learner. A page's timer is off by milliseconds.",
        ),
        Code::PositionLocked => (
            "连续{intervals}次心跳中播放位置与客户端时钟逐毫秒一致，该学员已有{sessions}次学习如此。真实播放器会有毫秒级误差。",
            "Over {intervals} heartbeats in a row the position followed the client's clock to the millisecond, in \
             {sessions} session(s) of this learner. A real player is off by milliseconds.",
        ),
        Code::HeartbeatsCopied => (
            "两名学员的心跳间隔有{blocks}段（每段64次）逐毫秒相同，说明是回放同一段录制的数据。",
            "The heartbeats of two learners have {blocks} block(s) of 64 intervals in common to the millisecond: a \
             recording is being replayed.",
        ),
        Code::StartsTogether => (
            "两名学员在共同学习的{days_both}天中有{days}天在{thresholds.window_ms}毫秒内同时开始学习（阈值{thresholds.days}天）。",
            "Two learners started within {thresholds.window_ms} ms of each other on {days} of the {days_both} days on \
             which both learn (threshold {thresholds.days}).",
        ),
        Code::StartsEven => (
            "连续{starts}名学员以均匀间隔开始学习：平均{spacing_ms}毫秒，变异系数{variation_milli}‰（低于{thresholds.variation_milli}‰），像是程序逐个启动。",
            "{starts} learners in a row started at an even pace: every {spacing_ms} ms, coefficient of variation \
             {variation_milli}‰ (below {thresholds.variation_milli}‰), as a program starts them.",
        ),
        Code::PlayingTwice => (
            "同一学员在两次学习中同时播放{overlap_s}秒（阈值{thresholds.overlap_ms}毫秒）。",
            "One learner was playing in two sessions at the same time, for {overlap_s} s (threshold \
             {thresholds.overlap_ms} ms).",
        ),
        Code::RateHigh => (
            "该平台{days}天内{learner_days}个学员日中有{faulty}个出现无效学习（{rate_percent}%），高于其他{peers}家平台的{peers_rate_percent}%（相差{standard_errors}个标准误）。",
            "{faulty} of this platform's {learner_days} learner-days in {days} days hold an invalid session \
             ({rate_percent} %), more than the {peers_rate_percent} % of {peers} other platforms \
             ({standard_errors} standard errors apart).",
        ),
        Code::FaceLearners => (
            "{learners}名学员的登记照片是同一张面孔（最高相似度{similarity}，阈值{thresholds.similarity}；检索范围{scope}，共比对{compared}次）。此类检索预计每天误报{expected_false_hits_day}次。双胞胎也会如此，请比对两张照片后再处理。",
            "{learners} learners are enrolled with one face (similarity {similarity}, threshold {thresholds.similarity}; \
             searched among {scope}, {compared} comparisons). Of such searches {expected_false_hits_day} false hits a day are \
             expected. Twins look alike too: compare the photos first.",
        ),
        Code::FacesOfLearner => (
            "该学员的登记照片先后更换过，最新照片与较早的一张不像同一人（相似度{similarity}，低于{thresholds.similarity}）。同一人约有{missed_percent}%的概率如此，请比对两张照片后再处理。",
            "This learner's enrolment photo was replaced, and the newest is not like an earlier one (similarity {similarity}, \
             below {thresholds.similarity}). Photos of one person are so in about {missed_percent} % of cases: compare the \
             photos first.",
        ),
        Code::RateLow => (
            "该平台{days}天内{learner_days}个学员日中有{faulty}个出现无效学习（{rate_percent}%），低于其他{peers}家平台的{peers_rate_percent}%（相差{standard_errors}个标准误）。",
            "{faulty} of this platform's {learner_days} learner-days in {days} days hold an invalid session \
             ({rate_percent} %), fewer than the {peers_rate_percent} % of {peers} other platforms \
             ({standard_errors} standard errors apart).",
        ),
    }
}

/// To a thousandth; what is less, but not nothing, as it is.
fn share(share: f64) -> String {
    let rounded = (share * 1_000.0).round() / 1_000.0;
    if rounded == 0.0 { share.to_string() } else { rounded.to_string() }
}

/// Puts numbers into their places, shares to a thousandth: `{name}`, or `{thresholds.name}`. One that is missing shows as `?`.
fn fill(text: &str, evidence: &Map<String, Value>, scope: &str) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        filled.push_str(before);
        let value = match name.split_once('.') {
            Some((group, name)) => evidence.get(group).and_then(|group| group.get(name)),
            None => evidence.get(name),
        };
        match value {
            _ if name == "scope" => filled.push_str(scope),
            Some(Value::String(text)) => filled.push_str(text),
            Some(Value::Number(number)) if number.is_f64() => filled.push_str(&share(number.as_f64().unwrap_or(0.0))),
            Some(value) => filled.push_str(&value.to_string()),
            None => filled.push('?'),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_search_is_told_in_words_and_in_numbers_that_can_be_read() {
        let Value::Object(evidence) = json!({"learners": 3, "similarity": 0.912_345, "scope": "address:2b90", "compared": 14,
            "expected_false_hits_day": 0.000_02, "thresholds": {"similarity": 0.444_721}})
        else {
            panic!()
        };
        let texts = explain(Code::FaceLearners, &evidence);
        for part in ["3名学员", "最高相似度0.912，", "阈值0.445；", "检索范围同一网络地址的学员，", "误报0.00002次"]
        {
            assert!(texts.zh.contains(part), "{part}: {}", texts.zh);
        }
        assert!(texts.en.contains("searched among those behind an address, 14 comparisons"), "{}", texts.en);
    }
}
