//! What happened in a room, in the order in which it happened.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::error::unavailable;
use super::{Store, StoreError, room_id, values};

/// Words that a room's configuration asks to keep for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptText {
    pub text: String,
    /// When they are forgotten.
    pub until: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    pub id: Uuid,
    pub room: String,
    /// Place among the room's events, from 1. The room's driver gives it, so that events can be shown before they are stored.
    pub seq: i64,
    pub at: i64,
    pub kind: String,
    pub body: Value,
    /// What it is about, in the words of whoever said, typed or showed it.
    pub text: Option<KeptText>,
}

fn read(row: SqliteRow) -> Result<EventRow, sqlx::Error> {
    let (text, until): (Option<String>, Option<i64>) = (row.try_get("text")?, row.try_get("text_until")?);
    Ok(EventRow {
        id: values::uuid(&row, "id")?,
        room: row.try_get("room_name")?,
        seq: row.try_get("seq")?,
        at: row.try_get("at")?,
        kind: row.try_get("kind")?,
        body: values::json(&row, "body")?,
        text: text.zip(until).map(|(text, until)| KeptText { text, until }),
    })
}

impl Store {
    /// All of them or none. One whose place is taken is passed over, so a batch can be written again when its answer was lost; so is one
    /// whose room is gone, with which its events have gone. Says how many were new.
    pub async fn append_events(&self, events: &[EventRow]) -> Result<u64, StoreError> {
        let failed = unavailable("append events");
        let mut tx = self.begin().await.map_err(failed)?;
        let mut rooms: HashMap<&str, Option<(String, i64)>> = HashMap::new();
        let mut written = 0;
        for event in events {
            let room = match rooms.entry(&event.room) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(match room_id(&mut tx, &event.room, failed).await {
                    Ok(id) => Some((id, 0)),
                    Err(StoreError::Missing(_)) => None,
                    Err(error) => return Err(error),
                }),
            };
            let Some((room, last)) = room else { continue };
            *last = event.seq.max(*last);
            let result = sqlx::query(
                "INSERT INTO events (room, seq, id, at, kind, body, text, text_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (room, seq) DO NOTHING",
            )
            .bind(&*room)
            .bind(event.seq)
            .bind(event.id.to_string())
            .bind(event.at)
            .bind(&event.kind)
            .bind(event.body.to_string())
            .bind(event.text.as_ref().map(|kept| &kept.text))
            .bind(event.text.as_ref().map(|kept| kept.until))
            .execute(&mut *tx)
            .await
            .map_err(|error| match error.as_database_error() {
                Some(fault) if fault.is_unique_violation() => StoreError::Exists(format!("event `{}`", event.id)),
                _ => failed(error),
            })?;
            written += result.rows_affected();
        }
        for (room, last) in rooms.values().flatten() {
            sqlx::query("UPDATE rooms SET last_event = $2 WHERE id = $1 AND last_event < $2")
                .bind(room)
                .bind(last)
                .execute(&mut *tx)
                .await
                .map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(written)
    }

    /// In order, those after a place; 0 is before the first.
    pub async fn events(&self, room: &str, after_seq: i64, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        sqlx::query(
            "SELECT e.*, r.name AS room_name FROM events e JOIN rooms r ON r.id = e.room
             WHERE r.name = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3",
        )
        .bind(room)
        .bind(after_seq)
        .bind(i64::from(limit))
        .try_map(read)
        .fetch_all(&self.readers)
        .await
        .map_err(unavailable("list events"))
    }

    pub async fn event(&self, room: &str, id: Uuid) -> Result<Option<EventRow>, StoreError> {
        sqlx::query("SELECT e.*, r.name AS room_name FROM events e JOIN rooms r ON r.id = e.room WHERE r.name = $1 AND e.id = $2")
            .bind(room)
            .bind(id.to_string())
            .try_map(read)
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable("read an event"))
    }

    /// 0 where none was ever appended. Pruning does not set it back.
    pub async fn last_event_seq(&self, room: &str) -> Result<i64, StoreError> {
        let last: Option<i64> = sqlx::query_scalar("SELECT last_event FROM rooms WHERE name = $1")
            .bind(room)
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable("read a room's last event"))?;
        Ok(last.unwrap_or(0))
    }

    /// Forgets the words whose time is over by `now`, in every room; the events stay. Says of how many events.
    pub async fn forget_texts(&self, now: i64) -> Result<u64, StoreError> {
        let forgotten = sqlx::query("UPDATE events SET text = NULL, text_until = NULL WHERE text_until <= $1")
            .bind(now)
            .execute(&self.writer)
            .await
            .map_err(unavailable("forget texts"))?;
        Ok(forgotten.rows_affected())
    }

    /// Deletes what happened before `older_than` and is not among the newest `keep` of the room's events. Says how many went.
    pub async fn prune_events(&self, room: &str, keep: i64, older_than: i64) -> Result<u64, StoreError> {
        let failed = unavailable("prune events");
        let mut tx = self.begin().await.map_err(failed)?;
        let id: Option<String> =
            sqlx::query_scalar("SELECT id FROM rooms WHERE name = $1").bind(room).fetch_optional(&mut *tx).await.map_err(failed)?;
        let Some(id) = id else { return Ok(0) };
        let pruned = sqlx::query(
            "DELETE FROM events WHERE room = $1 AND at < $3
             AND seq <= (SELECT seq FROM events WHERE room = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2)",
        )
        .bind(id)
        .bind(keep.max(0))
        .bind(older_than)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(pruned.rows_affected())
    }
}
