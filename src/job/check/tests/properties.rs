//! What holds for any message: no panic, faults that point somewhere, and agreement with the
//! published schema.

use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::job::schema;

static SCHEMA: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&schema::job()).expect("a valid schema"));

fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        "\\PC{0,12}",
        proptest::sample::select(vec![
            "version",
            "id",
            "input",
            "outputs",
            "url",
            "encryption",
            "key",
            "kms"
        ])
        .prop_map(String::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        let fields = vec((name.clone(), inner.clone()), 0..8);
        prop_oneof![
            vec(inner, 0..8).prop_map(Value::from),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn base64(bytes: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Value> {
    vec(any::<u8>(), bytes).prop_map(|bytes| Value::from(Base64(bytes).to_string()))
}

fn context() -> impl Strategy<Value = Value> {
    btree_map("\\PC{1,40}", "\\PC{0,40}", 0..4).prop_map(|map| json!(map))
}

/// An object of the fields that are there.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let given = |(name, value): (&str, Option<Value>)| Some((name.to_owned(), value?));
    Value::Object(fields.into_iter().filter_map(given).collect::<Map<_, _>>())
}

fn any_key() -> impl Strategy<Value = Value> {
    let kms = (
        base64(1..200),
        option::of("[a-z0-9-]{1,20}"),
        option::of(context()),
        option::of(base64(16)),
    )
        .prop_map(|(ciphertext, region, context, md5)| {
            let fields = [
                ("ciphertext", Some(ciphertext)),
                ("region", region.map(Value::from)),
                ("context", context),
                ("ciphertext_md5", md5),
            ];
            json!({ "kms": object(fields) })
        });
    let keyring = (base64(1..100), option::of(context())).prop_map(|(wrapped, context)| {
        json!({ "keyring": object([("wrapped", Some(wrapped)), ("context", context)]) })
    });
    let generate = proptest::sample::select(vec![128, 256])
        .prop_map(|bits| json!({ "generate": { "keyring": { "bits": bits } } }));
    prop_oneof![kms, keyring, generate]
}

fn any_encryption() -> impl Strategy<Value = Value> {
    let cobblestone = option::of(base64(0..100)).prop_map(|c| ("cobblestone", None, None, c));
    let ctr = (base64(12), option::of(0..2))
        .prop_map(|(iv, start)| ("aes-ctr", Some(iv), start.map(Value::from), None));
    let others = (
        proptest::sample::select(vec!["aes-gcm", "aes-cbc-pkcs7", "aes-ctr"]),
        option::of(base64(16)),
    )
        .prop_map(|(mode, iv)| (mode, iv, None, None));
    (prop_oneof![cobblestone, ctr, others], any_key()).prop_map(
        |((mode, iv, start, context), key)| {
            object([
                ("mode", Some(mode.into())),
                ("key", Some(key)),
                ("iv", iv),
                ("ctr_start", start),
                ("cobblestone_context", context),
            ])
        },
    )
}

fn any_storage() -> impl Strategy<Value = Value> {
    let metadata = btree_map("[a-z0-9][a-z0-9-]{0,20}", "[ -~]{0,40}", 0..4);
    let tags = btree_map("[a-zäß0-9 +=._:/@-]{4,20}", "[a-zé0-9 ]{0,20}", 0..4);
    (
        option::of("[ -~]{1,30}"),
        option::of(metadata),
        option::of(tags),
    )
        .prop_map(|(content_type, metadata, tags)| {
            object([
                ("content_type", content_type.map(Value::from)),
                ("metadata", metadata.map(|m| json!(m))),
                ("tags", tags.map(|t| json!(t))),
                ("server_side", Some(json!({ "mode": "s3" }))),
            ])
        })
}

/// Jobs that must be accepted.
fn any_job() -> impl Strategy<Value = Value> {
    let output = (
        option::of(any_encryption()),
        option::of(any_storage()),
        any::<bool>(),
    );
    let labels = btree_map("\\PC{1,16}", "\\PC{0,60}", 0..4);
    (
        "[A-Za-z0-9][A-Za-z0-9._-]{0,30}",
        "[^\\pC\\pZ/.]{1,40}",
        vec(output, 1..5),
        option::of(labels),
    )
        .prop_map(|(id, key, outputs, labels)| {
            let outputs =
                outputs
                    .into_iter()
                    .enumerate()
                    .map(|(i, (encryption, storage, required))| {
                        object([
                            ("url", Some(format!("s3://out/{key}/{i}").into())),
                            ("encryption", encryption),
                            ("storage", storage),
                            ("required", Some(required.into())),
                        ])
                    });
            object([
                ("version", Some(1.into())),
                ("id", Some(id.into())),
                (
                    "input",
                    Some(json!({ "url": format!("s3://in-bucket/{key}") })),
                ),
                ("outputs", Some(outputs.collect())),
                ("labels", labels.map(|l| json!(l))),
            ])
        })
}

/// Pointers to every node below the root.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut child = |step: &str, value: &Value| {
        let step = step.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{at}/{step}");
        found.push(pointer.clone());
        pointers(value, &pointer, found);
    };
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, v)| child(&i.to_string(), v)),
        Value::Object(fields) => fields.iter().for_each(|(name, v)| child(name, v)),
        _ => (),
    }
}

