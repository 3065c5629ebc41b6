//! Tests of the spool.

use std::os::unix::fs::symlink;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;

fn spool() -> (TempDir, SpoolQueue) {
    let folder = tempfile::tempdir().unwrap();
    let queue = SpoolQueue::open(folder.path(), true).unwrap();
    (folder, queue)
}

fn put(folder: &TempDir, name: &str) {
    std::fs::write(folder.path().join("new").join(name), name).unwrap();
}

fn there(folder: &TempDir, path: &str) -> bool {
    folder.path().join(path).exists()
}

fn end(state: &str) -> Outgoing {
    Outgoing {
        routing_key: format!("job.{state}"),
        message_id: "id".into(),
        correlation_id: "id".into(),
        body: Bytes::from(format!("\"{state}\"")),
        terminal: true,
        reply_to: None,
    }
}

#[tokio::test]
async fn jobs_are_taken_in_order_and_end_beside_their_results() {
    let (folder, queue) = spool();
    put(&folder, "b.json");
    std::thread::sleep(Duration::from_millis(20));
    put(&folder, "a.json");
    let delivery = queue.next(0).await.unwrap().unwrap();
    assert_eq!((&delivery.body[..], delivery.attempt), (&b"b.json"[..], 1));
    assert_eq!(delivery.name.as_deref(), Some("b.json"));
    delivery.publish(end("succeeded")).await.unwrap();
    assert!(delivery.settle(Settlement::Done).await.unwrap());
    assert!(there(&folder, "done/b.json") && there(&folder, "done/b.result.json"));

    let delivery = queue.next(0).await.unwrap().unwrap();
    let progress = Outgoing {
        terminal: false,
        ..end("progress")
    };
    delivery.publish(progress).await.unwrap();
    delivery.publish(end("failed")).await.unwrap();
    assert!(delivery.settle(Settlement::Dead).await.unwrap());
    assert!(there(&folder, "failed/a.json") && there(&folder, "failed/a.result.json"));
    assert!(queue.next(0).await.unwrap().is_none());
    assert_eq!(
        std::fs::read_dir(folder.path().join("running"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn retries_count_and_returns_do_not() {
    let (folder, queue) = spool();
    put(&folder, "a.json");
    for (settlement, attempt) in [
        (Settlement::Retry, 1),
        (Settlement::Return, 2),
        (Settlement::Retry, 2),
        (Settlement::Done, 3),
    ] {
        let delivery = queue.next(0).await.unwrap().unwrap();
        assert_eq!(delivery.attempt, attempt);
        assert_eq!(delivery.redelivered, attempt > 1);
        assert!(delivery.settle(settlement).await.unwrap());
    }
    assert!(queue.next(0).await.unwrap().is_none());
}

#[tokio::test]
async fn a_crashed_workers_job_is_taken_again_but_not_a_running_one() {
    let (folder, queue) = spool();
    put(&folder, "a.json");
    let delivery = queue.next(0).await.unwrap().unwrap();
    assert!(queue.next(1).await.unwrap().is_none());
    delivery.publish(end("succeeded")).await.unwrap();
    drop(delivery);
    let again = queue.next(1).await.unwrap().unwrap();
    assert_eq!((again.attempt, again.redelivered), (2, true));
    again.publish(end("succeeded")).await.unwrap();
    assert!(again.settle(Settlement::Done).await.unwrap());
    assert!(there(&folder, "done/a.json") && there(&folder, "done/a.result.json"));
}

#[tokio::test]
async fn a_take_that_nobody_waits_for_returns_its_job() {
    let (folder, queue) = spool();
    put(&folder, "a.json");
    drop(
        Claim::any(folder.path(), &Mutex::default())
            .unwrap()
            .unwrap(),
    );
    assert!(there(&folder, "new/a.json"));
    assert_eq!(queue.next(0).await.unwrap().unwrap().attempt, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_that_race_take_each_job_once() {
    let (folder, _) = spool();
    for n in 0..60 {
        put(&folder, &format!("{n}.json"));
    }
    let workers = (0..6).map(|_| {
        let queue = SpoolQueue::open(folder.path(), true).unwrap();
        tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Some(delivery) = queue.next(0).await.unwrap() {
                assert_eq!(delivery.attempt, 1);
                taken.push(delivery.name.clone().unwrap());
                assert!(delivery.settle(Settlement::Done).await.unwrap());
            }
            taken
        })
    });
    let mut taken = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        taken.extend(worker.await.unwrap());
    }
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 60);
}

#[tokio::test]
async fn links_folders_and_other_names_are_ignored() {
    let (folder, queue) = spool();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    symlink(&secret, folder.path().join("new/link.json")).unwrap();
    std::fs::create_dir(folder.path().join("new/folder.json")).unwrap();
    for name in [".hidden.json", ".json", "a.txt", "a.result.json"] {
        put(&folder, name);
    }
    assert!(queue.next(0).await.unwrap().is_none());
}

#[tokio::test]
async fn a_job_does_not_replace_a_running_one_of_its_name() {
    let (folder, queue) = spool();
    put(&folder, "a.json");
    let first = queue.next(0).await.unwrap().unwrap();
    put(&folder, "a.json");
    assert!(queue.next(1).await.unwrap().is_none());
    assert!(first.settle(Settlement::Done).await.unwrap());
    assert_eq!(queue.next(1).await.unwrap().unwrap().attempt, 1);
}

#[tokio::test]
async fn a_job_moved_away_is_not_settled() {
    let (folder, queue) = spool();
    put(&folder, "a.json");
    let delivery = queue.next(0).await.unwrap().unwrap();
    std::fs::remove_file(folder.path().join("running/a.json")).unwrap();
    assert!(!delivery.settle(Settlement::Done).await.unwrap());
    assert!(!there(&folder, "done/a.json"));
}

#[tokio::test]
async fn huge_files_are_read_only_so_far() {
    let (folder, queue) = spool();
    std::fs::write(folder.path().join("new/a.json"), vec![b' '; 3 << 20]).unwrap();
    assert_eq!(queue.next(0).await.unwrap().unwrap().body.len(), 1 << 20);
}
