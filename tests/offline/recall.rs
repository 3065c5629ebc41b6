//! Recall: what earlier attempts left, and what a job that comes again makes of it (P3, P5, P6).

use ciphermill::fault::Code;
use ciphermill::inject::rules::Effect;
use ciphermill::store::Store;
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::bench::script::{at_store, fail};
use crate::bench::{Bench, LONG, SHORT, given_iv, job, optional, output, url, with_source};

/// Two outputs in parts: a job that the ledger remembers.
fn two() -> Value {
    job([output("a"), output("b")])
}

#[tokio::test(start_paused = true)]
async fn a_new_job_in_one_part_asks_no_ledger() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    let done = bench.succeeds(&job([output("a")])).await;
    assert!(!done.recognised);
    assert!(bench.script.calls_of("get_small").is_empty());
    assert_eq!(bench.script.writes(), ["put s3://made/a"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_comes_again_and_left_nothing_runs() {
    for job in [job([output("a")]), two()] {
        let bench = with_source();
        let done = bench.succeeds_again(&job).await;
        assert!(!done.recognised);
        assert_eq!(bench.body("s3://made/a").len(), LONG);
    }
}

#[tokio::test(start_paused = true)]
async fn p3_a_finished_job_is_recognised_by_the_label_of_its_object() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    let encryption =
        json!({"mode": "cobblestone", "key": {"generate": {"keyring": {"bits": 256}}}});
    let job = job([json!({"url": "s3://made/a", "encryption": encryption})]);
    let first = bench.succeeds(&job).await.data;
    bench.script.writes();
    let again = bench.succeeds_again(&job).await;
    assert!(again.recognised);
    assert!(bench.script.writes().is_empty());
    assert!(bench.script.calls_of("read").is_empty());
    let (was, is) = (&first.outputs[0], &again.data.outputs[0]);
    assert_eq!((&was.etag, was.bytes), (&is.etag, is.bytes));
    assert_eq!((&was.salt, &was.wrapped_key), (&is.salt, &is.wrapped_key));
    assert_eq!(was.encryption, is.encryption);
    // What the object cannot tell.
    assert_eq!(again.data.seconds, None);
    let input = again.data.input.expect("an input");
    assert_eq!((input.bytes, input.version.etag), (SHORT as u64, None));
}

#[tokio::test(start_paused = true)]
async fn p3_the_ledger_tells_more_of_a_finished_job_than_its_label() {
    let bench = with_source();
    let job = job([output("a")]);
    let first = bench.succeeds(&job).await.data;
    let again = bench.succeeds_again(&job).await;
    assert!(again.recognised);
    assert_eq!(again.data, first);
}

#[tokio::test(start_paused = true)]
async fn p3_a_finished_job_is_recognised_by_the_ledger() {
    for bytes in [SHORT, LONG] {
        let bench = Bench::aws();
        bench.source(bytes, 1);
        let first = bench.succeeds(&two()).await.data;
        bench.script.writes();
        let again = bench.succeeds_again(&two()).await;
        assert!(again.recognised);
        assert!(bench.script.writes().is_empty());
        assert_eq!(again.data, first);
    }
}

#[tokio::test(start_paused = true)]
async fn p3_a_finished_job_is_recognised_although_its_source_has_changed() {
    for job in [job([output("a")]), two()] {
        let bench = with_source();
        bench.succeeds(&job).await;
        bench.source(LONG, 2);
        assert!(bench.succeeds_again(&job).await.recognised);
    }
}

#[tokio::test(start_paused = true)]
async fn p3_a_finished_job_is_recognised_with_the_optional_outputs_that_failed() {
    let bench = with_source();
    bench.rule(at_store("begin", "made/b", fail(Code::SinkDenied)));
    let job = job([output("a"), optional("b")]);
    let first = bench.succeeds(&job).await.data;
    bench.script.clear();
    bench.script.writes();
    let again = bench.succeeds_again(&job).await;
    assert!(again.recognised);
    assert_eq!(again.data, first);
    assert!(bench.script.writes().is_empty(), "it is not tried again");
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_whose_output_is_gone_or_replaced_runs_again() {
    for job in [job([output("a")]), two()] {
        for replaced in [false, true] {
            let bench = Bench::aws();
            let plain = bench.source(LONG, 1);
            bench.succeeds(&job).await;
            match replaced {
                true => bench.put("s3://made/a", b"somebody else's"),
                false => {
                    let gone = url("s3://made/a");
                    let gone = bench.store.delete(&gone).now_or_never();
                    gone.expect("memory never waits").expect("deleted");
                }
            }
            let done = bench.succeeds_again(&job).await;
            assert!(!done.recognised);
            assert_eq!(bench.body("s3://made/a"), plain);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_is_not_run_again_while_its_outputs_cannot_be_looked_at() {
    for code in [Code::StoreDown, Code::SourceDenied] {
        let bench = with_source();
        bench.succeeds(&two()).await;
        bench.script.writes();
        bench.rule(at_store("head", "made/b", fail(code)));
        bench.fails_again(&two(), code, "").await;
        assert!(bench.script.writes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_the_label_or_the_ledger_is_looked_for_ends_the_attempt() {
    let one = job([output("a")]);
    for (job, operation, target, at) in [
        (&one, "head", "made/a", ""),
        (&two(), "get_small", "film.json", "/outputs/0/url"),
    ] {
        let bench = with_source();
        bench.rule(at_store(operation, target, fail(Code::StoreDown)));
        bench.fails_again(job, Code::StoreDown, at).await;
        assert!(bench.script.writes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_that_may_not_be_looked_at_is_none() {
    let bench = with_source();
    bench.rule(at_store("head", "made/a", fail(Code::SourceDenied)).times(1));
    assert!(!bench.succeeds(&job([output("a")])).await.recognised);
}

#[tokio::test(start_paused = true)]
async fn the_object_of_another_job_is_no_label_of_this_one() {
    let bench = Bench::aws();
    bench.source(SHORT, 1);
    bench.succeeds(&job([output("a")])).await;
    let mut other = job([output("a")]);
    other["labels"] = json!({"run": "2"});
    let done = bench.succeeds(&other).await;
    assert!(!done.recognised, "the same id and output, another message");
}

#[tokio::test(start_paused = true)]
async fn p3_a_job_whose_result_was_not_remembered_is_recognised_by_its_outputs() {
    let bench = with_source();
    // The entry, the entry with its uploads, the result.
    bench.rule(at_store("put", "film.json", fail(Code::StoreDown)).from(3));
    let first = bench.succeeds(&two()).await.data;
    bench.script.clear();
    bench.script.writes();
    assert_eq!(bench.entry().expect("an entry").get("result"), None);
    let again = bench.succeeds_again(&two()).await;
    assert!(again.recognised);
    assert!(bench.script.writes().is_empty());
    let (first_input, input) = (first.input.expect("one"), again.data.input.expect("one"));
    assert_eq!(first_input, input, "with its version");
    let etags = |outputs: &[ciphermill::job::event::OutputResult]| -> Vec<_> {
        outputs.iter().map(|output| output.etag.clone()).collect()
    };
    assert_eq!(etags(&first.outputs), etags(&again.data.outputs));
}

#[tokio::test(start_paused = true)]
async fn another_message_with_the_same_id_waits_for_a_young_one() {
    let bench = with_source();
    bench
        .dies(&two(), at_store("upload", "made/a", Effect::HangAfter))
        .await;
    let other = job([output("c"), output("d")]);
    bench.fails(&other, Code::ReservedByOther, "/id").await;
    assert_eq!(bench.uploads().len(), 2, "they may be at work");
    bench.wait(86_300).await;
    bench.fails(&other, Code::ReservedByOther, "/id").await;
}

#[tokio::test(start_paused = true)]
async fn p6_another_message_with_the_same_id_clears_up_after_a_dead_one() {
    let bench = with_source();
    bench
        .dies(&two(), at_store("upload", "made/a", Effect::HangAfter))
        .await;
    bench.wait(86_500).await;
    let other = job([output("c"), output("d")]);
    assert!(!bench.succeeds(&other).await.recognised);
    assert!(bench.uploads().is_empty());
    assert!(bench.object("s3://made/a").is_none());
}

#[tokio::test(start_paused = true)]
async fn another_message_with_the_same_id_follows_a_finished_one() {
    let bench = with_source();
    bench.succeeds(&two()).await;
    let other = job([output("c"), output("d")]);
    assert!(!bench.succeeds(&other).await.recognised);
    assert_eq!(bench.body("s3://made/a"), bench.body("s3://made/c"));
}

#[tokio::test(start_paused = true)]
async fn p13_a_given_iv_reserves_its_id_for_ever() {
    // Whether the first or the second message gives the iv.
    for (first, second) in [(given_iv("a"), output("c")), (output("a"), given_iv("c"))] {
        let bench = with_source();
        bench.succeeds(&job([first])).await;
        bench.wait(10 * 86_400).await;
        let other = job([second]);
        bench
            .fails_again(&other, Code::ReservedByOther, "/id")
            .await;
        assert!(bench.object("s3://made/c").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn p13_a_given_iv_of_a_job_that_failed_is_remembered() {
    let bench = with_source();
    bench.rule(at_store("upload", "made/a", fail(Code::SinkDenied)));
    let given = job([given_iv("a")]);
    bench
        .fails(&given, Code::SinkDenied, "/outputs/0/url")
        .await;
    let entry = bench.entry().expect("its history");
    assert_eq!(entry["given_iv"], true);
    assert_eq!(entry["outputs"], json!([]), "nothing is left of it");
    bench.script.clear();
    bench.source(LONG, 2);
    bench
        .fails_again(&given, Code::SourceChanged, "/input/url")
        .await;
    bench.source(LONG, 1);
    bench.succeeds_again(&given).await;
}

#[tokio::test(start_paused = true)]
async fn p13_a_damaged_entry_may_hold_the_history_of_an_iv() {
    let bench = with_source();
    bench.put(crate::bench::LEDGER, b"{\"job_id\": \"film\"");
    let fault = bench.fails(&two(), Code::ReservedByOther, "/id").await;
    assert!(fault.message.contains("is damaged"));
    bench
        .fails(&job([output("a")]), Code::ReservedByOther, "/id")
        .await;
    assert!(bench.script.writes().is_empty());
}

/// Runs without paused time: files are read and written by threads.
#[tokio::test]
async fn p3_a_file_is_recognised_by_its_inode() {
    let bench = with_source();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let job = job([json!({"url": format!("file://{}", path.display())})]);
    // The entry, the entry with its upload, the result.
    bench.rule(at_store("put", "film.json", fail(Code::FileIo)).from(3));
    bench.succeeds(&job).await;
    bench.script.clear();
    bench.script.writes();
    assert!(bench.succeeds_again(&job).await.recognised);
    assert!(bench.script.writes().is_empty());
    std::fs::write(&path, b"somebody else's").expect("written");
    std::fs::rename(&path, folder.path().join("b")).expect("renamed");
    std::fs::write(&path, b"another file").expect("written");
    assert!(!bench.succeeds_again(&job).await.recognised);
    assert_eq!(std::fs::read(&path).expect("there").len(), LONG);
}
