//! Every verb, on real files.

use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::geometry::Rect;
use crate::plugin::types::{LabelThreshold, Slot};

pub(super) async fn opened() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("new/scrim.db")).await.unwrap();
    (folder, store)
}

pub(super) async fn with_room() -> (TempDir, Store) {
    let (folder, store) = opened().await;
    store.create_room("stage", &json!({}), 1).await.unwrap();
    (folder, store)
}

pub(super) fn report(room: &str, correct: bool) -> NewFeedback {
    NewFeedback {
        event_id: Uuid::now_v7(),
        room: room.to_owned(),
        plugin: Some("adaptive-threshold".to_owned()),
        reporter: "ada".to_owned(),
        detector: "nudity".to_owned(),
        label: "FACE_FEMALE".to_owned(),
        confidence: 0.1 + 0.2,
        area: Some(Rect::new(0.1, 0.2, 1.0 / 3.0, 0.7)),
        correct,
        at: 7,
    }
}

pub(super) fn event(room: &str, seq: i64) -> EventRow {
    EventRow {
        id: Uuid::now_v7(),
        room: room.to_owned(),
        seq,
        at: 100 * seq,
        kind: "swap".to_owned(),
        body: json!({ "to": "skin-cascade@2.0.0", "seq": seq }),
        text: None,
    }
}

fn snapshot(generation: i64, plugin: &str, state: &[u8]) -> SnapshotRow {
    SnapshotRow {
        room: "stage".to_owned(),
        slot: Slot::Threshold,
        generation,
        plugin: plugin.to_owned(),
        version: "1.0.0".to_owned(),
        state: state.to_vec(),
        last_feedback: None,
        taken_at: 5,
    }
}

#[tokio::test]
async fn the_file_is_opened_as_promised() {
    let (_folder, store) = opened().await;
    for pool in [&store.writer, &store.readers] {
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
        let full: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(pool).await.unwrap();
        let keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(pool).await.unwrap();
        assert_eq!((journal.as_str(), full, keys), ("wal", 2, 1));
    }
    assert!(sqlx::query("DELETE FROM rooms").execute(&store.readers).await.is_err(), "readers cannot write");
    store.check().await.unwrap();
}

#[tokio::test]
async fn rooms_are_made_changed_and_deleted() {
    let (_folder, store) = opened().await;
    let made = store.create_room("stage", &json!({ "delay_ms": 400 }), 10).await.unwrap();
    assert_eq!((made.revision, made.created_at, made.updated_at, made.id.get_version_num()), (1, 10, 10, 7));
    assert!(matches!(store.create_room("stage", &json!({}), 11).await, Err(StoreError::Exists(what)) if what == "room `stage`"));
    assert_eq!(store.room("stage").await.unwrap(), Some(made.clone()));
    assert_eq!(store.room("Stage").await.unwrap(), None);
    store.create_room("attic", &json!({}), 12).await.unwrap();
    let names: Vec<String> = store.rooms().await.unwrap().into_iter().map(|room| room.name).collect();
    assert_eq!(names, ["attic", "stage"]);

    let changed = store.update_room("stage", &json!({ "delay_ms": 500 }), None, 20).await.unwrap();
    assert_eq!((changed.id, changed.revision, changed.created_at, changed.updated_at), (made.id, 2, 10, 20));
    assert_eq!(changed.settings, json!({ "delay_ms": 500 }));
    let stale = store.update_room("stage", &json!({}), Some(1), 21).await.unwrap_err();
    assert!(matches!(&stale, StoreError::Stale { current: 2, .. }), "{stale}");
    assert_eq!(store.update_room("stage", &json!({}), Some(2), 22).await.unwrap().revision, 3);
    assert!(matches!(store.update_room("cellar", &json!({}), None, 23).await, Err(StoreError::Missing(_))));

    assert!(matches!(store.delete_room("stage", Some(2)).await, Err(StoreError::Stale { current: 3, .. })));
    store.delete_room("stage", Some(3)).await.unwrap();
    assert!(matches!(store.delete_room("stage", None).await, Err(StoreError::Missing(_))));
    assert_ne!(store.create_room("stage", &json!({}), 30).await.unwrap().id, made.id);
}

#[tokio::test]
async fn of_two_changes_to_one_revision_one_is_stale() {
    let (_folder, store) = with_room().await;
    let change = |n: i64| {
        let store = store.clone();
        tokio::spawn(async move { store.update_room("stage", &json!({ "n": n }), Some(1), n).await })
    };
    let mut won = 0;
    for task in (0..8).map(change).collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(row) => won += row.revision,
            Err(error) => assert!(matches!(error, StoreError::Stale { current: 2, .. }), "{error}"),
        }
    }
    assert_eq!(won, 2, "one change, to revision 2");
}

