//! Rooms.

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::error::unavailable;
use super::{Store, StoreError, values};

#[derive(Clone, Debug, PartialEq)]
pub struct RoomRow {
    pub id: Uuid,
    pub name: String,
    pub settings: Value,
    /// 1 when the room is made; every change of its settings adds one.
    pub revision: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// How errors call a room.
pub(super) fn named(room: &str) -> String {
    format!("room `{room}`")
}

fn read(row: SqliteRow) -> Result<RoomRow, sqlx::Error> {
    Ok(RoomRow {
        id: values::uuid(&row, "id")?,
        name: row.try_get("name")?,
        settings: values::json(&row, "settings")?,
        revision: row.try_get("revision")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Store {
    pub async fn create_room(&self, name: &str, settings: &Value, now: i64) -> Result<RoomRow, StoreError> {
        let failed = unavailable("make a room");
        let mut tx = self.begin().await.map_err(failed)?;
        let made = sqlx::query(
            "INSERT INTO rooms (id, name, settings, revision, created_at, updated_at) VALUES ($1, $2, $3, 1, $4, $4)
             ON CONFLICT (name) DO NOTHING RETURNING id, name, settings, revision, created_at, updated_at",
        )
        .bind(Uuid::now_v7().to_string())
        .bind(name)
        .bind(settings.to_string())
        .bind(now)
        .try_map(read)
        .fetch_optional(&mut *tx)
        .await
        .map_err(failed)?;
        let made = made.ok_or_else(|| StoreError::Exists(named(name)))?;
        tx.commit().await.map_err(failed)?;
        Ok(made)
    }

    /// All of them, by name.
    pub async fn rooms(&self) -> Result<Vec<RoomRow>, StoreError> {
        sqlx::query("SELECT id, name, settings, revision, created_at, updated_at FROM rooms ORDER BY name")
            .try_map(read)
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable("list the rooms"))
    }

    pub async fn room(&self, name: &str) -> Result<Option<RoomRow>, StoreError> {
        sqlx::query("SELECT id, name, settings, revision, created_at, updated_at FROM rooms WHERE name = $1")
            .bind(name)
            .try_map(read)
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable("read a room"))
    }

    /// With `if_revision`, only when the room is at that one.
    pub async fn update_room(&self, name: &str, settings: &Value, if_revision: Option<i64>, now: i64) -> Result<RoomRow, StoreError> {
        let failed = unavailable("change a room");
        let mut tx = self.begin().await.map_err(failed)?;
        let changed = sqlx::query(
            "UPDATE rooms SET settings = $1, revision = revision + 1, updated_at = $2
             WHERE name = $3 AND ($4 IS NULL OR revision = $4)
             RETURNING id, name, settings, revision, created_at, updated_at",
        )
        .bind(settings.to_string())
        .bind(now)
        .bind(name)
        .bind(if_revision)
        .try_map(read)
        .fetch_optional(&mut *tx)
        .await
        .map_err(failed)?;
        match changed {
            Some(row) => tx.commit().await.map_err(failed).map(|()| row),
            None => Err(why_not(&mut tx, name, failed).await),
        }
    }

    /// Deletes the room and everything that hangs on it, events and feedback too.
    pub async fn delete_room(&self, name: &str, if_revision: Option<i64>) -> Result<(), StoreError> {
        let failed = unavailable("delete a room");
        let mut tx = self.begin().await.map_err(failed)?;
        let deleted = sqlx::query("DELETE FROM rooms WHERE name = $1 AND ($2 IS NULL OR revision = $2)")
            .bind(name)
            .bind(if_revision)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        match deleted.rows_affected() {
            0 => Err(why_not(&mut tx, name, failed).await),
            _ => tx.commit().await.map_err(failed),
        }
    }
}

/// Why a change of a room found no row.
async fn why_not(tx: &mut sqlx::SqliteConnection, name: &str, failed: impl Fn(sqlx::Error) -> StoreError) -> StoreError {
    match sqlx::query_scalar("SELECT revision FROM rooms WHERE name = $1").bind(name).fetch_optional(tx).await {
        Ok(Some(current)) => StoreError::Stale { what: named(name), current },
        Ok(None) => StoreError::Missing(named(name)),
        Err(error) => failed(error),
    }
}
