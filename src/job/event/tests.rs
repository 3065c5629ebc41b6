//! Events as they stand on the wire.

use serde_json::json;

use super::*;
use crate::fault::Code;

fn event(state: State, data: EventData) -> Event {
    let digest = JobDigest::of_bytes(b"{}");
    let id = terminal_id(Some("film-42"), state, digest);
    let time = "2026-01-02T03:04:05Z".into();
    Event::new(
        state,
        Some("film-42"),
        id,
        "ciphermill/worker-1",
        time,
        data,
    )
}

fn succeeded() -> Event {
    let output = OutputResult {
        bytes: Some(1024),
        checksum: Some(ChecksumResult {
            algorithm: Checksum::Crc64nvme,
            value: "AAAAAAAAAAA=".into(),
        }),
        encryption: Some(json!({ "mode": "cobblestone" })),
        ..OutputResult::default()
    };
    let data = EventData {
        input: Some(InputResult::default()),
        outputs: vec![output],
        seconds: Some(0.25),
        ..EventData::default()
    };
    event(State::Succeeded, data)
}

fn failed() -> Event {
    let fault = Fault::new(Code::StoreDown, "no answer").at("/input/url");
    let report = FaultReport::from(&fault);
    let data = EventData {
        faults: vec![report.clone()],
        fault: Some(report),
        ..EventData::default()
    };
    event(State::Failed, data)
}

#[test]
fn events_are_clean_json_and_read_back() {
    let json = serde_json::to_value(succeeded()).expect("serialise");
    assert_eq!(json["type"], "dev.ciphermill.job.succeeded");
    assert_eq!(json["id"], "film-42:succeeded:44136fa355b3678a");
    assert_eq!(json["data"]["outputs"][0]["status"], "written");
    assert_eq!(
        json["data"]["outputs"][0]["checksum"]["algorithm"],
        "crc64nvme"
    );
    assert!(!json.to_string().contains("null"));
    assert!(json["data"].get("labels").is_none());
    let back: Event = serde_json::from_value(json).expect("deserialise");
    assert_eq!(back, succeeded());
}

#[test]
fn a_fault_report_says_what_to_do() {
    let json = serde_json::to_value(failed()).expect("serialise");
    let fault = &json["data"]["fault"];
    assert_eq!(fault["code"], "store_down");
    assert_eq!(fault["pointer"], "/input/url");
    assert_eq!(fault["help"], Code::StoreDown.help());
    assert_eq!(fault["retryable"], true);
}

#[test]
fn unknown_fields_and_types_are_tolerated() {
    let mut json = serde_json::to_value(succeeded()).expect("serialise");
    json["traceparent"] = json!("00-1-2-01");
    json["data"]["new"] = json!({});
    json["type"] = json!("dev.ciphermill.job.paused");
    let event: Event = serde_json::from_value(json).expect("deserialise");
    assert_eq!(event.state(), None);
    assert_eq!(succeeded().state(), Some(State::Succeeded));
}

#[test]
fn events_fit_their_schema() {
    let schema = jsonschema::validator_for(&crate::job::schema::event()).expect("a schema");
    let started = event(State::Started, EventData::default());
    for event in [succeeded(), failed(), started] {
        let json = serde_json::to_value(event).expect("serialise");
        assert!(schema.is_valid(&json), "{json}");
    }
}

#[test]
fn only_ends_are_terminal_and_ids_are_stable() {
    let digest = JobDigest::of_bytes(b"x");
    assert_eq!(
        terminal_id(None, State::Failed, digest),
        format!("-:failed:{}", digest.short())
    );
    assert_eq!(
        State::ALL.map(State::is_terminal),
        [false, false, true, true]
    );
    for state in State::ALL {
        assert_eq!(state.routing_key(), format!("job.{}", state.as_str()));
    }
}
