//! What policies learnt, as they wrote it themselves.
//!
//! Kept are the newest [`SNAPSHOTS_KEPT`] of a room's slot, for going back, and for each plugin the newest one, so that a plugin which
//! comes back after others finds its own.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::error::unavailable;
use super::{Store, StoreError, room_id, values};
use crate::plugin::types::Slot;

/// Snapshots of a room's slot, besides the newest of each plugin.
pub const SNAPSHOTS_KEPT: i64 = 4;

#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotRow {
    pub room: String,
    pub slot: Slot,
    /// One plugin's generation has one snapshot, the last.
    pub generation: i64,
    /// The name alone.
    pub plugin: String,
    pub version: String,
    pub state: Vec<u8>,
    /// The last journalled report that is in the state; those after it are told again.
    pub last_feedback: Option<Uuid>,
    pub taken_at: i64,
}

fn read(row: SqliteRow) -> Result<SnapshotRow, sqlx::Error> {
    Ok(SnapshotRow {
        room: row.try_get("room_name")?,
        slot: values::slot(&row, "slot")?,
        generation: row.try_get("generation")?,
        plugin: row.try_get("plugin")?,
        version: row.try_get("version")?,
        state: row.try_get("state")?,
        last_feedback: values::optional_uuid(&row, "last_feedback")?,
        taken_at: row.try_get("taken_at")?,
    })
}

impl Store {
    pub async fn save_snapshot(&self, snapshot: &SnapshotRow) -> Result<(), StoreError> {
        let failed = unavailable("save a policy's snapshot");
        let mut tx = self.begin().await.map_err(failed)?;
        let room = room_id(&mut tx, &snapshot.room, failed).await?;
        sqlx::query(
            "INSERT INTO snapshots (room, slot, generation, plugin, version, state, last_feedback, taken_at, saved)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
                     (SELECT COALESCE(MAX(saved), 0) + 1 FROM snapshots WHERE room = $1 AND slot = $2))
             ON CONFLICT (room, slot, generation, plugin) DO UPDATE
             SET version = excluded.version, state = excluded.state, last_feedback = excluded.last_feedback,
                 taken_at = excluded.taken_at, saved = excluded.saved",
        )
        .bind(&room)
        .bind(snapshot.slot.as_str())
        .bind(snapshot.generation)
        .bind(&snapshot.plugin)
        .bind(&snapshot.version)
        .bind(&snapshot.state)
        .bind(snapshot.last_feedback.map(|id| id.to_string()))
        .bind(snapshot.taken_at)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
        sqlx::query(
            "DELETE FROM snapshots WHERE room = $1 AND slot = $2
             AND saved NOT IN (SELECT saved FROM snapshots WHERE room = $1 AND slot = $2 ORDER BY saved DESC LIMIT $3)
             AND saved NOT IN (SELECT MAX(saved) FROM snapshots WHERE room = $1 AND slot = $2 GROUP BY plugin)",
        )
        .bind(&room)
        .bind(snapshot.slot.as_str())
        .bind(SNAPSHOTS_KEPT)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
        tx.commit().await.map_err(failed)
    }

    /// The one saved last, of whatever version of the plugin.
    pub async fn latest_snapshot(&self, room: &str, slot: Slot, plugin_name: &str) -> Result<Option<SnapshotRow>, StoreError> {
        sqlx::query(
            "SELECT r.name AS room_name, s.slot, s.generation, s.plugin, s.version, s.state, s.last_feedback, s.taken_at
             FROM snapshots s JOIN rooms r ON r.id = s.room
             WHERE r.name = $1 AND s.slot = $2 AND s.plugin = $3 ORDER BY s.saved DESC LIMIT 1",
        )
        .bind(room)
        .bind(slot.as_str())
        .bind(plugin_name)
        .try_map(read)
        .fetch_optional(&self.readers)
        .await
        .map_err(unavailable("read a policy's snapshot"))
    }
}
