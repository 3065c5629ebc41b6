//! Outputs that a job can do without: they are reported, and cost nothing but themselves.

use ciphermill::fault::Code;
use ciphermill::job::event::OutputStatus;

use crate::bench::script::{at_store, fail};
use crate::bench::{Bench, LONG, SHORT, STRANGER, job, new_output, optional, output, refused};

#[tokio::test(start_paused = true)]
async fn an_optional_output_that_cannot_be_begun_is_reported() {
    let bench = Bench::aws();
    let plain = bench.source(LONG, 1);
    bench.rule(at_store("begin", "made/b", fail(Code::SinkDenied)));
    let done = bench.succeeds(&job([output("a"), optional("b")])).await;
    assert_eq!(done.data.outputs[0].status, OutputStatus::Written);
    assert_eq!(refused(&done.data.outputs[1]), "sink_denied");
    assert_eq!(bench.body("s3://made/a"), plain);
}

#[tokio::test(start_paused = true)]
async fn an_optional_output_that_exists_is_reported() {
    for bench in Bench::both() {
        bench.source(LONG, 1);
        bench.put("s3://made/b", STRANGER);
        let mut careful = new_output("b");
        careful["required"] = false.into();
        let done = bench.succeeds(&job([output("a"), careful])).await;
        assert_eq!(refused(&done.data.outputs[1]), "output_exists");
        assert_eq!(bench.body("s3://made/b"), STRANGER);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_at_an_optional_output_fails_the_attempt() {
    for operation in ["begin", "upload", "complete"] {
        let bench = Bench::aws();
        bench.source(LONG, 1);
        bench.rule(at_store(operation, "made/b", fail(Code::StoreDown)));
        let job = job([output("a"), optional("b")]);
        bench.fails(&job, Code::StoreDown, "/outputs/1/url").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_optional_output_that_refuses_a_part_gets_no_more_and_is_reported() {
    let bench = Bench::aws();
    let plain = bench.source(9 * crate::bench::PART, 1);
    bench.rule(at_store("upload", "made/b", fail(Code::SinkDenied)));
    let done = bench.succeeds(&job([output("a"), optional("b")])).await;
    assert_eq!(refused(&done.data.outputs[1]), "sink_denied");
    assert_eq!(bench.body("s3://made/a"), plain);
    assert!(bench.object("s3://made/b").is_none());
    assert!(bench.uploads().is_empty(), "P6");
    let uploads = bench.script.calls_of("upload");
    let tried = uploads.iter().filter(|url| url.contains("made/b")).count();
    assert!(tried < 9, "{tried} parts were tried");
}

#[tokio::test(start_paused = true)]
async fn an_optional_output_that_is_refused_at_last_is_reported() {
    for bytes in [SHORT, LONG] {
        let bench = Bench::aws();
        let plain = bench.source(bytes, 1);
        for operation in ["put", "complete"] {
            bench.rule(at_store(operation, "made/b", fail(Code::SinkDenied)));
        }
        let done = bench.succeeds(&job([output("a"), optional("b")])).await;
        assert_eq!(refused(&done.data.outputs[1]), "sink_denied");
        assert_eq!(bench.body("s3://made/a"), plain);
        assert!(bench.uploads().is_empty(), "P6");
    }
}

#[tokio::test(start_paused = true)]
async fn an_optional_output_that_may_not_replace_is_reported_when_it_is_refused_at_last() {
    for (bytes, publishes) in [(SHORT, "put"), (LONG, "complete")] {
        let bench = Bench::aws();
        let plain = bench.source(bytes, 1);
        bench.stranger_before((publishes, "made/b", 1), "s3://made/b");
        let mut careful = new_output("b");
        careful["required"] = false.into();
        let done = bench.succeeds(&job([output("a"), careful])).await;
        assert_eq!(refused(&done.data.outputs[1]), "output_exists");
        assert_eq!(bench.body("s3://made/a"), plain);
        assert_eq!(bench.body("s3://made/b"), STRANGER);
        assert!(bench.uploads().is_empty(), "P6");
    }
}

#[tokio::test(start_paused = true)]
async fn an_optional_output_that_may_not_replace_is_reported_when_it_refuses_a_part() {
    let bench = Bench::aws();
    let plain = bench.source(LONG, 1);
    bench.rule(at_store("upload", "made/b", fail(Code::SinkDenied)));
    let mut careful = new_output("b");
    careful["required"] = false.into();
    let done = bench.succeeds(&job([output("a"), careful])).await;
    assert_eq!(refused(&done.data.outputs[1]), "sink_denied");
    assert_eq!(bench.body("s3://made/a"), plain);
    assert!(bench.object("s3://made/b").is_none());
}

#[tokio::test(start_paused = true)]
async fn p6_the_upload_of_a_refused_optional_output_that_cannot_be_aborted_is_remembered() {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench.rule(at_store("complete", "made/", fail(Code::SinkDenied)));
    bench.rule(at_store("abort", "made/b", fail(Code::StoreDown)));
    let mut careful = new_output("b");
    careful["required"] = false.into();
    let job = job([output("a"), careful]);
    bench.fails(&job, Code::SinkDenied, "/outputs/0/url").await;
    assert_eq!(bench.uploads(), ["b"]);
    assert!(bench.entry().is_some());
    bench.script.clear();
    bench.succeeds_again(&job).await;
    assert!(bench.uploads().is_empty());
}
