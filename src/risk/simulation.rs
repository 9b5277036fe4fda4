//! Learners, honest and not, as the detectors see them: how often the honest are suspected, and the others found.
//!
//! The honest ones are given everything that makes honest traffic look odd: idle machines with exact timers, browsers
//! with coarse clocks, silent films, classes that start at nine, families with one tablet, carriers with few addresses.
//! All of it follows from one seed. Tests and `invigil bench risk` run the same. The models' numbers are assumptions,
//! named in docs/risk.md; they are no measurement of real learners.

use std::sync::Arc;

use super::{Code, Effects, Engine, Observation, SessionSigns, Sign, Who};
use crate::log::{Body, ClockReading, Event, Heartbeat, Origin, PromptAnswered, PromptIssued};
use crate::log::{PromptOutcome, PromptResolved};
use crate::policy::Policy;

/// A Monday at midnight in China, ms since the Unix epoch.
const MONDAY: i64 = 1_788_105_600_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Time between heartbeats.
const BEAT_MS: f64 = 5_000.0;
/// Heartbeats of a lesson of 45 minutes.
const BEATS: usize = 540;

/// One row of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// who was simulated
    pub who: &'static str,
    /// what could be found
    pub codes: &'static [Code],
    /// whether it should be found
    pub honest: bool,
    /// how many could have been found
    pub trials: u64,
    /// how many were found
    pub found: u64,
}

/// A small generator (SplitMix64): the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// A generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// Of median `median` and with standard deviation `sigma` of its logarithm.
    fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }
}

fn name(kind: &str, number: u64) -> Arc<str> {
    format!("{kind}{number}").into()
}

fn who(policy: &Arc<Policy>, platform: &Arc<str>, learner: &Arc<str>, session: u64) -> Arc<Who> {
    let (learner, platform) = (learner.clone(), platform.clone());
    Arc::new(Who { session: name("s", session), learner, platform, policy: policy.clone() })
}

/// Counts the subjects that have a finding of one of `codes`.
fn found(effects: &Effects, codes: &[Code]) -> u64 {
    let findings = effects.findings.iter().filter(|finding| codes.contains(&finding.code));
    let subjects: std::collections::BTreeSet<&str> = findings.map(|finding| finding.subject.as_str()).collect();
    subjects.len() as u64
}

// --- heartbeats ------------------------------------------------------------------------------------------------------

/// How a page's timer and clock behave.
#[derive(Clone, Copy, Debug)]
struct Browser {
    name: &'static str,
    /// mean delay of a timer, ms, and how often something holds it up for how long on average
    delay_ms: f64,
    held_up: f64,
    held_up_ms: f64,
    /// steps of its clock, ms
    step_ms: f64,
    /// the next timer is set when the last has fired
    chained: bool,
    /// the player's clock is the machine's: a film without sound
    silent: bool,
}

const IDLE: Browser = Browser {
    name: "page on an idle machine",
    delay_ms: 0.3,
    held_up: 0.01,
    held_up_ms: 8.0,
    step_ms: 0.1,
    chained: false,
    silent: false,
};

const BROWSERS: [Browser; 7] = [
    IDLE,
    Browser { name: "page on an idler machine, silent film", delay_ms: 0.05, held_up: 0.02, silent: true, ..IDLE },
    Browser { name: "page on a busy machine", delay_ms: 3.0, held_up: 0.1, held_up_ms: 40.0, ..IDLE },
    Browser { name: "page with chained timers", chained: true, ..IDLE },
    Browser { name: "page with a clock of 1 ms, silent film", step_ms: 1.0, silent: true, ..IDLE },
    Browser { name: "page with a clock of 16.67 ms, silent film", step_ms: 1000.0 / 60.0, silent: true, ..IDLE },
    Browser { name: "page with a clock of 100 ms, silent film", step_ms: 100.0, silent: true, ..IDLE },
];

