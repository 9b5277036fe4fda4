//! What is taught: the demo's own lesson with its own questions, so that an honest learner knows the answers.

use serde_json::{Value, json};

/// Length of a lesson: long enough to break the rule of a prompt in five minutes.
pub const LESSON_MS: i64 = 390_000;

struct Question {
    text: &'static str,
    right: &'static str,
    wrong: [&'static str; 3],
}

/// 电工 (electrician), first lesson.
const QUESTIONS: &[Question] = &[
    Question {
        text: "检修线路之前首先应当做什么？",
        right: "切断电源并验电",
        wrong: ["戴好帽子", "打开窗户", "通知邻居"],
    },
    Question {
        text: "我国民用单相交流电的标称电压是多少？", right: "220 伏", wrong: ["110 伏", "380 伏", "36 伏"]
    },
    Question {
        text: "保护接地线的绝缘颜色是哪一种？", right: "黄绿双色", wrong: ["红色", "蓝色", "黑色"]
    },
    Question {
        text: "发现有人触电时首先应当做什么？",
        right: "使其脱离电源",
        wrong: ["用手拉开他", "泼水降温", "等待医生"],
    },
    Question {
        text: "测量电流时电流表应当怎样接入电路？", right: "串联", wrong: ["并联", "悬空", "接地"]
    },
    Question { text: "电阻的单位是什么？", right: "欧姆", wrong: ["伏特", "安培", "瓦特"] },
    Question {
        text: "电气设备着火时应当使用哪一种灭火器？",
        right: "干粉灭火器",
        wrong: ["水", "泡沫灭火器", "湿毛巾"],
    },
    Question {
        text: "漏电保护器的作用是什么？",
        right: "漏电时自动切断电源",
        wrong: ["节约用电", "提高电压", "测量电量"],
    },
    Question {
        text: "低压验电笔不能用于多高的电压？", right: "500 伏以上", wrong: ["24 伏", "36 伏", "220 伏"]
    },
    Question {
        text: "登高作业必须佩戴什么？", right: "安全带", wrong: ["太阳镜", "耳机", "围巾"]
    },
];

/// A lesson as the API takes it.
pub fn lesson(title: &str) -> Value {
    lesson_of(title, LESSON_MS)
}

/// One of another length, ms.
pub fn lesson_of(title: &str, duration_ms: i64) -> Value {
    let questions = QUESTIONS.iter().enumerate().map(|(index, question)| {
        let right = index % 4;
        let mut options = question.wrong.to_vec();
        options.insert(right, question.right);
        json!({"text": question.text, "options": options, "right": right})
    });
    json!({
        "title": title,
        "duration_ms": duration_ms,
        "kind": "theory",
        "questions": questions.collect::<Vec<_>>(),
    })
}

/// What somebody who listened to the lesson answers.
pub fn right_answer(text: &str) -> Option<&'static str> {
    QUESTIONS.iter().find(|question| question.text == text).map(|question| question.right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_told_which_option_is_right() {
        let lesson = lesson("一");
        for question in lesson["questions"].as_array().unwrap() {
            let right = &question["options"][question["right"].as_u64().unwrap() as usize];
            assert_eq!(right.as_str(), right_answer(question["text"].as_str().unwrap()));
            assert_eq!(question["options"].as_array().unwrap().len(), 4);
        }
        assert_eq!(right_answer("?"), None);
    }
}
