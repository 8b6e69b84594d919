//! One participant's connection to a room.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::library::{Error, Handle, Library};
use crate::proto;
use crate::proto::ffi_event::Message as Answer;
use crate::proto::ffi_request::Message as Request;
use crate::proto::room_event::Message;

/// Events that may wait to be heard. A room that is not listened to for so long is given up: what is missed cannot be told any more.
const EVENTS_MAX: usize = 1024;
/// How long a request to the server may take.
const ANSWER_S: u64 = 15;

/// How a room is joined.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Every track that is published is subscribed to.
    pub subscribe: bool,
    /// Layers that nobody watches are not encoded.
    pub dynacast: bool,
}

/// Somebody's track that is subscribed to.
#[derive(Debug)]
pub struct RemoteTrack {
    pub sid: String,
    pub name: String,
    pub video: bool,
    pub(crate) handle: Handle,
}

/// What happens in a room.
#[derive(Debug)]
pub enum Event {
    Joined {
        identity: String,
    },
    Left {
        identity: String,
    },
    /// A track was published; its source is the camera, the screen, a microphone.
    Published {
        identity: String,
        sid: String,
        source: proto::TrackSource,
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
    Reconnecting,
    Reconnected,
    /// The last event.
    Over {
        reason: String,
    },
}

/// Where the library's threads leave a room's events.
pub(crate) struct Inbox {
    /// None once too many waited.
    events: Mutex<Option<mpsc::Sender<Event>>>,
}

impl Inbox {
    pub fn push(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.as_ref().is_some_and(|events| events.try_send(event).is_err()) {
            *events = None;
        }
    }
}

/// See the module. Dropped, it leaves the room without waiting for the server.
pub struct Room {
    library: &'static Library,
    handle: Handle,
    local: Handle,
    identity: String,
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
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let inbox = Inbox { events: Mutex::new(Some(tell)) };
        // Who is there already is told as those who come.
        for proto::connect_callback::ParticipantWithTracks { participant, publications } in result.participants {
            let identity = participant.info.identity.clone();
            drop(library.handle(participant.handle.id));
            inbox.push(Event::Joined { identity: identity.clone() });
            publications.into_iter().for_each(|publication| inbox.push(published(library, identity.clone(), publication)));
        }
        let handle = library.handle(result.room.handle.id);
        let local = library.handle(result.local_participant.handle.id);
        library.route_room(handle.id, Arc::new(inbox));
        let room = Self { library, local, identity: result.local_participant.info.identity, events, over: false, left: false, handle };
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
        self.over = matches!(event, Event::Over { .. });
        Some(event)
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
    let request = proto::DisconnectRequest { room_handle: room.id, request_async_id: None };
    if let Err(error) = library.ask("leaving a room", Request::Disconnect(request)) {
        tracing::warn!(%error, "a room may still be joined");
    }
}

fn published(library: &Library, identity: String, publication: proto::OwnedTrackPublication) -> Event {
    let source = publication.info.source();
    drop(library.handle(publication.handle.id));
    Event::Published { identity, sid: publication.info.sid, source }
}

/// An event with what it brings in our hands; none for those that nobody hears.
pub(crate) fn owned(library: &Library, message: Message) -> Option<Event> {
    let forget = |handle: proto::FfiOwnedHandle| drop(library.handle(handle.id));
    Some(match message {
        Message::ParticipantConnected(joined) => {
            forget(joined.info.handle);
            Event::Joined { identity: joined.info.info.identity }
        }
        Message::ParticipantDisconnected(left) => Event::Left { identity: left.participant_identity },
        Message::TrackPublished(event) => published(library, event.participant_identity, event.publication),
        Message::TrackSubscribed(event) => {
            let proto::OwnedTrack { handle, info } = event.track;
            let (handle, video) = (library.handle(handle.id), info.kind() == proto::TrackKind::KindVideo);
            Event::Subscribed { identity: event.participant_identity, track: RemoteTrack { sid: info.sid, name: info.name, video, handle } }
        }
        Message::TrackUnsubscribed(event) => Event::Unsubscribed { identity: event.participant_identity, sid: event.track_sid },
        Message::TrackMuted(event) => Event::Muted { identity: event.participant_identity, sid: event.track_sid },
        Message::TrackUnmuted(event) => Event::Unmuted { identity: event.participant_identity, sid: event.track_sid },
        Message::Reconnecting(_) => Event::Reconnecting,
        Message::Reconnected(_) => Event::Reconnected,
        Message::Disconnected(event) => Event::Over { reason: event.reason().as_str_name().to_lowercase().replace('_', " ") },
        Message::Eos(_) => Event::Over { reason: "the library gave the room up".to_owned() },
        Message::ByteStreamOpened(opened) => {
            forget(opened.reader.handle);
            return None;
        }
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