/// A heartbeat as it is sent: client's clock and position.
type Beat = (i64, i64);

/// The heartbeats of one lesson in this browser, and moments of other events.
fn browse(browser: &Browser, draw: &mut Draw) -> (Vec<Beat>, Vec<i64>) {
    let shown = |time: f64| ((time / browser.step_ms).floor() * browser.step_ms + 1e-6).floor() as i64;
    let begin = draw.between(500.0, 20_000.0);
    let drift = draw.between(-50e-6, 50e-6);
    let (mut beats, mut due) = (Vec::with_capacity(BEATS), begin);
    for _ in 0..BEATS {
        due += BEAT_MS;
        let held_up_ms = if draw.chance(browser.held_up) { draw.exponential(browser.held_up_ms) } else { 0.0 };
        let fired = due + draw.exponential(browser.delay_ms) + held_up_ms;
        let pos = match browser.silent {
            true => fired - begin + draw.between(0.0, 0.1),
            false => (fired - begin) * (1.0 + drift) + 8.0 * draw.normal(),
        };
        beats.push((shown(fired), shown(pos.max(0.0))));
        if browser.chained {
            due = fired;
        }
    }
    let end = BEAT_MS * BEATS as f64;
    let others = (0..30).map(|_| shown(begin + draw.between(0.0, end))).collect();
    (beats, others)
}

/// Feeds a lesson's heartbeats to a session's signs, other events among them.
fn feed(beats: &[Beat], others: &[i64], policy: &Policy, told: &mut Vec<Sign>) {
    let mut signs = SessionSigns::default();
    let mut others: Vec<i64> = others.to_vec();
    others.sort_unstable();
    let mut others = others.into_iter().peekable();
    let mut observe = |ct, body| {
        let origin = Origin::Client { seq: 1, ct };
        signs.observe(&Event { n: 1, at: MONDAY + ct, origin, body }, &policy.risk, told);
    };
    for (ct, pos_ms) in beats {
        while let Some(other) = others.next_if(|other| other <= ct) {
            observe(other, Body::PromptAnswered(PromptAnswered { prompt: "q".into(), answer: "".into() }));
        }
        observe(*ct, Body::Heartbeat(Heartbeat { playing: true, pos_ms: *pos_ms, rate: 1.0 }));
    }
}

const EVEN: &[Code] = &[Code::HeartbeatsRegular, Code::PositionLocked];

/// Learners who take a course each, with heartbeats as `page` makes them.
struct Courses<'a> {
    policy: &'a Arc<Policy>,
    engine: Engine,
    effects: Effects,
    learners: u64,
    lessons: u64,
}

impl<'a> Courses<'a> {
    fn new(policy: &'a Arc<Policy>) -> Self {
        Self { policy, engine: Engine::default(), effects: Effects::default(), learners: 0, lessons: 0 }
    }

    fn take(&mut self, lessons: u64, draw: &mut Draw, page: impl Fn(&mut Draw) -> (Vec<Beat>, Vec<i64>)) {
        self.learners += 1;
        for _ in 0..lessons {
            self.lessons += 1;
            let ((beats, others), mut told) = (page(draw), Vec::new());
            feed(&beats, &others, self.policy, &mut told);
            let who = who(self.policy, &name("p", 1), &name("l", self.learners), self.lessons);
            for sign in told {
                self.engine.observe(&Observation { who: who.clone(), at: MONDAY, sign }, &mut self.effects);
            }
        }
    }
}

fn honest_heartbeats(learners: u64, policy: &Arc<Policy>, draw: &mut Draw) -> Vec<Outcome> {
    let (mut all, mut outcomes, mut before) = (Courses::new(policy), Vec::new(), 0);
    for browser in &BROWSERS {
        for _ in 0..learners {
            all.take(LESSONS, draw, |draw| browse(browser, draw));
        }
        let found = found(&all.effects, EVEN) - before;
        before += found;
        outcomes.push(Outcome { who: browser.name, codes: EVEN, honest: true, trials: learners, found });
    }
    let (codes, trials): (&[Code], _) = (&[Code::HeartbeatsCopied], all.lessons);
    let found = found(&all.effects, codes);
    outcomes.push(Outcome { who: "all lessons of all these pages together", codes, honest: true, trials, found });
    outcomes
}

