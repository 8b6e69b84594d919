//! Files and disks that fail: a clear error, no panic, and work again when the cause is gone.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::tests::{event, report, with_room};
use super::*;
use crate::plugin::types::Slot;

/// A store's file with a few hundred pages, closed.
async fn filled() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scrim.db");
    let store = Store::open(&path).await.unwrap();
    store.create_room("stage", &json!({}), 1).await.unwrap();
    let events: Vec<EventRow> = (1..=4000).map(|seq| event("stage", seq)).collect();
    store.append_events(&events).await.unwrap();
    store.close().await;
    assert!(!folder.path().join("scrim.db-wal").exists(), "closing folds the log into the file");
    (folder, path)
}

fn overwrite(path: &Path, at: u64, bytes: usize) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&vec![0xa5; bytes]).unwrap();
}

async fn refused(path: &Path) -> String {
    let before = std::fs::read(path).ok();
    let error = Store::open(path).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
    assert_eq!(std::fs::read(path).ok(), before, "the file is left as it was");
    let text = error.to_string();
    assert!(text.contains(&*path.to_string_lossy()), "it names the file: {text}");
    text
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let (folder, store) = with_room().await;
    let path = folder.path().join("new/scrim.db");
    let room = store.update_room("stage", &json!({ "delay_ms": 400 }), Some(1), 2).await.unwrap();
    let policy = store.set_policy(Scope::Global, Slot::Text, "profanity-context@2.0.0", &json!({}), None, 3).await.unwrap();
    let told = report("stage", false);
    store.journal_feedback(&told).await.unwrap();
    let events = [event("stage", 1), event("stage", 2)];
    store.append_events(&events).await.unwrap();
    let session = store.begin_session("stage", "camera", 4).await.unwrap();
    store.close().await;
    assert!(store.check().await.unwrap_err().is_unavailable(), "a closed store answers with an error");

    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.rooms().await.unwrap(), [room]);
    assert_eq!(store.policies(Scope::Global).await.unwrap(), [policy]);
    let again = store.journal_feedback(&told).await.unwrap();
    assert!(matches!(again, Journalled::Already(row) if row.event_id == told.event_id && row.seq == 1));
    assert_eq!(store.events("stage", 0, 10).await.unwrap(), events);
    assert_eq!(store.end_interrupted_sessions(9).await.unwrap(), 1);
    assert_eq!(store.sessions("stage", 1).await.unwrap()[0].id, session.id);
}

#[tokio::test]
async fn what_was_answered_is_in_the_files_at_once() {
    let (folder, store) = with_room().await;
    store.journal_feedback(&report("stage", true)).await.unwrap();
    // As they would be found after a kill: the store is still open, nothing was closed or folded together.
    let (from, to) = (folder.path().join("new"), tempfile::tempdir().unwrap());
    for file in ["scrim.db", "scrim.db-wal"] {
        std::fs::copy(from.join(file), to.path().join(file)).unwrap();
    }
    let found = Store::open(&to.path().join("scrim.db")).await.unwrap();
    assert_eq!(found.feedback_count("stage").await.unwrap(), 1);
}

#[tokio::test]
async fn a_damaged_beginning_is_reported() {
    let (_folder, path) = filled().await;
    overwrite(&path, 0, 100);
    let text = refused(&path).await;
    assert!(text.contains("not a database") && text.contains("put a copy back"), "{text}");
}

#[tokio::test]
async fn damaged_pages_in_the_middle_are_reported() {
    for (from, to) in [(0.2, 0.4), (0.5, 0.51), (0.9, 1.0)] {
        let (_folder, path) = filled().await;
        let length = std::fs::metadata(&path).unwrap().len() as f64;
        let at = (length * from) as u64 / 4096 * 4096;
        overwrite(&path, at, (length * (to - from)) as usize);
        let text = refused(&path).await;
        assert!(text.contains("put a copy back"), "{text}");
    }
}

#[tokio::test]
async fn a_file_cut_short_is_reported() {
    let (_folder, path) = filled().await;
    let length = std::fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    let text = refused(&path).await;
    assert!(text.contains("put a copy back"), "{text}");
}

#[tokio::test]
async fn what_is_no_store_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    // A folder in the file's place, and a file in the folder's.
    refused(folder.path()).await;
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough to be taken for one. ".repeat(100)).unwrap();
    refused(&text).await;
    refused(&text.join("scrim.db")).await;

    let other = folder.path().join("other.db");
    let options = SqliteConnectOptions::new().filename(&other).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE rooms (colour TEXT)").execute(&pool).await.unwrap();
    pool.close().await;
    let said = refused(&other).await;
    assert!(said.contains("another program's"), "{said}");
}

