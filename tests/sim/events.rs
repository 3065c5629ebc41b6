//! Events: what they say, and whether it is true.

use ciphermill::queue::Outgoing;

use crate::jobs;
use crate::world::World;

/// What a result says of its outputs is what the store holds: one entry for each, in the job's
/// order, and each required one written.
pub fn told_the_truth(world: &World, event: &Outgoing) {
    let mut jobs = world.schedule.jobs.iter();
    let Some(job) = jobs.find(|job| jobs::id(job) == event.correlation_id) else {
        return world.violation(format!("a result of no job: {}", event.message_id));
    };
    let body = body_of(event);
    let told = body["data"]["outputs"].as_array().cloned();
    let told = told.unwrap_or_default();
    if told.len() != job.outputs.len() {
        world.violation(format!("a result tells of {} outputs", told.len()));
    }
    for (index, (output, spec)) in told.iter().zip(&job.outputs).enumerate() {
        let url = jobs::output_url(job, index);
        let written = output["status"] == "written";
        let same = world.store.object(&url).is_some_and(|object| {
            *object.body == *jobs::STRANGER
                || output["bytes"] == object.body.len() && output["etag"] == object.version.etag
        });
        let right = output["url"] == url.to_string() && (same || !written);
        if !right || spec.required && !written {
            world.violation(format!("the result is not true: {output}"));
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