fn forged_heartbeats(learners: u64, policy: &Arc<Policy>, draw: &mut Draw) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    type Forgery = fn(&mut Draw) -> (Vec<Beat>, Vec<i64>);
    let counted: Forgery = |draw| {
        let zero = draw.below(100_000) as i64;
        let beats = (1..=BEATS as i64).map(|beat| (zero + beat * 5_000, beat * 5_000)).collect();
        (beats, (0..30).map(|_| zero + draw.below(2_700_000) as i64).collect())
    };
    let on_the_beat: Forgery = |draw| {
        let beats = (1..=BEATS as i64).map(|beat| (beat * 5_000, beat * 5_000)).collect();
        (beats, (0..30).map(|_| draw.below(540) as i64 * 5_000).collect())
    };
    let jittered: Forgery = |draw| {
        let mut ct = 0;
        let beat = |_| {
            ct += 4_000 + draw.below(2_000) as i64;
            (ct, ct)
        };
        let beats: Vec<Beat> = (0..BEATS).map(beat).collect();
        let end = beats[BEATS - 1].0 as u64;
        (beats, (0..30).map(|_| draw.below(end) as i64).collect())
    };
    let real_timer: Forgery = |draw| {
        let (beats, others) = browse(&IDLE, draw);
        (beats.into_iter().map(|(ct, _)| (ct, ct + draw.below(40) as i64)).collect(), others)
    };
    for (who, forge) in [
        ("script that counts up its clock, four lessons", counted),
        ("script that does all on the beat, four lessons", on_the_beat),
        ("script with random intervals, position from its clock, four lessons", jittered),
        ("script with a real timer and noise on the position, four lessons", real_timer),
    ] {
        let mut all = Courses::new(policy);
        for _ in 0..learners {
            all.take(4, draw, forge);
        }
        let found = found(&all.effects, EVEN);
        outcomes.push(Outcome { who, codes: EVEN, honest: false, trials: learners, found });
    }
    outcomes.push(replayed(learners, policy, draw));
    outcomes
}

/// Each lesson of one learner is recorded, and played again by another with another zero of the clock.
fn replayed(lessons: u64, policy: &Arc<Policy>, draw: &mut Draw) -> Outcome {
    let (mut engine, mut effects) = (Engine::default(), Effects::default());
    for lesson in 0..lessons {
        let (mut beats, others) = browse(&BROWSERS[(lesson % 4) as usize], draw);
        for copy in 0..2 {
            beats.iter_mut().for_each(|(ct, _)| *ct += copy * 777);
            let mut told = Vec::new();
            feed(&beats, &others, policy, &mut told);
            let who = who(policy, &name("p", 1), &name("l", lesson * 2 + copy as u64), lesson * 2 + copy as u64);
            for sign in told {
                engine.observe(&Observation { who: who.clone(), at: MONDAY, sign }, &mut effects);
            }
        }
    }
    let codes: &[Code] = &[Code::HeartbeatsCopied];
    let who = "recording of an honest page, played again";
    Outcome { who, codes, honest: false, trials: lessons, found: found(&effects, codes) }
}

// --- learners over weeks ---------------------------------------------------------------------------------------------

/// How large the simulation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// learners of 20 lessons for each kind of page or script
    pub pages: u64,
    /// classes of 40 learners
    pub classes: u64,
    /// days of learning
    pub days: u64,
    /// tries of each kind of cheat
    pub cheats: u64,
}

