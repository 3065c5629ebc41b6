//! Schema: the job and its events as JSON Schema (draft 2020-12).
//!
//! Nothing comes in; the schemas go out to `ciphermill schema`, so that producers can check
//! messages in any language. They are derived from the types themselves. A schema says what shape a
//! message has; rules between fields (IV length by mode, outputs that collide) are `check`'s alone,
//! so everything `check` accepts fits the schema, not the reverse.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{Job, event::Event, limits};

/// The schema of a job message.
pub fn job() -> Value {
    schema_of::<Job>(
        "ciphermill job, version 1",
        "https://ciphermill.dev/schema/job-1.json",
    )
}

/// The schema of a result event.
pub fn event() -> Value {
    schema_of::<Event>(
        "ciphermill event, version 1",
        "https://ciphermill.dev/schema/event-1.json",
    )
}

fn schema_of<T: JsonSchema>(title: &str, id: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(refuse_null));
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".into(), title.into());
    schema.insert("$id".into(), id.into());
    schema.to_value()
}

/// An absent field is left out, never `null`; schemars would allow both for an `Option`. And how
/// large a picture is at most unless it is said depends on what it is of.
fn refuse_null(schema: &mut Schema) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    for name in ["max_width", "max_height"] {
        let size = fields.get_mut("properties").and_then(|p| p.get_mut(name));
        if let Some(Value::Object(size)) = size {
            size.remove("default");
        }
    }
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".into(), only);
        }
    }
    let Some(Value::Array(mut either)) = fields.remove("anyOf") else {
        return;
    };
    either.retain(|schema| *schema != json!({ "type": "null" }));
    match either.as_mut_slice() {
        [Value::Object(only)] => fields.append(only),
        _ => {
            fields.insert("anyOf".into(), either.into());
        }
    }
}

/// Labels of a job.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": limits::LABELS,
        "propertyNames": { "minLength": 1, "maxLength": limits::LABEL_KEY_BYTES },
        "additionalProperties": { "type": "string", "maxLength": limits::LABEL_VALUE_BYTES }
    })
}

/// An encryption context.
pub(super) fn context(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": limits::CONTEXT_ENTRIES,
        "propertyNames": { "minLength": 1, "maxLength": limits::CONTEXT_BYTES },
        "additionalProperties": { "type": "string", "maxLength": limits::CONTEXT_BYTES }
    })
}

/// User metadata of an object.
pub(super) fn metadata(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": {
            "pattern": "^(?!ciphermill-)[a-z0-9-]+$",
            "maxLength": limits::METADATA_NAME_BYTES
        },
        "additionalProperties": {
            "type": "string",
            "pattern": "^[ -~]*$",
            "maxLength": limits::METADATA_BYTES
        }
    })
}

/// Tags of an object.
pub(super) fn tags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": limits::TAGS,
        "propertyNames": {
            "minLength": 1,
            "maxLength": limits::TAG_KEY_CHARS,
            "not": { "pattern": "^aws:" }
        },
        "additionalProperties": { "type": "string", "maxLength": limits::TAG_VALUE_CHARS }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_schema_states_the_contract() {
        let schema = job();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert_eq!(schema["$id"], "https://ciphermill.dev/schema/job-1.json");
        assert_eq!(schema["title"], "ciphermill job, version 1");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(
            schema["required"],
            json!(["version", "id", "input", "outputs"])
        );
        assert_eq!(schema["properties"]["outputs"]["maxItems"], limits::OUTPUTS);
        assert_eq!(
            schema["properties"]["labels"]["maxProperties"],
            limits::LABELS
        );
        for object in ["Input", "Output", "Encryption", "KmsKey", "Storage"] {
            let closed = &schema["$defs"][object]["additionalProperties"];
            assert_eq!(closed, false, "{object}");
        }
        let modes = schema["$defs"]["Mode"].to_string();
        assert!(
            crate::job::Mode::ALL
                .iter()
                .all(|mode| modes.contains(mode.as_str()))
        );
    }

    #[test]
    fn patterns_and_constants_agree_with_the_limits() {
        let text = job().to_string();
        for (bound, max) in [
            ("maxLength", limits::VERSION_BYTES as u64),
            ("maxLength", limits::QUEUE_NAME_BYTES as u64),
            ("maxLength", limits::CONTENT_TYPE_BYTES as u64),
            ("maxLength", limits::KMS_KEY_ID_BYTES as u64),
            (
                "maxLength",
                limits::KMS_CIPHERTEXT_BYTES.div_ceil(3) as u64 * 4,
            ),
            ("maximum", limits::DEADLINE_SECONDS),
            ("maxItems", limits::OUTPUTS as u64),
        ] {
            assert!(
                text.contains(&format!("\"{bound}\":{max}")),
                "{bound} {max}"
            );
        }
        assert!(text.contains(&format!("{{0,{}}}$", limits::JOB_ID_BYTES - 1)));
    }

    #[test]
    fn no_field_may_be_null() {
        for schema in [job(), event()] {
            assert!(!schema.to_string().contains("\"null\""));
            jsonschema::draft202012::meta::validate(&schema).expect("a valid schema");
        }
    }
}
