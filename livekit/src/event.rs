//! What happens in a room, and where the library's threads leave it: events in order, all of them or none; texts and data, of which there may be
//! any number, up to a bound.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::library::{Handle, Library};
use crate::proto;
use crate::proto::room_event::Message;

/// Events that may wait to be heard. A room that is not listened to for so long is given up: what is missed cannot be told any more.
const EVENTS_MAX: usize = 1024;
/// Texts and data packets among them. More are dropped and counted, so that nobody can talk a room to its end.
const SAID_MAX: usize = 64;
/// A data packet's bytes; a longer one is neither sent nor heard. LiveKit advises against more.
pub(crate) const DATA_MAX: usize = 16 * 1024;

/// Somebody's track that is subscribed to.
#[derive(Debug)]
pub struct RemoteTrack {
    pub sid: String,
    pub name: String,
    pub video: bool,
    pub muted: bool,
    pub(crate) handle: Handle,
}

/// What happens in a room.
#[derive(Debug)]
pub enum Event {
    Joined {
        identity: String,
        /// The one that is displayed.
        name: String,
        attributes: HashMap<String, String>,
    },
    Left {
        identity: String,
    },
    NameChanged {
        identity: String,
        name: String,
    },
    /// All of them, as they are now.
    AttributesChanged {
        identity: String,
        attributes: HashMap<String, String>,
    },
    /// A track was published; its source is the camera, the screen, a microphone.
    Published {
        identity: String,
        sid: String,
        name: String,
        source: proto::TrackSource,
        muted: bool,
        /// As the publisher says; 0 for audio.
        width: u32,
        height: u32,
        /// End to end. Without the room's key, or with another, no picture of it ever comes, and the library does not say so.
        encrypted: bool,
    },
    Unpublished {
        identity: String,
        sid: String,
    },
    Subscribed {
        identity: String,
        track: RemoteTrack,
    },
    Unsubscribed {
        identity: String,
        sid: String,
    },
    Muted {
        identity: String,
        sid: String,
    },
    Unmuted {
        identity: String,
        sid: String,
    },
    /// Our track has another sid since we are connected anew.
    Republished {
        previous: String,
        sid: String,
    },
    /// A text, whole. Who publishes nothing is told as joined a few seconds late, so it can be heard before.
    Text {
        identity: String,
        topic: String,
        text: String,
        /// Of the text, given by its sender.
        id: String,
        attributes: HashMap<String, String>,
    },
    Data {
        identity: String,
        topic: Option<String>,
        payload: Vec<u8>,
    },
    Reconnecting,
    Reconnected,
    /// The last event.
    Over {
        reason: String,
    },
}

impl Event {
    /// One that may be missed.
    fn said(&self) -> bool {
        matches!(self, Self::Text { .. } | Self::Data { .. })
    }
}

/// Where the library's threads leave a room's events.
pub(crate) struct Inbox {
    /// None once too many waited.
    events: Mutex<Option<mpsc::Sender<Event>>>,
    /// Texts and data among those that wait.
    said: AtomicUsize,
    dropped: AtomicU64,
}

impl Inbox {
    pub fn new() -> (Self, mpsc::Receiver<Event>) {
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        (Self { events: Mutex::new(Some(tell)), said: AtomicUsize::new(0), dropped: AtomicU64::new(0) }, events)
    }

    pub fn push(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if event.said() {
            // Only here it grows, under the lock.
            if self.said.load(Ordering::Relaxed) >= SAID_MAX {
                self.drop_one();
                return;
            }
            self.said.fetch_add(1, Ordering::Relaxed);
        }
        if events.as_ref().is_some_and(|events| events.try_send(event).is_err()) {
            *events = None;
        }
    }