#[tokio::test]
async fn a_deleted_room_leaves_nothing_behind() {
    let (_folder, store) = with_room().await;
    store.create_room("attic", &json!({}), 1).await.unwrap();
    for room in ["stage", "attic"] {
        store.set_policy(Scope::Room(room), Slot::Text, "profanity-context@2.0.0", &json!({}), None, 1).await.unwrap();
        store.save_snapshot(&SnapshotRow { room: room.to_owned(), ..snapshot(0, "a", b"x") }).await.unwrap();
        store.journal_feedback(&report(room, true)).await.unwrap();
        let threshold = LabelThreshold { detector: "nudity".to_owned(), label: "x".to_owned(), threshold: 0.5 };
        store.save_thresholds(room, &[threshold], 1).await.unwrap();
        store.append_events(&[event(room, 1)]).await.unwrap();
        store.begin_session(room, "camera", 1).await.unwrap();
    }
    store.delete_room("stage", None).await.unwrap();
    for table in ["rooms", "policies", "snapshots", "feedback", "thresholds", "events", "sessions"] {
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(count).fetch_one(&store.readers).await.unwrap();
        assert_eq!(rows, 1, "{table} holds what is the other room's, and that alone");
    }
    store.create_room("stage", &json!({}), 2).await.unwrap();
    assert_eq!(store.policies(Scope::Room("stage")).await.unwrap(), []);
    assert_eq!(store.last_event_seq("stage").await.unwrap(), 0);
    assert_eq!(store.feedback_count("stage").await.unwrap(), 0);
}

#[tokio::test]
async fn policies_keep_their_revisions_growing() {
    let (_folder, store) = with_room().await;
    let room = Scope::Room("stage");
    let set = |scope, revision, now| {
        let store = store.clone();
        async move { store.set_policy(scope, Slot::Cascade, "skin-cascade@2.0.0", &json!({ "skin": 0.5 }), revision, now).await }
    };
    assert!(matches!(set(room, Some(1), 1).await, Err(StoreError::Stale { current: 0, .. })));
    let first = set(room, Some(0), 1).await.unwrap();
    assert_eq!((first.revision, first.updated_at), (1, 1));
    assert!(matches!(set(room, Some(0), 2).await, Err(StoreError::Stale { current: 1, .. })));
    assert_eq!(set(room, Some(1), 2).await.unwrap().revision, 2);
    // The global one is another row.
    assert_eq!(set(Scope::Global, None, 3).await.unwrap().revision, 1);
    assert_eq!(store.policies(room).await.unwrap()[0].revision, 2);
    assert!(store.plugin_in_use("skin-cascade@2.0.0").await.unwrap());
    assert!(!store.plugin_in_use("skin-cascade@1.0.0").await.unwrap());

    assert!(matches!(store.clear_policy(room, Slot::Cascade, Some(1)).await, Err(StoreError::Stale { current: 2, .. })));
    store.clear_policy(room, Slot::Cascade, Some(2)).await.unwrap();
    assert_eq!(store.policies(room).await.unwrap(), []);
    assert!(matches!(store.clear_policy(room, Slot::Cascade, None).await, Err(StoreError::Missing(_))));
    assert!(matches!(set(room, Some(2), 4).await, Err(StoreError::Stale { current: 0, .. })), "an old revision does not match");
    assert_eq!(set(room, None, 5).await.unwrap().revision, 4);
    store.clear_policy(Scope::Global, Slot::Cascade, None).await.unwrap();
    store.clear_policy(room, Slot::Cascade, None).await.unwrap();
    assert!(!store.plugin_in_use("skin-cascade@2.0.0").await.unwrap());
    assert!(matches!(set(Scope::Room("cellar"), None, 6).await, Err(StoreError::Missing(_))));
    assert!(matches!(store.clear_policy(Scope::Room("cellar"), Slot::Text, None).await, Err(StoreError::Missing(_))));
}

