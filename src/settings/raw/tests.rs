//! What is typed, merged and refused.

use super::*;

fn load(text: &str, variables: &[(&str, &str)], flags: &Flags) -> Result<Settings> {
    let environment = variables
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    Settings::from_parts(text, &environment, flags)
}

#[test]
fn flags_win_over_environment_over_file() {
    let text = "[worker]\nslots = 3\nmax_attempts = 7\ndrain_seconds = 1";
    let environment = [
        ("CIPHERMILL_WORKER__SLOTS", "4"),
        ("CIPHERMILL_AMQP__URLS", "amqp://a, amqps://b"),
    ];
    let settings = load(
        text,
        &environment,
        &vec![("worker.drain_seconds", "9".into())],
    )
    .expect("settings");
    assert_eq!(
        (settings.worker.slots, settings.worker.max_attempts),
        (4, 7)
    );
    assert_eq!(settings.worker.drain, Duration::from_secs(9));
    assert_eq!(settings.amqp.urls, ["amqp://a", "amqps://b"]);
}

#[test]
fn unknown_and_impossible_settings_are_refused_by_name() {
    let unknown = load("[worker]\nslotz = 3", &[], &vec![]).expect_err("unknown key");
    assert!(unknown.message.contains("slotz"), "{unknown}");
    assert!(load("[wroker]\nslots = 3", &[], &vec![]).is_err());
    assert!(load("", &[("CIPHERMILL_WORKER__SLOTZ", "1")], &vec![]).is_err());
    for (text, setting) in [
        ("[worker]\nslots = 0", "worker.slots"),
        (
            "[worker]\nbudget_bytes = 33554432\n[s3]\npart_bytes = 16777216",
            "worker.budget_bytes",
        ),
        ("[s3]\nflavour = 'x'", "s3.flavour"),
        ("[amqp]\nurls = ['http://x']", "amqp.urls"),
        ("[worker]\nadmin_listen = 'x'", "worker.admin_listen"),
        ("[worker]\nledger_prefix = '../x/'", "worker.ledger_prefix"),
    ] {
        let fault = load(text, &[], &vec![]).expect_err(text);
        assert_eq!(fault.pointer.as_deref(), Some(setting));
    }
}
