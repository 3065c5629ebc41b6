//! Events: what they say, and whether it is true.

use ciphermill::job::ObjectUrl;
use ciphermill::queue::Outgoing;

use crate::jobs;
use crate::world::World;

/// P15: what a result says of its outputs is what the store holds.
pub fn told_the_truth(world: &World, event: &Outgoing) {
    let body = body_of(event);
    let outputs = body["data"]["outputs"].as_array().cloned();
    for output in outputs.unwrap_or_default() {
        if output["status"] != "written" {
            continue;
        }
        let url = output["url"]
            .as_str()
            .and_then(|url| ObjectUrl::parse(url).ok());
        let object = url.as_ref().and_then(|url| world.store.object(url));
        let same = object.is_some_and(|object| {
            *object.body == *jobs::STRANGER
                || output["bytes"] == object.body.len() && output["etag"] == object.version.etag
        });
        if !same {
            world.violation(format!("P15: the result tells of another object: {output}"));
        }
    }
}

/// The CloudEvents JSON of an event.
pub fn body_of(event: &Outgoing) -> serde_json::Value {
    serde_json::from_slice(&event.body).unwrap_or_default()
}

/// Notes an event, and why a job failed.
pub fn note_event(world: &World, event: &Outgoing) {
    let body = body_of(event);
    let fault = &body["data"]["fault"];
    let (code, pointer) = (fault["code"].as_str(), fault["pointer"].as_str());
    let why = code.map(|code| format!(": {code} at {}", pointer.unwrap_or("-")));
    let (key, why) = (&event.routing_key, why.unwrap_or_default());
    world.note(&format!("event {key} of {}{why}", event.correlation_id));
}