#[tokio::test]
async fn snapshots_that_may_be_needed_are_kept() {
    let (_folder, store) = with_room().await;
    let latest = async |plugin: &str| store.latest_snapshot("stage", Slot::Threshold, plugin).await.unwrap();
    assert_eq!(latest("a").await, None);
    let fed = SnapshotRow { last_feedback: Some(Uuid::now_v7()), ..snapshot(0, "a", b"first") };
    store.save_snapshot(&fed).await.unwrap();
    assert_eq!(latest("a").await, Some(fed));
    // The same generation's later one takes its place.
    store.save_snapshot(&snapshot(0, "a", b"second")).await.unwrap();
    for generation in 1..10 {
        store.save_snapshot(&snapshot(generation, "b", &[generation as u8])).await.unwrap();
    }
    let kept: Vec<(String, i64)> =
        sqlx::query_as("SELECT plugin, generation FROM snapshots ORDER BY saved").fetch_all(&store.readers).await.unwrap();
    let expected = [("a", 0), ("b", 6), ("b", 7), ("b", 8), ("b", 9)].map(|(plugin, generation)| (plugin.to_owned(), generation));
    assert_eq!(kept, expected);
    assert_eq!(latest("a").await.unwrap().state, b"second");
    // After a restart generations begin anew: a lower one is newer, and takes nothing from another plugin.
    store.save_snapshot(&snapshot(0, "b", b"restarted")).await.unwrap();
    assert_eq!(latest("b").await.unwrap().state, b"restarted");
    assert_eq!(latest("a").await.unwrap().state, b"second");
    assert_eq!(store.latest_snapshot("stage", Slot::Text, "a").await.unwrap(), None);
    let nowhere = SnapshotRow { room: "cellar".to_owned(), ..snapshot(0, "a", b"") };
    assert!(matches!(store.save_snapshot(&nowhere).await, Err(StoreError::Missing(_))));
}

#[tokio::test]
async fn feedback_is_read_back_in_order() {
    let (_folder, store) = with_room().await;
    store.create_room("attic", &json!({}), 1).await.unwrap();
    let mut written = Vec::new();
    for n in 0..5 {
        let plugin = (n != 2).then(|| "adaptive-threshold".to_owned());
        let area = if n == 3 { None } else { report("stage", true).area };
        let new = NewFeedback { plugin, area, ..report("stage", n % 2 == 0) };
        let Journalled::New(row) = store.journal_feedback(&new).await.unwrap() else { panic!("it is new") };
        assert_eq!((row.event_id, row.confidence, row.area, row.correct), (new.event_id, new.confidence, new.area, new.correct));
        written.push(row);
    }
    assert_eq!(written.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let since = async |after: Option<usize>, limit| {
        let after = after.map(|n| written[n].event_id);
        store.feedback_since("stage", "adaptive-threshold", after, limit).await.unwrap()
    };
    assert_eq!(since(None, 10).await, [0, 1, 3, 4].map(|n: usize| written[n].clone()));
    assert_eq!(since(None, 2).await, written[..2]);
    assert_eq!(since(Some(1), 10).await, written[3..]);
    assert_eq!(since(Some(2), 10).await, written[3..], "after one that another plugin was told");
    assert_eq!(since(Some(4), 10).await, []);
    assert_eq!(store.feedback_since("stage", "other", None, 10).await.unwrap(), []);
    let unknown = store.feedback_since("attic", "adaptive-threshold", Some(written[0].event_id), 10).await;
    assert!(matches!(unknown, Err(StoreError::Missing(_))), "not in this room's journal");
    assert_eq!((store.feedback_count("stage").await.unwrap(), store.feedback_count("attic").await.unwrap()), (5, 0));

    let other = NewFeedback { label: "FEET_EXPOSED".to_owned(), ..report("stage", false) };
    assert!(matches!(store.journal_feedback(&other).await.unwrap(), Journalled::New(_)));
    let counts = store.feedback_by_label("stage", 10).await.unwrap();
    let told: Vec<_> = counts.iter().map(|of| (of.label.as_str(), of.right, of.wrong)).collect();
    assert_eq!(told, [(written[0].label.as_str(), 3, 2), ("FEET_EXPOSED", 0, 1)]);
    assert_eq!(store.feedback_by_label("stage", 1).await.unwrap(), counts[..1]);
    assert_eq!(store.feedback_by_label("attic", 10).await.unwrap(), []);

    // The same identity in another room is another report.
    let elsewhere = NewFeedback { event_id: written[0].event_id, ..report("attic", true) };
    assert!(matches!(store.journal_feedback(&elsewhere).await.unwrap(), Journalled::New(row) if row.seq == 1));
    assert!(matches!(store.journal_feedback(&report("cellar", true)).await, Err(StoreError::Missing(_))));
    let not_a_number = NewFeedback { confidence: f32::NAN, ..report("stage", true) };
    assert!(matches!(store.journal_feedback(&not_a_number).await, Err(StoreError::Refused { .. })));
    let endless = NewFeedback { area: Some(Rect::new(0.0, 0.0, f32::INFINITY, 1.0)), ..report("stage", true) };
    assert!(matches!(store.journal_feedback(&endless).await, Err(StoreError::Refused { .. })));
}

#[tokio::test]
async fn the_same_feedback_counts_once() {
    let (_folder, store) = with_room().await;
    let once = report("stage", true);
    let Journalled::New(first) = store.journal_feedback(&once).await.unwrap() else { panic!("it is new") };
    let other_words = NewFeedback { correct: false, at: 99, ..once };
    assert_eq!(store.journal_feedback(&other_words).await.unwrap(), Journalled::Already(first));
    assert_eq!(store.feedback_count("stage").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_feedback_from_many_at_once_counts_once() {
    let (_folder, store) = with_room().await;
    for round in 1..=10 {
        let same = report("stage", true);
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (store, same) = (store.clone(), same.clone());
                tokio::spawn(async move { store.journal_feedback(&same).await.unwrap() })
            })
            .collect();
        let mut new = 0;
        for task in tasks {
            let (Journalled::New(row) | Journalled::Already(row), is_new) = match task.await.unwrap() {
                answer @ Journalled::New(_) => (answer, 1),
                answer @ Journalled::Already(_) => (answer, 0),
            };
            new += is_new;
            assert_eq!((row.event_id, row.seq), (same.event_id, round));
        }
        assert_eq!(new, 1);
    }
    assert_eq!(store.feedback_count("stage").await.unwrap(), 10);
}

#[tokio::test]
async fn thresholds_are_what_was_said_last() {
    let (_folder, store) = with_room().await;
    let said = |label: &str, threshold| LabelThreshold { detector: "nudity".to_owned(), label: label.to_owned(), threshold };
    store.save_thresholds("stage", &[said("b", 0.35), said("a", 0.1)], 1).await.unwrap();
    assert_eq!(store.thresholds("stage").await.unwrap(), [said("a", 0.1), said("b", 0.35)]);
    store.save_thresholds("stage", &[said("b", 0.4)], 2).await.unwrap();
    assert_eq!(store.thresholds("stage").await.unwrap(), [said("b", 0.4)]);
    let refused = store.save_thresholds("stage", &[said("c", 0.2), said("b", f32::NAN)], 3).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })));
    assert_eq!(store.thresholds("stage").await.unwrap(), [said("b", 0.4)], "all or nothing");
    assert!(matches!(store.save_thresholds("cellar", &[], 4).await, Err(StoreError::Missing(_))));
}

