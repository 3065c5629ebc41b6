//! P9: memory stays inside the budget, whatever the sizes and the number of jobs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ciphermill::fault::Code;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::oracle::sha256;
use crate::support::{MIB, Options, garage, job, noise};

const BUDGET: usize = 64 * MIB;

async fn lab() -> Lab {
    let options = Options {
        budget_bytes: BUDGET,
        slots: 4,
        ..Options::on(garage())
    };
    Lab::with(&garage(), options).await
}

/// Samples the pool until `end`; the most that was reserved.
fn watch(lab: &Lab, end: &Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let (pool, end, most) = (
        Arc::clone(&lab.pipeline.pool),
        Arc::clone(end),
        AtomicUsize::new(0),
    );
    tokio::spawn(async move {
        while !end.load(Ordering::Relaxed) {
            most.fetch_max(pool.reserved_bytes(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        most.into_inner()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_large_jobs_share_a_budget_of_one() {
    let lab = lab().await;
    let plain = noise(64 * MIB);
    let sum = sha256(&plain);
    lab.put("plain", &plain).await;
    drop(plain);
    let modes = ["aes-ctr", "aes-cbc-pkcs7", "aes-gcm", "cobblestone"];
    let jobs = modes.map(|mode| {
        let encryption = json!({"mode": mode, "key": lab.key(256).reference});
        let output = json!({"url": lab.url(mode), "encryption": encryption});
        job(mode, json!({"url": lab.url("plain")}), vec![output])
    });
    let end = Arc::new(AtomicBool::new(false));
    let most = watch(&lab, &end);
    let outcomes = join_all(jobs.iter().map(|job| lab.run(job))).await;
    let back = outcomes.into_iter().zip(modes).map(|(outcome, mode)| {
        let data = outcome.expect(mode).data;
        let block = data.outputs[0].encryption.clone();
        let input = json!({"url": lab.url(mode), "encryption": block, "sha256": sum});
        let id = format!("{mode}-back");
        let output = json!({"url": lab.url(&id)});
        job(&id, input, vec![output])
    });
    let back: Vec<Value> = back.collect();
    // Their own sha256 promise says whether they give the right bytes.
    for outcome in join_all(back.iter().map(|job| lab.run(job))).await {
        outcome.expect("decrypted");
    }
    end.store(true, Ordering::Relaxed);
    let most = most.await.expect("the watch");
    println!("most reserved: {} MiB of {}", most / MIB, BUDGET / MIB);
    assert!(most <= BUDGET, "{most} bytes were reserved");
    assert!(most > BUDGET / 2, "they did not run side by side: {most}");
    lab.all_memory_soon().await;
}

/// What cannot fit is refused by the plan before anything is begun; what fits exactly runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_fit_is_refused_with_help() {
    let lab = lab().await;
    lab.put("plain", &noise(9 * MIB)).await;
    let fan = |id: &str, width: usize| {
        let outputs = (0..width).map(|index| json!({"url": lab.url(&format!("{id}/{index}"))}));
        job(id, json!({"url": lab.url("plain")}), outputs.collect())
    };
    let message = lab
        .fails(&fan("wide", 8), Code::PartTooLarge, "/outputs")
        .await;
    assert!(message.contains(&BUDGET.to_string()), "{message}");
    assert!(Code::PartTooLarge.help().contains("worker.budget_bytes"));
    assert_eq!(lab.objects().await, ["plain"]);
    assert_eq!(lab.uploads().await, Vec::<String>::new());
    lab.run(&fan("narrow", 6))
        .await
        .expect("seven buffers of 9 MiB fit");
    assert_eq!(lab.objects().await.len(), 7);
    lab.all_memory_soon().await;
}
