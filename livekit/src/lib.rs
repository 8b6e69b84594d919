//! LiveKit's client library as Scrim uses it: rooms with their texts and data, video in and out as I420, audio in and out as samples. It is the same Rust SDK that the Python, Node and C++ ones run
//! on, as `liblivekit_ffi.so`, loaded at run time: building it needs a prebuilt libwebrtc.
//!
//! - [`Library`] loads it and speaks its protocol: requests, and events that come on its threads.
//! - [`Room`] is one participant's connection to a room.
//! - [`VideoStream`] gives the frames of somebody's track, [`VideoTrack`] takes ours; [`AudioStream`] and [`AudioTrack`] do it with sound.
//!
//! What always holds: the library's threads never wait for us; each handle that it hands over is dropped once, also those that come with
//! events nobody waits for; memory of the library is read while its handle is held and copied out.

mod audio;
mod event;
mod library;
mod queue;
mod room;
mod send;
mod text;
mod video;

/// The protocol's messages.
pub mod proto {
    #![allow(missing_docs, clippy::all, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/livekit.proto.rs"));
}

pub use audio::{AudioStream, AudioTrack, Sound};
pub use event::{Event, RemoteTrack};
pub use library::{Error, Library};
pub use room::{Options, Room};
pub use text::TEXT_MAX;
pub use video::{Encoding, I420, Picture, Received, Rotation, VideoStream, VideoTrack};