fn remove(message: &mut Value, pointer: &str) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let name = name.replace("~1", "/").replace("~0", "~");
    match message.pointer_mut(parent).expect("a parent") {
        Value::Array(items) => drop(items.remove(name.parse().expect("an index"))),
        Value::Object(fields) => drop(fields.remove(&name)),
        _ => panic!("{parent} holds nothing"),
    }
}

/// A fault names a node of the message, or a field that should be in one.
fn points_somewhere(message: &Value, fault: &Fault) -> bool {
    let pointer = fault.pointer.as_deref().unwrap_or_default();
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    message.pointer(pointer).is_some() || message.pointer(parent).is_some()
}

fn check_invariants(message: &Value) {
    match parse_value(message) {
        Ok(_) => {
            let errors: Vec<_> = SCHEMA.iter_errors(message).map(|e| e.to_string()).collect();
            assert!(
                errors.is_empty(),
                "accepted, but not by the schema: {errors:?} {message}"
            );
        }
        Err(rejection) => {
            let count = rejection.faults.len();
            assert!((1..=limits::FAULTS).contains(&count));
            let lost = rejection
                .faults
                .iter()
                .find(|fault| !points_somewhere(message, fault));
            assert_eq!(lost, None, "{message}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(parse(&bytes).is_err());
    }

    #[test]
    fn arbitrary_json_never_panics(message in any_json()) {
        check_invariants(&message);
    }

    #[test]
    fn good_jobs_are_accepted_by_both(message in any_job()) {
        let parsed = parse_value(&message);
        prop_assert!(parsed.is_ok(), "{:?}", parsed);
        check_invariants(&message);
        let again = serde_json::to_value(&parsed.expect("accepted").job).expect("serialise");
        prop_assert!(parse_value(&again).is_ok());
    }

    #[test]
    fn damaged_jobs_never_panic(
        message in prop_oneof![Just(full()), any_job()],
        blows in vec((any::<prop::sample::Index>(), option::of(any_json())), 1..5),
    ) {
        let mut message = message;
        for (index, swap) in blows {
            let mut places = Vec::new();
            pointers(&message, "", &mut places);
            if places.is_empty() {
                continue;
            }
            let place = index.get(&places);
            match swap {
                Some(value) => *message.pointer_mut(place).expect("a node") = value,
                None => remove(&mut message, place),
            }
        }
        check_invariants(&message);
    }

    #[test]
    fn cut_messages_never_panic(at in any::<prop::sample::Index>()) {
        let text = full().to_string();
        prop_assert!(parse(&text.as_bytes()[..at.index(text.len())]).is_err());
    }
}

#[test]
fn examples_fit_the_schema() {
    for message in [smallest(), full()] {
        check_invariants(&message);
        assert!(parse_value(&message).is_ok());
    }
}

/// Wherever the shape is at fault, the schema says so too: every node of the full job in turn gets
/// a value of the wrong type, every object a field that does not exist, and every required field is
/// taken away.
#[test]
fn structural_faults_are_refused_by_both() {
    let mut places = Vec::new();
    pointers(&full(), "", &mut places);
    for place in &places {
        for wrong in [
            json!(null),
            json!(-7),
            json!("\u{7}?"),
            json!([7]),
            json!({ "?": 7 }),
        ] {
            refused_by_both(&with_node(place, wrong.clone()), place, &wrong);
        }
        let mut removed = full();
        remove(&mut removed, place);
        let structural = |code| {
            matches!(
                code,
                Code::MissingField | Code::UnknownField | Code::WrongType
            )
        };
        if let Err(rejection) = parse_value(&removed)
            && rejection.faults.iter().any(|fault| structural(fault.code))
            && !place.ends_with("/iv")
        {
            assert!(!SCHEMA.is_valid(&removed), "{place} removed");
        }
    }
}

fn with_node(place: &str, value: Value) -> Value {
    let mut message = full();
    *message.pointer_mut(place).expect("a node") = value;
    message
}

fn refused_by_both(message: &Value, place: &str, wrong: &Value) {
    let Err(rejection) = parse_value(message) else {
        panic!("{place} = {wrong} was accepted");
    };
    let control = wrong.is_string()
        && rejection
            .faults
            .iter()
            .all(|f| f.message.contains("control"));
    assert!(
        control || !SCHEMA.is_valid(message),
        "the schema accepts {place} = {wrong}"
    );
}

/// A field of another variant is as unknown to the schema as it is misplaced to `parse`.
#[test]
fn variants_are_closed_in_both() {
    let both = json!({ "kms": { "ciphertext": "AQID" }, "keyring": { "wrapped": "AQID" } });
    for message in [
        with(
            full(),
            "/outputs/1/storage/server_side/kms_key_id",
            json!("x"),
        ),
        with(full(), "/outputs/0/storage/server_side/x", json!("x")),
        with(full(), "/input/encryption/key", both),
        with(
            full(),
            "/outputs/1/encryption/key/secret",
            json!({ "id": "x" }),
        ),
    ] {
        assert!(
            parse_value(&message).is_err() && !SCHEMA.is_valid(&message),
            "{message}"
        );
    }
}
