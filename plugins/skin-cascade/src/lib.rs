//! Which frames a detector should look at, decided on a thumbnail. Two versions of one plugin, so that a room can swap one for the
//! other: [`classic`] (1.0.0), the well-known rules on a frame's shares of skin and edges, and [`v2`] (2.0.0), which follows
//! heads, regions and novelty through time. Natively both types exist; a wasm build exports 2.0.0, or 1.0.0 with the feature `classic`.

pub mod classic;
mod picks;
pub mod v2;

#[cfg(any(not(target_arch = "wasm32"), feature = "classic"))]
scrim_sdk::export!(cascade: classic::Classic, version = "1.0.0");
#[cfg(any(not(target_arch = "wasm32"), not(feature = "classic")))]
scrim_sdk::export!(cascade: v2::Regions, version = "2.0.0");
