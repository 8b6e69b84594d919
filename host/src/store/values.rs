//! Between columns and the types of the rows. What does not decode is an error of the store, never a panic: somebody else may have
//! written the file.

use std::error::Error;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::StoreError;
use crate::geometry::Rect;
use crate::plugin::types::Slot;

fn decoded<T, E: Into<Box<dyn Error + Send + Sync>>>(column: &str, result: Result<T, E>) -> Result<T, sqlx::Error> {
    result.map_err(|error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() })
}

pub(super) fn uuid(row: &SqliteRow, column: &str) -> Result<Uuid, sqlx::Error> {
    decoded(column, Uuid::parse_str(row.try_get(column)?))
}

pub(super) fn optional_uuid(row: &SqliteRow, column: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| decoded(column, Uuid::parse_str(text))).transpose()
}

pub(super) fn slot(row: &SqliteRow, column: &str) -> Result<Slot, sqlx::Error> {
    decoded(column, Slot::from_str(row.try_get(column)?))
}

pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error> {
    decoded(column, serde_json::from_str(row.try_get(column)?))
}

pub(super) fn optional_json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<Option<T>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| decoded(column, serde_json::from_str(text))).transpose()
}

/// Stored as a 64-bit float, which holds every 32-bit one.
pub(super) fn float(row: &SqliteRow, column: &str) -> Result<f32, sqlx::Error> {
    row.try_get::<f64, _>(column).map(|wide| wide as f32)
}

/// Databases and JSON know no NaN.
pub(super) fn finite(what: &str, number: f32) -> Result<f64, StoreError> {
    if number.is_finite() { Ok(f64::from(number)) } else { Err(not_finite(what)) }
}

pub(super) fn area_text(area: Option<Rect>) -> Result<Option<String>, StoreError> {
    let Some(area) = area else { return Ok(None) };
    if ![area.x, area.y, area.width, area.height].into_iter().all(f32::is_finite) {
        return Err(not_finite("area"));
    }
    match serde_json::to_string(&area) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(StoreError::Refused { what: "area".to_owned(), why: "it is no JSON" }),
    }
}

fn not_finite(what: &str) -> StoreError {
    StoreError::Refused { what: what.to_owned(), why: "a number in it is not finite" }
}