#[tokio::test]
async fn events_are_appended_once_and_read_in_order() {
    let (_folder, store) = with_room().await;
    store.create_room("attic", &json!({}), 1).await.unwrap();
    let batch: Vec<EventRow> = (1..=4).map(|seq| event("stage", seq)).chain([event("attic", 1)]).collect();
    assert_eq!(store.append_events(&batch).await.unwrap(), 5);
    assert_eq!(store.append_events(&batch).await.unwrap(), 0, "again, since the answer was lost");
    assert_eq!(store.append_events(&[]).await.unwrap(), 0);
    assert_eq!(store.events("stage", 0, 10).await.unwrap(), batch[..4]);
    assert_eq!(store.events("stage", 2, 1).await.unwrap(), batch[2..3]);
    assert_eq!(store.event("stage", batch[1].id).await.unwrap(), Some(batch[1].clone()));
    assert_eq!(store.event("attic", batch[1].id).await.unwrap(), None);
    assert_eq!((store.last_event_seq("stage").await.unwrap(), store.last_event_seq("cellar").await.unwrap()), (4, 0));
    let half = [event("stage", 5), event("cellar", 1)];
    assert_eq!(store.append_events(&half).await.unwrap(), 1, "a room that is gone holds nothing else up");
    let twice = [event("stage", 6), EventRow { seq: 7, ..batch[0].clone() }];
    assert!(matches!(store.append_events(&twice).await, Err(StoreError::Exists(_))), "one identity, one event");
    assert_eq!(store.last_event_seq("stage").await.unwrap(), 5, "all or nothing");
}