/// Lessons of a course.
const LESSONS: u64 = 20;
const CLASS: u64 = 40;
const PLATFORMS: u64 = 8;
/// Learners of one platform who all follow one broadcast.
const BROADCAST: u64 = 400;

struct Learner {
    name: Arc<str>,
    platform: Arc<str>,
    device: Arc<str>,
    address: Address,
    /// when they begin in the morning, ms after midnight, and within what time
    begins_ms: i64,
    within_ms: f64,
    answer_ms: f64,
    answer_sigma: f64,
    faulty: f64,
}

enum Address {
    Own,
    Shared(u64),
    Carrier,
}

fn learner(number: u64, classes: u64, draw: &mut Draw) -> Learner {
    let class = number / CLASS;
    let in_broadcast = class >= classes;
    let platform = if in_broadcast { 1 } else { 1 + class % PLATFORMS };
    // Every tenth has a brother or sister on the same tablet; each 20th class sits in a room with two other classes.
    let device = match class % 20 {
        19 => name("room", class / 60 * CLASS + number % CLASS),
        _ if number % 20 == 1 => name("d", number - 1),
        _ => name("d", number),
    };
    let address = match number % 5 {
        _ if class % 20 == 19 => Address::Shared(class),
        0 | 1 => Address::Own,
        2 => Address::Shared(class),
        _ => Address::Carrier,
    };
    let hours = [9, 14, 19];
    // Platforms differ by themselves, from 2 to 6 in a hundred; in each, a tenth of the learners do most of it.
    let rate = 0.02 + 0.04 * (platform - 1) as f64 / (PLATFORMS - 1) as f64;
    Learner {
        name: name("l", number),
        platform: name("p", platform),
        device,
        address,
        begins_ms: hours[(class % 3) as usize] * HOUR_MS,
        within_ms: 60_000.0,
        answer_ms: draw.lognormal(6_000.0, 0.4),
        answer_sigma: draw.between(0.2, 0.6),
        faulty: if number.is_multiple_of(10) { rate * 5.5 } else { rate * 0.5 },
    }
}

/// Everybody learns for two hours a day.
fn honest_weeks(size: Size, policy: &Arc<Policy>, draw: &mut Draw) -> Vec<Outcome> {
    let count = size.classes * CLASS + BROADCAST;
    let learners: Vec<Learner> = (0..count).map(|number| learner(number, size.classes, draw)).collect();
    let (mut engine, mut effects, mut session) = (Engine::default(), Effects::default(), 0);
    for day in 0..size.days {
        let midnight = MONDAY + (day / 5 * 7 + day % 5) as i64 * DAY_MS;
        let begin = |learner: &Learner, draw: &mut Draw| {
            midnight + learner.begins_ms + draw.between(0.0, learner.within_ms) as i64
        };
        let mut starts: Vec<(i64, &Learner)> = learners.iter().map(|learner| (begin(learner, draw), learner)).collect();
        starts.sort_by_key(|(at, _)| *at);
        for (at, learner) in starts {
            session += 1;
            let who = who(policy, &learner.platform, &learner.name, session);
            let mut observe = |at, sign| {
                engine.observe(&Observation { who: who.clone(), at, sign }, &mut effects);
            };
            let address = match learner.address {
                Address::Own => learner.name.clone(),
                Address::Shared(centre) => name("centre", centre),
                Address::Carrier => name("carrier", draw.below(100)),
            };
            let device = Some(learner.device.clone());
            observe(at, Sign::Connected { address: Some(address), device, first: true });
            for prompt in 1..=40 {
                let after_ms = draw.lognormal(learner.answer_ms, learner.answer_sigma).clamp(900.0, 30_000.0);
                let passed = draw.chance(0.93);
                observe(at + prompt * 180_000, Sign::Answered { after_ms: after_ms as i64, passed });
            }
            observe(at + 2 * HOUR_MS, Sign::Closed { faulty: draw.chance(learner.faulty) });
        }
    }
    let honest = |who, codes, trials| Outcome { who, codes, honest: true, trials, found: found(&effects, codes) };
    vec![
        honest("learners answering 40 prompts a day", &[Code::AnswersRegular, Code::AnswersFast], count),
        honest("learners, some with one tablet for two, some in computer rooms", &[Code::DeviceLearners], count),
        honest("centres and 100 carrier addresses", &[Code::AddressLearners], size.classes + 100),
        honest("learners of classes of 40 and a broadcast to 400, all within a minute", &[Code::StartsTogether], count),
        honest("platforms and addresses where they start", &[Code::StartsEven], PLATFORMS + size.classes + 100),
        honest("platforms whose rates range from 2 to 6 %", &[Code::RateHigh, Code::RateLow], PLATFORMS),
    ]
}