    /// The event is out of the queue.
    pub fn taken(&self, event: &Event) {
        if event.said() {
            self.said.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

pub(crate) fn joined(library: &Library, participant: proto::OwnedParticipant) -> Event {
    let proto::OwnedParticipant { handle, info } = participant;
    drop(library.handle(handle.id));
    Event::Joined { identity: info.identity, name: info.name, attributes: info.attributes }
}

pub(crate) fn published(library: &Library, identity: String, publication: proto::OwnedTrackPublication) -> Event {
    let proto::OwnedTrackPublication { handle, info } = publication;
    drop(library.handle(handle.id));
    let (source, encrypted) = (info.source(), info.encryption_type != i32::from(proto::EncryptionType::None));
    let proto::TrackPublicationInfo { sid, name, muted, width, height, .. } = info;
    Event::Published { identity, sid, name, source, muted, width, height, encrypted }
}

/// An event with what it brings in our hands; none for those that nobody hears.
pub(crate) fn owned(library: &Library, inbox: Option<&Inbox>, message: Message) -> Option<Event> {
    let forget = |handle: proto::FfiOwnedHandle| drop(library.handle(handle.id));
    Some(match message {
        Message::ParticipantConnected(event) => joined(library, event.info),
        Message::ParticipantDisconnected(left) => Event::Left { identity: left.participant_identity },
        Message::ParticipantNameChanged(event) => Event::NameChanged { identity: event.participant_identity, name: event.name },
        Message::ParticipantAttributesChanged(event) => {
            let attributes = event.attributes.into_iter().map(|entry| (entry.key, entry.value)).collect();
            Event::AttributesChanged { identity: event.participant_identity, attributes }
        }
        Message::TrackPublished(event) => published(library, event.participant_identity, event.publication),
        Message::TrackUnpublished(event) => Event::Unpublished { identity: event.participant_identity, sid: event.publication_sid },
        Message::TrackSubscribed(event) => {
            let proto::OwnedTrack { handle, info } = event.track;
            let (handle, video) = (library.handle(handle.id), info.kind() == proto::TrackKind::KindVideo);
            let proto::TrackInfo { sid, name, muted, .. } = info;
            Event::Subscribed { identity: event.participant_identity, track: RemoteTrack { sid, name, video, muted, handle } }
        }
        Message::TrackUnsubscribed(event) => Event::Unsubscribed { identity: event.participant_identity, sid: event.track_sid },
        Message::TrackMuted(event) => Event::Muted { identity: event.participant_identity, sid: event.track_sid },
        Message::TrackUnmuted(event) => Event::Unmuted { identity: event.participant_identity, sid: event.track_sid },
        Message::LocalTrackRepublished(event) => {
            // The library has put a publication of ours under this handle once more.
            drop(library.handle(event.publication_handle));
            Event::Republished { previous: event.previous_sid, sid: event.info.sid }
        }
        Message::DataPacketReceived(packet) => {
            let proto::data_packet_received::Value::User(user) = packet.value?;
            let handle = library.handle(user.data.handle.id);
            let payload = copied(&handle, &user.data.data);
            drop(handle);
            let Some(payload) = payload else {
                inbox.inspect(|inbox| inbox.drop_one());
                return None;
            };
            Event::Data { identity: packet.participant_identity, topic: user.topic, payload }
        }
        Message::Reconnecting(_) => Event::Reconnecting,
        Message::Reconnected(_) => Event::Reconnected,
        Message::Disconnected(event) => Event::Over { reason: event.reason().as_str_name().to_lowercase().replace('_', " ") },
        Message::Eos(_) => Event::Over { reason: "the library gave the room up".to_owned() },
        Message::ByteStreamOpened(opened) => {
            forget(opened.reader.handle);
            return None;
        }
        // Those that somebody hears go to `text`.
        Message::TextStreamOpened(opened) => {
            forget(opened.reader.handle);
            return None;
        }
        Message::DataTrackPublished(published) => {
            forget(published.track.handle);
            return None;
        }
    })
}

/// A packet's bytes, if they are not too many. The handle keeps the memory that `info` points to.
fn copied(_held: &Handle, info: &proto::BufferInfo) -> Option<Vec<u8>> {
    let length = usize::try_from(info.data_len).ok().filter(|&length| length <= DATA_MAX)?;
    if length == 0 {
        return Some(Vec::new());
    }
    if info.data_ptr == 0 {
        return None;
    }
    // SAFETY: the library says that so many bytes begin there, and keeps them until the handle is dropped.
    Some(unsafe { std::slice::from_raw_parts(info.data_ptr as *const u8, length) }.to_vec())
}
