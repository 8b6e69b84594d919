//! Which plugin fills which slot, for all rooms or for one, and how it is configured.
//!
//! The revisions of a scope's slot go on growing when its policy is cleared: an old one never means a newer policy.

use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::error::unavailable;
use super::{Store, StoreError, room_id, values};
use crate::plugin::types::Slot;

/// Whose policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope<'a> {
    /// Of every room that has none of its own.
    Global,
    Room(&'a str),
}

/// What stands for a room's id in the key of a global policy.
const GLOBAL: &str = "global";

#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRow {
    pub slot: Slot,
    /// `name@version`.
    pub plugin: String,
    pub config: Value,
    pub revision: i64,
    pub updated_at: i64,
}

fn read(row: SqliteRow) -> Result<PolicyRow, sqlx::Error> {
    Ok(PolicyRow {
        slot: values::slot(&row, "slot")?,
        plugin: row.try_get("plugin")?,
        config: values::json(&row, "config")?,
        revision: row.try_get("revision")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn named(scope: Scope<'_>, slot: Slot) -> String {
    match scope {
        Scope::Global => format!("global {slot} policy"),
        Scope::Room(room) => format!("{slot} policy of room `{room}`"),
    }
}

impl Store {
    /// Those that the scope sets itself, by slot.
    pub async fn policies(&self, scope: Scope<'_>) -> Result<Vec<PolicyRow>, StoreError> {
        let query = match scope {
            Scope::Global => sqlx::query(
                "SELECT slot, plugin, config, revision, updated_at FROM policies
                 WHERE scope = $1 AND plugin IS NOT NULL ORDER BY slot",
            )
            .bind(GLOBAL),
            Scope::Room(room) => sqlx::query(
                "SELECT p.slot, p.plugin, p.config, p.revision, p.updated_at FROM policies p JOIN rooms r ON r.id = p.scope
                 WHERE r.name = $1 AND p.plugin IS NOT NULL ORDER BY p.slot",
            )
            .bind(room),
        };
        query.try_map(read).fetch_all(&self.readers).await.map_err(unavailable("list policies"))
    }

    /// With `if_revision`, only when the policy is at that one; 0 means only when none is set.
    pub async fn set_policy(
        &self,
        scope: Scope<'_>,
        slot: Slot,
        plugin: &str,
        config: &Value,
        if_revision: Option<i64>,
        now: i64,
    ) -> Result<PolicyRow, StoreError> {
        let failed = unavailable("set a policy");
        let mut tx = self.begin().await.map_err(failed)?;
        let room = match scope {
            Scope::Global => None,
            Scope::Room(room) => Some(room_id(&mut tx, room, failed).await?),
        };
        let key = room.as_deref().unwrap_or(GLOBAL);
        let current = live_revision(&mut tx, key, slot).await.map_err(failed)?.unwrap_or(0);
        expect(scope, slot, if_revision, current)?;
        let row = sqlx::query(
            "INSERT INTO policies (scope, room, slot, plugin, config, revision, updated_at) VALUES ($1, $2, $3, $4, $5, 1, $6)
             ON CONFLICT (scope, slot) DO UPDATE
             SET plugin = excluded.plugin, config = excluded.config, revision = policies.revision + 1, updated_at = excluded.updated_at
             RETURNING slot, plugin, config, revision, updated_at",
        )
        .bind(key)
        .bind(room.as_deref())
        .bind(slot.as_str())
        .bind(plugin)
        .bind(config.to_string())
        .bind(now)
        .try_map(read)
        .fetch_one(&mut *tx)
        .await
        .map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(row)
    }

    pub async fn clear_policy(&self, scope: Scope<'_>, slot: Slot, if_revision: Option<i64>) -> Result<(), StoreError> {
        let failed = unavailable("clear a policy");
        let mut tx = self.begin().await.map_err(failed)?;
        let key = match scope {
            Scope::Global => GLOBAL.to_owned(),
            Scope::Room(room) => room_id(&mut tx, room, failed).await?,
        };
        let current = live_revision(&mut tx, &key, slot).await.map_err(failed)?;
        let current = current.ok_or_else(|| StoreError::Missing(named(scope, slot)))?;
        expect(scope, slot, if_revision, current)?;
        sqlx::query("UPDATE policies SET plugin = NULL, config = NULL, revision = revision + 1 WHERE scope = $1 AND slot = $2")
            .bind(&key)
            .bind(slot.as_str())
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        tx.commit().await.map_err(failed)
    }

    /// Whether any scope's policy is this `name@version`.
    pub async fn plugin_in_use(&self, plugin: &str) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM policies WHERE plugin = $1)")
            .bind(plugin)
            .fetch_one(&self.readers)
            .await
            .map_err(unavailable("see whether a plugin is in use"))
    }
}

/// The revision of a policy that is set.
async fn live_revision(tx: &mut SqliteConnection, key: &str, slot: Slot) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT revision FROM policies WHERE scope = $1 AND slot = $2 AND plugin IS NOT NULL")
        .bind(key)
        .bind(slot.as_str())
        .fetch_optional(tx)
        .await
}

fn expect(scope: Scope<'_>, slot: Slot, if_revision: Option<i64>, current: i64) -> Result<(), StoreError> {
    match if_revision {
        Some(expected) if expected != current => Err(StoreError::Stale { what: named(scope, slot), current }),
        _ => Ok(()),
    }
}
