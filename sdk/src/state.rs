//! How a policy's state is saved: its version as four little-endian bytes, then the value as postcard. Exact (no decimal rounding), the
//! same bytes for the same value, and small.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest snapshot that the contract allows, in bytes.
pub const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024;

/// Saves `state` under `version`.
///
/// # Panics
/// If serde refuses the value, or if it is larger than [`SNAPSHOT_BYTES_MAX`]: in the host that is a fault of the plugin.
pub fn encode<T: Serialize>(version: u32, state: &T) -> Vec<u8> {
    let bytes = match postcard::to_extend(state, version.to_le_bytes().to_vec()) {
        Ok(bytes) => bytes,
        Err(error) => panic!("the state cannot be saved: {error}"),
    };
    assert!(bytes.len() <= SNAPSHOT_BYTES_MAX, "the state takes {} bytes, a snapshot may have {SNAPSHOT_BYTES_MAX}", bytes.len());
    bytes
}

/// Splits a snapshot into the state's version and its bytes.
pub fn split(snapshot: &[u8]) -> Result<(u32, &[u8]), String> {
    match snapshot.split_first_chunk::<4>() {
        Some((version, bytes)) => Ok((u32::from_le_bytes(*version), bytes)),
        None => Err(format!("a snapshot starts with 4 bytes of state version; this one has {} in all", snapshot.len())),
    }
}

/// Reads a state's bytes, without their version. All of them must be used.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((state, [])) => Ok(state),
        Ok((_, rest)) => Err(format!("the state has {} bytes more than its type", rest.len())),
        Err(error) => Err(format!("the state's bytes do not fit its type: {error}")),
    }
}

/// The refusal of a state that was saved under version `found` by a plugin that reads version `own`.
pub fn unknown(found: u32, own: u32) -> String {
    format!("state version {found} is unknown to this plugin, which reads version {own}")
}
