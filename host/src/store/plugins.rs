//! Plugins added through the service. Their bytes are in the catalog, under their digest.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::error::unavailable;
use super::{Store, StoreError, values};
use crate::plugin::types::Slot;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRow {
    /// `name@version`.
    pub plugin: String,
    pub slot: Slot,
    /// SHA-256, in hexadecimal.
    pub digest: String,
    /// Bytes of the component.
    pub size: i64,
    pub added_at: i64,
}

fn named(plugin: &str) -> String {
    format!("plugin `{plugin}`")
}

fn read(row: SqliteRow) -> Result<PluginRow, sqlx::Error> {
    Ok(PluginRow {
        plugin: row.try_get("plugin")?,
        slot: values::slot(&row, "slot")?,
        digest: row.try_get("digest")?,
        size: row.try_get("size")?,
        added_at: row.try_get("added_at")?,
    })
}

impl Store {
    pub async fn add_plugin(&self, plugin: &PluginRow) -> Result<(), StoreError> {
        let added = sqlx::query(
            "INSERT INTO plugins (plugin, slot, digest, size, added_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (plugin) DO NOTHING",
        )
        .bind(&plugin.plugin)
        .bind(plugin.slot.as_str())
        .bind(&plugin.digest)
        .bind(plugin.size)
        .bind(plugin.added_at)
        .execute(&self.writer)
        .await
        .map_err(unavailable("add a plugin"))?;
        if added.rows_affected() == 0 { Err(StoreError::Exists(named(&plugin.plugin))) } else { Ok(()) }
    }

    /// All of them, by name.
    pub async fn plugins(&self) -> Result<Vec<PluginRow>, StoreError> {
        sqlx::query("SELECT plugin, slot, digest, size, added_at FROM plugins ORDER BY plugin")
            .try_map(read)
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable("list the plugins"))
    }

    pub async fn remove_plugin(&self, plugin: &str) -> Result<(), StoreError> {
        let removed = sqlx::query("DELETE FROM plugins WHERE plugin = $1")
            .bind(plugin)
            .execute(&self.writer)
            .await
            .map_err(unavailable("remove a plugin"))?;
        if removed.rows_affected() == 0 { Err(StoreError::Missing(named(plugin))) } else { Ok(()) }
    }
}
