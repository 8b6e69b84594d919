//! One participant's connection to a room.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::event::{Event, Inbox, joined, published};
use crate::library::{Error, Handle, Library};
use crate::proto;
use crate::proto::ffi_event::Message as Answer;
use crate::proto::ffi_request::Message as Request;
use crate::text::TEXT_MAX;

/// How long a request to the server may take.
pub(crate) const ANSWER_S: u64 = 15;

/// How a room is joined.
#[derive(Clone)]
pub struct Options {
    /// Every track that is published is subscribed to.
    pub subscribe: bool,
    /// Layers that nobody watches are not encoded.
    pub dynacast: bool,
    /// The key that all share in a room that is encrypted end to end: what is encrypted is read with it, what we publish and say is encrypted.
    pub key: Option<Vec<u8>>,
}

impl std::fmt::Debug for Options {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { subscribe, dynacast, key } = self;
        write!(f, "Options {{ subscribe: {subscribe}, dynacast: {dynacast}, encrypted: {} }}", key.is_some())
    }
}

/// See the module. Dropped, it leaves the room without waiting for the server.
pub struct Room {
    library: &'static Library,
    handle: Handle,
    local: Handle,
    identity: String,
    inbox: Arc<Inbox>,
    events: mpsc::Receiver<Event>,
    over: bool,
    /// The library has been asked to leave.
    left: bool,
}

impl Room {
    /// Joins the room that the token is for.
    ///
    /// # Errors
    /// When the server can't be reached, refuses the token, or does not answer in time.
    pub async fn join(library: &'static Library, url: &str, token: &str, options: Options) -> Result<Self, Error> {
        const WHAT: &str = "joining a room";
        let options = proto::RoomOptions {
            auto_subscribe: Some(options.subscribe),
            adaptive_stream: Some(false),
            dynacast: Some(options.dynacast),
            join_retries: Some(0),
            connect_timeout_ms: Some(ANSWER_S * 1000),
            encryption: options.key.map(encryption),
            data_stream: Some(proto::RoomDataStreamOptions { max_payload_byte_length: Some(TEXT_MAX as u64) }),
        };
        let request = |request_async_id| {
            Request::Connect(proto::ConnectRequest { url: url.to_owned(), token: token.to_owned(), options, request_async_id })
        };
        let Answer::Connect(answer) = library.ask_and_wait(WHAT, ANSWER_S + 5, request).await? else {
            return Err(Error::Refused { what: WHAT });
        };
        let result = match answer.message {
            Some(proto::connect_callback::Message::Result(result)) => result,
            Some(proto::connect_callback::Message::Error(reason)) => return Err(Error::Failed { what: WHAT, reason }),
            None => return Err(Error::Refused { what: WHAT }),
        };
        let (inbox, events) = Inbox::new();
        // Who is there already is told as those who come.
        for proto::connect_callback::ParticipantWithTracks { participant, publications } in result.participants {
            let identity = participant.info.identity.clone();
            inbox.push(joined(library, participant));
            publications.into_iter().for_each(|publication| inbox.push(published(library, identity.clone(), publication)));
        }
        let handle = library.handle(result.room.handle.id);
        let local = library.handle(result.local_participant.handle.id);
        let inbox = Arc::new(inbox);
        library.route_room(handle.id, inbox.clone());
        let room =
            Self { library, local, identity: result.local_participant.info.identity, inbox, events, over: false, left: false, handle };
        // Without it the library gives the room up after 15 s.
        let ready = proto::ReadyForRoomEventRequest { room_handle: room.handle.id };
        library.ask("hearing a room's events", Request::ReadyForRoomEvent(ready))?;
        Ok(room)
    }

