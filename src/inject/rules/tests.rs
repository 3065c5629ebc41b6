//! Rules: which calls they take, and what each effect becomes.

use super::*;

fn call(operation: &'static str, target: &str) -> Call {
    Call {
        seam: Seam::Store,
        operation,
        target: target.into(),
        number: 1,
    }
}

fn lost() -> Fault {
    Fault::new(Code::StoreDown, "lost")
}

fn acts(rules: &Rules, operation: &'static str, target: &str, calls: usize) -> Vec<Act> {
    let acts = (0..calls).map(|_| rules.decide(&call(operation, target)).act);
    acts.collect()
}

#[test]
fn a_rule_takes_the_calls_it_names_from_one_on_for_some_times() {
    let rule = Rule::new(Effect::LoseAnswer(lost()));
    let rule = rule.seam(Seam::Store).operation("put").target("film");
    let rules = Rules::new([rule.from(2).times(2)]);
    assert_eq!(
        acts(&rules, "put", "s3://other/x", 3),
        [const { Act::Work }; 3]
    );
    assert_eq!(
        acts(&rules, "head", "s3://bucket/film", 3),
        [const { Act::Work }; 3]
    );
    let got = acts(&rules, "put", "s3://bucket/film", 4);
    let lose = Act::LoseAnswer(lost());
    assert_eq!(got, [Act::Work, lose.clone(), lose, Act::Work]);
    assert_eq!(rules.applied(), [2]);
    let keys = Call {
        seam: Seam::Keys,
        ..call("put", "film")
    };
    assert_eq!(rules.decide(&keys).act, Act::Work);
}

#[test]
fn the_first_rule_wins_and_the_others_still_count() {
    let first = Rule::new(Effect::Fail(lost())).times(1);
    let second = Rule::new(Effect::Throttle).from(2).times(1);
    let rules = Rules::new([first, second]);
    let got = acts(&rules, "put", "x", 3);
    assert_eq!(got[0], Act::Refuse(lost()));
    let Act::Refuse(throttled) = &got[1] else {
        panic!("{got:?}");
    };
    assert_eq!(throttled.code, Code::StoreDown);
    assert_eq!(got[2], Act::Work);
    assert_eq!(rules.applied(), [1, 1]);
    rules.clear();
    assert_eq!(acts(&rules, "put", "x", 1), [Act::Work]);
}

#[test]
fn throttling_is_told_in_the_words_of_the_seam() {
    let seams = [
        (Seam::Store, Code::StoreDown),
        (Seam::Keys, Code::KeyServiceDown),
        (Seam::Queue, Code::BrokerDown),
    ];
    for (seam, code) in seams {
        let call = Call {
            seam,
            ..call("x", "y")
        };
        let Act::Refuse(fault) = Effect::Throttle.on(&call).act else {
            panic!("not refused");
        };
        assert_eq!(fault.code, code);
    }
}

#[tokio::test(start_paused = true)]
async fn delays_and_hangs_stand_on_their_side_of_the_call() {
    let on = |effect: Effect| effect.on(&call("put", "x"));
    let time = Duration::from_secs(7);
    let begun = tokio::time::Instant::now();
    on(Effect::DelayBefore(time)).before.expect("a wait").await;
    on(Effect::DelayAfter(time)).after.expect("a wait").await;
    assert_eq!(begun.elapsed(), 2 * time);
    for wait in [on(Effect::HangBefore).before, on(Effect::HangAfter).after] {
        let hangs = tokio::time::timeout(time, wait.expect("a wait")).await;
        assert!(hangs.is_err(), "it came back");
    }
    assert!(on(Effect::HangBefore).after.is_none() && on(Effect::HangAfter).before.is_none());
}

#[test]
fn reads_are_cut_or_slowed_down() {
    let cut = Effect::Truncate {
        bytes: 5,
        fault: lost(),
    };
    let expected = Act::Truncate {
        bytes: 5,
        fault: lost(),
    };
    assert_eq!(cut.on(&call("read", "x")).act, expected);
    let slow = Effect::Trickle {
        bytes_per_second: 9,
    };
    let expected = Act::Trickle {
        bytes_per_second: 9,
    };
    assert_eq!(slow.on(&call("read", "x")).act, expected);
}
