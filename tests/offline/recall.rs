//! Recall: what earlier attempts left, and what a job that comes again makes of it (P3, P5, P6).

use ciphermill::fault::Code;
use ciphermill::inject::rules::Effect;
use ciphermill::store::Store;
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::bench::script::{at_store, fail};
use crate::bench::{Bench, LONG, SHORT, given_iv, job, new_output, output, url};

/// A bench with a source of three parts.
fn bench() -> Bench {
    let bench = Bench::aws();
    bench.source(LONG, 1);
    bench
}

/// Two outputs in parts: a job that the ledger remembers.
fn two() -> Value {
    job([output("a"), output("b")])
}

/// An attempt dies before it completes the second of two outputs; the first one may be visible.
async fn half_published(bench: &Bench, job: &Value) {
    let hangs = at_store("complete", "made/b", Effect::HangBefore);
    bench.dies(job, hangs).await;
    assert!(bench.object("s3://made/a").is_some());
    assert_eq!(bench.uploads(), ["b"]);
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
        let bench = bench();
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
    let bench = bench();
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
        let bench = bench();
        bench.succeeds(&job).await;
        bench.source(LONG, 2);
        assert!(bench.succeeds_again(&job).await.recognised);
    }
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
        let bench = bench();
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
        let bench = bench();
        bench.rule(at_store(operation, target, fail(Code::StoreDown)));
        bench.fails_again(job, Code::StoreDown, at).await;
        assert!(bench.script.writes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_that_may_not_be_looked_at_is_none() {
    let bench = bench();
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
    let bench = bench();
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
async fn p6_uploads_that_a_crash_left_are_aborted_when_the_job_comes_again() {
    for (outputs, redelivered) in [(1, false), (1, true), (2, true)] {
        let bench = bench();
        let job = match outputs {
            1 => job([output("a")]),
            _ => two(),
        };
        let hangs = at_store("upload", "made/a", Effect::HangAfter);
        bench.dies(&job, hangs).await;
        assert_eq!(bench.uploads().len(), outputs);
        bench.script.writes();
        match redelivered {
            true => bench.succeeds_again(&job).await,
            false => bench.succeeds(&job).await,
        };
        assert!(bench.uploads().is_empty());
        let writes = bench.script.writes();
        assert!(writes[0].starts_with("abort"), "first of all: {writes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn p6_uploads_that_nobody_remembers_are_found_by_their_time() {
    let bench = bench();
    let earlier = bench.begin("s3://made/a");
    bench.wait(600).await;
    let hangs = at_store("put", "film.json", Effect::HangBefore).from(2);
    bench.dies(&two(), hangs).await;
    assert_eq!(bench.uploads(), ["a", "a", "b"]);
    assert_eq!(
        bench.entry().expect("an entry")["outputs"][0].get("upload"),
        None
    );
    bench.succeeds_again(&two()).await;
    let left = bench.store.open_uploads("made");
    assert_eq!(left.len(), 1, "another program's stays");
    assert_eq!(left[0].id, earlier);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_gone_already_holds_nothing_up() {
    for bench in Bench::both() {
        bench.source(LONG, 1);
        bench
            .dies(&two(), at_store("upload", "made/a", Effect::HangAfter))
            .await;
        for upload in bench.store.open_uploads("made") {
            let at = url(&format!("s3://made/{}", upload.key));
            let aborted = bench.store.abort(&at, &upload.id).now_or_never();
            aborted.expect("memory never waits").expect("aborted");
        }
        assert!(!bench.succeeds_again(&two()).await.recognised);
    }
}

#[tokio::test(start_paused = true)]
async fn p6_a_store_that_does_not_answer_to_an_abort_ends_the_attempt() {
    for unremembered in [false, true] {
        let bench = bench();
        let hangs = match unremembered {
            false => at_store("upload", "made/a", Effect::HangAfter),
            true => at_store("put", "film.json", Effect::HangBefore).from(2),
        };
        bench.dies(&two(), hangs).await;
        let entry = bench.entry();
        let operation = if unremembered { "uploads" } else { "abort" };
        bench.rule(at_store(operation, "made/b", fail(Code::StoreDown)));
        bench.fails_again(&two(), Code::StoreDown, "").await;
        assert_eq!(bench.entry(), entry, "nothing is forgotten");
        assert_eq!(bench.uploads(), ["b"], "the other one is aborted");
        bench.script.clear();
        bench.succeeds_again(&two()).await;
        assert!(bench.uploads().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_is_denied_is_left_to_the_reaper() {
    let bench = bench();
    bench
        .dies(&two(), at_store("upload", "made/a", Effect::HangAfter))
        .await;
    bench.rule(at_store("abort", "made/b", fail(Code::SinkDenied)));
    bench.succeeds_again(&two()).await;
    assert_eq!(bench.uploads(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_names_what_a_job_may_not_name_is_not_followed() {
    for named in ["s3://elsewhere/a", "no url"] {
        let bench = bench();
        bench
            .dies(&two(), at_store("upload", "made/a", Effect::HangAfter))
            .await;
        bench.edit_entry(|entry| entry["outputs"][0]["url"] = named.into());
        bench.script.writes();
        bench.succeeds_again(&two()).await;
        let writes = bench.script.writes();
        assert_eq!(writes[0], "abort s3://made/b");
        assert!(writes.iter().all(|write| write != "abort s3://made/a"));
    }
}

#[tokio::test(start_paused = true)]
async fn another_message_with_the_same_id_waits_for_a_young_one() {
    let bench = bench();
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
    let bench = bench();
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
    let bench = bench();
    bench.succeeds(&two()).await;
    let other = job([output("c"), output("d")]);
    assert!(!bench.succeeds(&other).await.recognised);
    assert_eq!(bench.body("s3://made/a"), bench.body("s3://made/c"));
}

#[tokio::test(start_paused = true)]
async fn p13_a_given_iv_reserves_its_id_for_ever() {
    // Whether the first or the second message gives the iv.
    for (first, second) in [(given_iv("a"), output("c")), (output("a"), given_iv("c"))] {
        let bench = bench();
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
    let bench = bench();
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
async fn p5_a_given_iv_meets_one_version_of_its_source_only() {
    let bench = bench();
    let given = job([given_iv("a"), output("b")]);
    half_published(&bench, &given).await;
    bench.source(LONG, 2);
    bench
        .fails_again(&given, Code::SourceChanged, "/input/url")
        .await;
    assert!(bench.uploads().is_empty(), "P6: aborted all the same");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_attempt_published_is_kept() {
    for bench in Bench::both() {
        let plain = bench.source(LONG, 1);
        half_published(&bench, &two()).await;
        let first = bench.object("s3://made/a").expect("published");
        let done = bench.succeeds_again(&two()).await;
        assert!(!done.recognised);
        let kept = bench.object("s3://made/a").expect("published");
        assert_eq!(first, kept);
        assert_eq!(done.data.outputs[0].etag, Some(kept.version.etag));
        assert_eq!(bench.body("s3://made/b"), plain);
        assert!(bench.uploads().is_empty());
        assert!(
            bench.succeeds_again(&two()).await.recognised,
            "by the token of the first"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_attempt_published_is_kept_where_it_may_not_be_replaced() {
    let bench = bench();
    let job = job([new_output("a"), output("b")]);
    half_published(&bench, &job).await;
    let done = bench.succeeds_again(&job).await;
    assert_eq!(done.data.outputs.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn p5_what_was_made_of_another_version_of_the_source_is_made_again() {
    let bench = bench();
    half_published(&bench, &two()).await;
    let plain = bench.source(LONG, 2);
    bench.succeeds_again(&two()).await;
    assert_eq!(bench.body("s3://made/a"), plain);
    assert_eq!(bench.body("s3://made/b"), plain);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_somebody_replaced_since_is_made_again() {
    let bench = Bench::aws();
    let plain = bench.source(LONG, 1);
    half_published(&bench, &two()).await;
    bench.put("s3://made/a", b"somebody else's");
    bench.succeeds_again(&two()).await;
    assert_eq!(bench.body("s3://made/a"), plain);
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_published_outputs_are_looked_for_ends_the_attempt() {
    let bench = bench();
    half_published(&bench, &two()).await;
    bench.rule(at_store("head", "made/a", fail(Code::StoreDown)));
    bench.fails_again(&two(), Code::StoreDown, "").await;
    assert_eq!(bench.uploads(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn p13_a_damaged_entry_may_hold_the_history_of_an_iv() {
    let bench = bench();
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
    let bench = bench();
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