/// Plays `script` once for each trial, on an engine of its own; what it should lead to is `code`.
fn cheat(
    who: &'static str,
    codes: &'static [Code],
    trials: u64,
    draw: &mut Draw,
    mut script: impl FnMut(&mut dyn FnMut(u64, i64, Sign), &mut Draw),
) -> Outcome {
    let policy = Arc::new(Policy::default());
    let mut one = |draw: &mut Draw| {
        let (mut engine, mut effects) = (Engine::default(), Effects::default());
        let mut observe = |learner: u64, at: i64, sign: Sign| {
            let who = self::who(&policy, &name("p", learner / 1_000), &name("l", learner), learner);
            engine.observe(&Observation { who, at, sign }, &mut effects);
        };
        script(&mut observe, draw);
        found(&effects, codes) > 0
    };
    let mut found = 0;
    for _ in 0..trials {
        found += u64::from(one(draw));
    }
    Outcome { who, codes, honest: false, trials, found }
}

fn connected(address: &str, device: &str) -> Sign {
    Sign::Connected { address: Some(address.into()), device: Some(device.into()), first: true }
}

fn cheats(trials: u64, draw: &mut Draw) -> Vec<Outcome> {
    const REGULAR: &[Code] = &[Code::AnswersRegular];
    let answers = |delay: fn(&mut Draw) -> f64| {
        move |observe: &mut dyn FnMut(u64, i64, Sign), draw: &mut Draw| {
            for prompt in 0..60 {
                let after_ms = delay(draw).max(1.0) as i64;
                observe(1, MONDAY + prompt * 180_000, Sign::Answered { after_ms, passed: true });
            }
        }
    };
    let bot = answers(|draw| 1_500.0 + 40.0 * draw.normal());
    let jittered = answers(|draw| draw.between(1_700.0, 2_300.0));
    let wide = answers(|draw| draw.between(2_000.0, 5_000.0));
    let clicker = answers(|draw| draw.between(200.0, 700.0));
    vec![
        cheat("bot that answers after 1.5 s", REGULAR, trials, draw, bot),
        cheat("bot that answers after 1.7 to 2.3 s", REGULAR, trials, draw, jittered),
        cheat("bot that answers after 2 to 5 s", REGULAR, trials, draw, wide),
        cheat("bot that clicks within 0.7 s", &[Code::AnswersFast], trials, draw, clicker),
        cheat("stand-in with one device for six learners", &[Code::DeviceLearners], trials, draw, |observe, draw| {
            for learner in 0..6 {
                let at = MONDAY + learner * DAY_MS / 3 + draw.below(3_600_000) as i64;
                observe(learner as u64, at, connected("a", "d"));
            }
        }),
        cheat("three learners playing on one device", &[Code::DeviceAtOnce], trials, draw, |observe, _| {
            for minute in 0..10 {
                for learner in 0..3 {
                    let at = MONDAY + minute * 60_000 + learner * 7_000;
                    observe(learner as u64, at, Sign::Playing { device: Some("d".into()) });
                }
            }
        }),
        cheat("200 learners behind one address in a day", &[Code::AddressLearners], trials, draw, |observe, draw| {
            for learner in 0..200 {
                observe(learner, MONDAY + draw.below(DAY_MS as u64) as i64, connected("a", &name("d", learner)));
            }
        }),
        cheat(
            "five learners started together on eight days",
            &[Code::StartsTogether],
            trials,
            draw,
            |observe, draw| {
                for day in 0..8 {
                    let mut at = MONDAY + day * DAY_MS + draw.below(3_600_000) as i64;
                    for learner in 0..5 {
                        at += draw.below(60) as i64;
                        observe(learner, at, connected(&name("a", learner), &name("d", learner)));
                    }
                }
            },
        ),
        cheat(
            "20 learners started one after the other, a second apart",
            &[Code::StartsEven],
            trials,
            draw,
            |observe, draw| {
                let mut at = MONDAY;
                for learner in 0..20 {
                    at += 1_000 + draw.below(40) as i64;
                    observe(learner, at, connected("a", &name("d", learner)));
                }
            },
        ),
        cheat("learner playing on two platforms", &[Code::PlayingTwice], trials, draw, |observe, draw| {
            let (with_session, with_platform) = ("s9".into(), "p9".into());
            let overlap_ms = 20_000 + draw.below(1_000_000) as i64;
            observe(1, MONDAY, Sign::Conflict { with_session, with_platform, overlap_ms });
        }),
        cheat("platform with 20 % beside five with 4 %", &[Code::RateHigh], trials, draw, |observe, draw| {
            for day in 0..5 {
                for learner in 0..600_u64 {
                    // The platform is the learner's number in thousands.
                    let learner = learner % 6 * 1_000 + learner / 6;
                    let faulty = draw.chance(if learner < 1_000 { 0.2 } else { 0.04 });
                    observe(learner, MONDAY + day * DAY_MS, Sign::Closed { faulty });
                }
            }
        }),
    ]
}