#[tokio::test]
async fn a_newer_scrims_file_is_left_alone() {
    let (_folder, path) = filled().await;
    let store = Store::open(&path).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)",
    )
    .execute(&store.writer)
    .await
    .unwrap();
    store.close().await;
    let said = refused(&path).await;
    assert!(said.contains("another version of Scrim"), "{said}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_file_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = filled().await;
    let set = |file: u32, above: u32| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file)).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(above)).unwrap();
    };
    set(0o444, 0o755);
    let said = refused(&path).await;
    assert!(said.contains("read-only") && said.contains("writable for the user that runs Scrim"), "{said}");
    assert!(!folder.path().join("scrim.db-wal").exists(), "nothing is left beside it");
    // Root may write everywhere.
    set(0o644, 0o555);
    if File::create(folder.path().join("probe")).is_err() {
        let said = refused(&path).await;
        assert!(said.contains("writable for the user that runs Scrim"), "{said}");
        set(0o200, 0o755);
        assert!(matches!(Store::open(&path).await, Err(StoreError::Unusable { .. })));
    }
    set(0o644, 0o755);
    Store::open(&path).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_may_not_write_is_noticed() {
    let (_folder, path) = filled().await;
    let options = SqliteConnectOptions::new().filename(&path).read_only(true);
    let store = Store::connect(&path, options).await.unwrap();
    let said = store.prepare(&path).await.unwrap_err().to_string();
    assert!(said.contains("readonly") && said.contains("writable for the user that runs Scrim"), "{said}");
    let said = store.check().await.unwrap_err();
    assert!(said.is_unavailable(), "{said}");
    assert!(store.create_room("attic", &json!({}), 1).await.unwrap_err().is_unavailable());
    assert_eq!(store.rooms().await.unwrap().len(), 1, "what can be read is read");
}

#[tokio::test]
async fn damage_at_run_time_is_an_error_of_the_call() {
    let (_folder, path) = filled().await;
    let store = Store::open(&path).await.unwrap();
    let length = std::fs::metadata(&path).unwrap().len();
    overwrite(&path, length / 4, length as usize / 2);
    let error = store.events("stage", 0, u32::MAX).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("put a copy back"), "{error}");
}

#[tokio::test]
async fn what_somebody_else_wrote_into_a_row_is_an_error() {
    let (_folder, store) = with_room().await;
    sqlx::query("UPDATE rooms SET settings = '{'").execute(&store.writer).await.unwrap();
    assert!(store.rooms().await.unwrap_err().is_unavailable());
    sqlx::query("UPDATE rooms SET settings = '{}', id = 'x'").execute(&store.writer).await.unwrap();
    assert!(store.room("stage").await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_passes() {
    let (_folder, store) = with_room().await;
    let large = json!({ "notes": "x".repeat(100_000) });
    let state = vec![7; 100_000];
    let snapshot = SnapshotRow {
        room: "stage".to_owned(),
        slot: Slot::Threshold,
        generation: 0,
        plugin: "a".to_owned(),
        version: "1.0.0".to_owned(),
        state,
        last_feedback: None,
        taken_at: 1,
    };
    let told = NewFeedback { reporter: "x".repeat(100_000), ..report("stage", true) };
    let fat = EventRow { body: large.clone(), ..event("stage", 1) };
    for _ in 0..2 {
        store.limit_pages(Some(1)).await;
        let full = [
            store.create_room("attic", &large, 2).await.map(drop),
            store.update_room("stage", &large, Some(1), 2).await.map(drop),
            store.set_policy(Scope::Global, Slot::Text, "p@1.0.0", &large, None, 2).await.map(drop),
            store.save_snapshot(&snapshot).await,
            store.journal_feedback(&told).await.map(drop),
            store.append_events(&[event("stage", 2), fat.clone()]).await.map(drop),
            store.begin_session("stage", &"x".repeat(100_000), 2).await.map(drop),
        ];
        for answer in full {
            let error = answer.unwrap_err();
            assert!(error.is_unavailable() && error.to_string().contains("free some space"), "{error}");
        }
        assert_eq!(store.rooms().await.unwrap().len(), 1, "reading goes on");
        assert_eq!(store.room("stage").await.unwrap().map(|room| room.revision), Some(1));
        assert_eq!(store.feedback_count("stage").await.unwrap(), 0);
        assert_eq!(store.last_event_seq("stage").await.unwrap(), 0, "nothing is written by halves");
    }
    store.limit_pages(None).await;
    store.check().await.unwrap();
    store.create_room("attic", &large, 3).await.unwrap();
    store.save_snapshot(&snapshot).await.unwrap();
    assert!(matches!(store.journal_feedback(&told).await.unwrap(), Journalled::New(_)));
    assert_eq!(store.append_events(&[event("stage", 2), fat]).await.unwrap(), 2);
    store.update_room("stage", &Value::Null, Some(1), 3).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_sqlite_ended_itself_does_not_stop_the_next() {
    let (_folder, store) = with_room().await;
    let mut tx = store.begin().await.unwrap();
    sqlx::query("ROLLBACK").execute(&mut *tx).await.unwrap();
    drop(tx);
    store.update_room("stage", &json!({}), None, 2).await.unwrap();
}

#[tokio::test]
async fn an_abandoned_verb_leaves_nothing_half_done() {
    let (_folder, store) = with_room().await;
    let events: Vec<EventRow> = (1..=500).map(|seq| event("stage", seq)).collect();
    for ms in 1..60 {
        let verb = store.append_events(&events);
        // Dropped at one of its waits, as when a client goes away.
        let abandoned = tokio::time::timeout(Duration::from_millis(ms), verb).await;
        let last = store.last_event_seq("stage").await.unwrap();
        assert!(last == 0 || last == 500, "all or nothing, not {last}");
        if abandoned.is_ok() {
            break;
        }
    }
    assert_eq!(store.append_events(&events).await.unwrap() % 500, 0);
    assert_eq!(store.events("stage", 0, 1000).await.unwrap(), events);
}