    /// Our own, by the token.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The next event; none after the last.
    pub async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        let event = self.events.recv().await.unwrap_or_else(|| Event::Over { reason: "too many events waited".to_owned() });
        self.inbox.taken(&event);
        self.over = matches!(event, Event::Over { .. });
        Some(event)
    }

    /// Texts and data that were too long, or came while too many others waited.
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }

    /// Leaves, and waits until the server knows.
    ///
    /// # Errors
    /// When it does not answer in time; the room is left all the same.
    pub async fn leave(mut self) -> Result<(), Error> {
        self.left = true;
        let request = |request_async_id| Request::Disconnect(proto::DisconnectRequest { room_handle: self.handle.id, request_async_id });
        self.library.ask_and_wait("leaving a room", ANSWER_S, request).await.map(drop)
    }

    pub(crate) fn library(&self) -> &'static Library {
        self.library
    }

    /// Ourselves, to the library.
    pub(crate) fn local(&self) -> u64 {
        self.local.id
    }

    /// Publishes a track; answers with its sid.
    pub(crate) async fn publish(&self, track: &Handle, options: proto::TrackPublishOptions) -> Result<String, Error> {
        const WHAT: &str = "publishing a track";
        let (local_participant_handle, track_handle) = (self.local.id, track.id);
        let request = |request_async_id| {
            Request::PublishTrack(proto::PublishTrackRequest { local_participant_handle, track_handle, options, request_async_id })
        };
        match self.library.ask_and_wait(WHAT, ANSWER_S, request).await? {
            Answer::PublishTrack(proto::PublishTrackCallback { message: Some(message), .. }) => match message {
                proto::publish_track_callback::Message::Publication(publication) => {
                    drop(self.library.handle(publication.handle.id));
                    Ok(publication.info.sid)
                }
                proto::publish_track_callback::Message::Error(reason) => Err(Error::Failed { what: WHAT, reason }),
            },
            _ => Err(Error::Refused { what: WHAT }),
        }
    }

    /// Takes a published track back.
    ///
    /// # Errors
    /// When there is none of this sid, or the server does not answer.
    pub async fn unpublish(&self, sid: &str) -> Result<(), Error> {
        const WHAT: &str = "taking a track back";
        let (local_participant_handle, track_sid) = (self.local.id, sid.to_owned());
        let request = |request_async_id| {
            let stop_on_unpublish = true;
            Request::UnpublishTrack(proto::UnpublishTrackRequest {
                local_participant_handle,
                track_sid,
                stop_on_unpublish,
                request_async_id,
            })
        };
        match self.library.ask_and_wait(WHAT, ANSWER_S, request).await? {
            Answer::UnpublishTrack(proto::UnpublishTrackCallback { error: Some(reason), .. }) => Err(Error::Failed { what: WHAT, reason }),
            _ => Ok(()),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.library.end_room(self.handle.id);
        if !self.left {
            leave(self.library, &self.handle);
        }
    }
}

/// Leaves a room without waiting for it: one whose handle alone is dropped is stayed in.
fn leave(library: &Library, room: &Handle) {
    let request = proto::DisconnectRequest { room_handle: room.id, request_async_id: Some(library.number()) };
    if let Err(error) = library.ask("leaving a room", Request::Disconnect(request)) {
        tracing::warn!(%error, "a room may still be joined");
    }
}

/// Lets go of an answer that nobody waits for any more: a room that was joined too late is left.
pub(crate) fn forget(library: &Library, answer: Answer) {
    match answer {
        Answer::Connect(proto::ConnectCallback { message: Some(proto::connect_callback::Message::Result(result)), .. }) => {
            for with in result.participants {
                drop(library.handle(with.participant.handle.id));
                with.publications.into_iter().for_each(|publication| drop(library.handle(publication.handle.id)));
            }
            drop(library.handle(result.local_participant.handle.id));
            leave(library, &library.handle(result.room.handle.id));
        }
        Answer::PublishTrack(proto::PublishTrackCallback {
            message: Some(proto::publish_track_callback::Message::Publication(publication)),
            ..
        }) => drop(library.handle(publication.handle.id)),
        _ => {}
    }
}

/// As LiveKit's own SDKs have it by default, so that their keys are ours.
fn encryption(key: Vec<u8>) -> proto::E2eeOptions {
    proto::E2eeOptions {
        encryption_type: proto::EncryptionType::Gcm.into(),
        key_provider_options: proto::KeyProviderOptions {
            shared_key: Some(key),
            ratchet_window_size: 16,
            ratchet_salt: b"LKFrameEncryptionKey".to_vec(),
            failure_tolerance: -1,
            key_ring_size: 16,
            key_derivation_function: proto::KeyDerivationFunction::Pbkdf2.into(),
        },
    }
}