#[tokio::test]
async fn pruning_keeps_the_newest_and_the_young() {
    let (_folder, store) = with_room().await;
    store.create_room("attic", &json!({}), 1).await.unwrap();
    let batch: Vec<EventRow> = (1..=10).flat_map(|seq| [event("stage", seq), event("attic", seq)]).collect();
    store.append_events(&batch).await.unwrap();
    let left = async |room: &str| store.events(room, 0, 100).await.unwrap().iter().map(|event| event.seq).collect::<Vec<_>>();
    // Event n happened at 100 n.
    assert_eq!(store.prune_events("stage", 10, i64::MAX).await.unwrap(), 0);
    assert_eq!(store.prune_events("stage", 0, 400).await.unwrap(), 3, "the young stay");
    assert_eq!(left("stage").await, [4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(store.prune_events("stage", 2, 1100).await.unwrap(), 5, "the newest stay");
    assert_eq!(left("stage").await, [9, 10]);
    assert_eq!(store.prune_events("stage", 0, i64::MAX).await.unwrap(), 2);
    assert!(left("stage").await.is_empty());
    assert_eq!(store.last_event_seq("stage").await.unwrap(), 10, "numbers are not given twice");
    assert_eq!(left("attic").await.len(), 10);
    assert_eq!(store.prune_events("cellar", 0, i64::MAX).await.unwrap(), 0);
}

#[tokio::test]
async fn texts_are_forgotten_when_their_time_is_over_and_their_events_stay() {
    let (_folder, store) = with_room().await;
    let said = |seq: i64, until: i64| EventRow { text: Some(KeptText { text: format!("words {seq}"), until }), ..event("stage", seq) };
    let batch = [said(1, 500), said(2, 900), event("stage", 3)];
    store.append_events(&batch).await.unwrap();
    assert_eq!(store.events("stage", 0, 10).await.unwrap(), batch);
    assert_eq!(store.forget_texts(499).await.unwrap(), 0);
    assert_eq!(store.forget_texts(500).await.unwrap(), 1);
    let left = [EventRow { text: None, ..batch[0].clone() }, batch[1].clone(), batch[2].clone()];
    assert_eq!(store.events("stage", 0, 10).await.unwrap(), left);
    assert_eq!(store.forget_texts(i64::MAX).await.unwrap(), 1);
}

#[tokio::test]
async fn sessions_begin_and_end() {
    let (_folder, store) = with_room().await;
    let first = store.begin_session("stage", "camera", 10).await.unwrap();
    let second = store.begin_session("stage", "screen", 20).await.unwrap();
    let third = store.begin_session("stage", "camera", 30).await.unwrap();
    let counts = SessionCounts { frames: 300, covered: 20, exposed: 1, viewers_peak: 4, viewers_total: 9 };
    store.update_session(first.id, counts).await.unwrap();
    store.end_session(second.id, counts, "the source left", 25).await.unwrap();
    let expected = [
        third.clone(),
        SessionRow {
            ended_at: Some(25),
            end: Some("the source left".to_owned()),
            frames: 300,
            covered: 20,
            exposed: 1,
            viewers_peak: 4,
            viewers_total: 9,
            ..second.clone()
        },
        SessionRow { frames: 300, covered: 20, exposed: 1, viewers_peak: 4, viewers_total: 9, ..first.clone() },
    ];
    assert_eq!(store.sessions("stage", 10).await.unwrap(), expected);
    assert_eq!(store.sessions("stage", 1).await.unwrap(), expected[..1]);
    for ended in [store.update_session(second.id, counts).await, store.end_session(second.id, counts, "again", 26).await] {
        assert!(matches!(ended, Err(StoreError::Missing(_))));
    }
    assert_eq!(store.end_interrupted_sessions(40).await.unwrap(), 2);
    assert_eq!(store.end_interrupted_sessions(41).await.unwrap(), 0);
    let ends: Vec<_> = store.sessions("stage", 10).await.unwrap().into_iter().map(|row| (row.ended_at, row.end)).collect();
    let stopped = (Some(40), Some("the host stopped".to_owned()));
    assert_eq!(ends, [stopped.clone(), (Some(25), Some("the source left".to_owned())), stopped]);
    assert!(matches!(store.begin_session("cellar", "camera", 1).await, Err(StoreError::Missing(_))));
}

#[tokio::test]
async fn plugins_are_added_and_removed() {
    let (_folder, store) = opened().await;
    let plugin =
        |name: &str| PluginRow { plugin: name.to_owned(), slot: Slot::Cascade, digest: "ab".repeat(32), size: 70_000, added_at: 3 };
    let (one, two) = (plugin("mine@1.0.0"), plugin("mine@1.1.0"));
    store.add_plugin(&two).await.unwrap();
    store.add_plugin(&one).await.unwrap();
    assert!(matches!(store.add_plugin(&one).await, Err(StoreError::Exists(what)) if what == "plugin `mine@1.0.0`"));
    assert_eq!(store.plugins().await.unwrap(), [one.clone(), two]);
    store.remove_plugin(&one.plugin).await.unwrap();
    assert!(matches!(store.remove_plugin(&one.plugin).await, Err(StoreError::Missing(_))));
    assert_eq!(store.plugins().await.unwrap().len(), 1);
}