/// Runs all of it.
pub fn run(size: Size, seed: u64) -> Vec<Outcome> {
    let (policy, mut draw) = (Arc::new(Policy::default()), Draw::new(seed));
    let mut outcomes = honest_heartbeats(size.pages, &policy, &mut draw);
    outcomes.extend(honest_weeks(size, &policy, &mut draw));
    outcomes.extend(forged_heartbeats(size.cheats, &policy, &mut draw));
    outcomes.extend(cheats(size.cheats, &mut draw));
    outcomes
}

/// A log of `lessons` lessons as events, for measuring what a session's signs cost.
pub fn events(lessons: u64, seed: u64) -> Vec<Event<'static>> {
    let mut draw = Draw::new(seed);
    let mut events = Vec::new();
    for _ in 0..lessons {
        let (beats, _) = browse(&IDLE, &mut draw);
        for (beat, (ct, pos_ms)) in beats.into_iter().enumerate() {
            let at = MONDAY + ct;
            let server = |body| Event { n: 1, at, origin: Origin::Server, body };
            let origin = Origin::Client { seq: 1, ct };
            if beat == 0 {
                events.push(server(Body::ConnectionOpened(ClockReading { ct })));
            }
            if beat % 30 == 29 {
                let prompt = || "q1".into();
                let issued = PromptIssued { prompt: prompt(), kind: "choice".into(), deadline_at: at + 30_000 };
                events.push(server(Body::PromptIssued(issued)));
                let answered = PromptAnswered { prompt: prompt(), answer: "x".into() };
                events.push(Event { n: 1, at: at + 4_000, origin, body: Body::PromptAnswered(answered) });
                let resolved = PromptResolved { prompt: prompt(), outcome: PromptOutcome::Passed };
                events.push(server(Body::PromptResolved(resolved)));
            }
            let body = Body::Heartbeat(Heartbeat { playing: true, pos_ms, rate: 1.0 });
            events.push(Event { n: 1, at, origin, body });
        }
    }
    events
}
