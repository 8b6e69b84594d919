//! A LiveKit server whose rooms are moderated: each broadcaster publishes into a room of its own, which the host alone hears; what may be seen
//! and heard is published into the viewers' room, which has the Scrim room's name.
//!
//! ```text
//! broadcaster ─► NAME~in~IDENTITY ─► host, hidden (ingest) ─► sources of the Scrim room ─► mirror ─► NAME ─► viewers
//! tokens, webhooks, rounds of the guard ─► who is there (presence), which broadcasters are attended, who is put out
//! ```
//! What always holds: no token that is made here lets anybody but the host and moderators hear an ingest room, or publish into `NAME`; a
//! broadcaster is attended whether its coming is told by its token, by a webhook, or found by a round.

mod assigned;
pub mod attendance;
pub mod bearer;
pub mod dispatch;
pub mod guard;
mod ingest;
pub mod keys;
pub mod meter;
mod mirror;
pub mod names;
pub mod post;
pub mod presence;
mod pump;
pub mod server;
mod sound;
mod talk;
pub mod token;
pub mod webhook;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use scrim_livekit::Library;
use serde_json::json;
use tokio::sync::Notify;

use super::room::Room;
use super::stream::Way;
use super::{Service, chat};
use crate::config::{self, ServerUrl};
use crate::media::frame::Micros;
use attendance::{Attendance, NoPlace};
use bearer::{Bearer, BearerError};
use dispatch::{Dispatch, Whereabouts};
use guard::Place;
use keys::{SharedKeys, SharedKeysError};
use names::NameError;
use post::{Author, Post, PostError, Posted};
use presence::{Audience, Presence};
use server::Server;
use token::{Badge, Mint, Minted, Role, Sealed, Secrets, SecretsError, TokenError};
use webhook::{Happened, Notice, Webhooks};
use worker::Worker;

#[derive(Debug, thiserror::Error)]
pub enum LiveKitError {
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("LIVEKIT_URL: {0}")]
    Url(#[from] config::BadValue),
    #[error(
        "a LiveKit server is configured ({0}), but neither LIVEKIT_API_KEY nor LIVEKIT_API_SECRET is set: set both, as the server's `keys` has them"
    )]
    NoSecrets(ServerUrl),
    #[error(transparent)]
    SharedKeys(#[from] SharedKeysError),
    #[error(transparent)]
    Library(#[from] scrim_livekit::Error),
    #[error("LiveKit's client library can't be found: {0}")]
    Assets(#[from] scrim_toolchain::assets::AssetError),
}

/// Why somebody gets no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    #[error(transparent)]
    Name(#[from] NameError),
    /// Nothing of what was found but its category.
    #[error("the room's text policy takes no such name: {0}")]
    Flagged(String),
    #[error("the name could not be judged, and the room fails closed: {0}")]
    Unjudged(String),
    #[error("attribute {0:?} is none that viewers may see: give those alone that livekit.attributes names")]
    Attribute(String),
    #[error("attribute {0:?} has {1} characters: give at most {VALUE_CHARS_MAX}")]
    LongAttribute(String, usize),
    #[error("only a broadcaster shows attributes: leave them out")]
    NoAttributes,
    #[error("a broadcaster in room {0:?} has this name, or one that looks like it: take another")]
    Taken(String),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("room {0:?} takes no further broadcaster now: {1}")]
    NoPlace(String, NoPlace),
}

/// Characters of an attribute's value.
const VALUE_CHARS_MAX: usize = 256;

/// What somebody that asked for a token gets.
pub struct Admission {
    pub minted: Minted,
    /// Where the server is reached from outside.
    pub url: String,
    /// A moderator's further tokens: one for each broadcaster's own room, which it names.
    pub rooms: Vec<(String, String)>,
}

/// See the module.
pub struct LiveKit {
    pub mint: Mint,
    pub server: Arc<Server>,
    pub config: config::LiveKit,
    pub webhooks: Webhooks,
    /// Where the host reaches the server.
    pub url: ServerUrl,
    pub attendance: Arc<Attendance>,
    /// Where several hosts share the server.
    pub dispatch: Option<Arc<Dispatch>>,
    post: Post,
    secrets: Secrets,
    presence: Mutex<Presence>,
    /// The guard is to look now.
    call: Arc<Notify>,
}

impl LiveKit {
    /// Nothing is asked of the server yet.
    ///
    /// # Errors
    /// When LiveKit's client library can't be loaded, or the file of shared keys can't be read.
    pub fn new(config: config::LiveKit, url: ServerUrl, secrets: Secrets) -> Result<Self, LiveKitError> {
        let ttl = Duration::from_secs(u64::from(config.token_ttl_s.get()));
        let library = Library::load(&scrim_toolchain::assets::path("liblivekit_ffi.so")?)?;
        let mint = Mint::new(secrets.clone(), ttl, &config.ingest_suffix);
        let keys = config.shared_keys_file.as_deref().map(SharedKeys::read).transpose()?.unwrap_or_default();
        let attendance = Arc::new(Attendance::new(library, url.websocket(), mint.clone(), &config, keys));
        let (server, call) = (Arc::new(Server::new(&url.http(), &secrets)), Arc::<Notify>::default());
        Ok(Self {
            dispatch: config.dispatch.then(|| Arc::new(Dispatch::new(server.clone(), attendance.clone(), call.clone()))),
            server,
            webhooks: Webhooks::new(&secrets),
            post: Post::new(attendance.clone()),
            attendance,
            secrets,
            mint,
            config,
            url,
            presence: Mutex::default(),
            call,
        })
    }

    /// As the configuration and the environment (`LIVEKIT_URL`, `LIVEKIT_API_KEY`, `LIVEKIT_API_SECRET`) have it; none if neither names a server.
    ///
    /// # Errors
    /// When what they say does not do.
    pub fn from_environment(config: &config::LiveKit) -> Result<Option<Self>, LiveKitError> {
        let given = std::env::var("LIVEKIT_URL").ok().filter(|url| !url.trim().is_empty());
        let given = given.map(|url| url.trim().parse::<ServerUrl>()).transpose()?;
        let Some(url) = given.or_else(|| config.url.clone()) else { return Ok(None) };
        match Secrets::from_environment()? {
            Some(secrets) => Self::new(config.clone(), url, secrets).map(Some),
            None => Err(LiveKitError::NoSecrets(url)),
        }
    }

    /// Guards the rooms for as long as the service lives.
    pub fn start(self: &Arc<Self>, service: &Arc<Service>) {
        tokio::spawn(guard::watch(Arc::downgrade(self), Arc::downgrade(service)));
        if let Some(dispatch) = self.dispatch.clone() {
            let (url, secrets) = (self.url.websocket(), self.secrets.clone());
            tokio::spawn(Worker { dispatch, service: Arc::downgrade(service), url, secrets }.run());
        }
    }

    /// A token for somebody whose name the room's text policy lets pass. What the policy finds in a broadcaster's attributes is masked for viewers.
    ///
    /// # Errors
    /// When the name can't be one, is refused, or looks like a broadcaster's; when an attribute is none that viewers may see; when no token can be
    /// made; or when this host has no place for one more broadcaster.
    pub async fn token(&self, service: &Arc<Service>, room: &Arc<Room>, badge: Badge, role: Role) -> Result<Admission, TokenRefused> {
        let mut admitted = self.admit(room, badge, role).await;
        if let (Ok(admission), Role::Broadcaster) = (&admitted, role)
            && let Err(reason) = self.place(service, room, &admission.minted.identity).await
        {
            admitted = Err(TokenRefused::NoPlace(room.name.to_string(), reason));
        }
        let outcome = match (&admitted, role) {
            (Err(_), _) => "refused",
            (Ok(_), Role::Broadcaster) => "broadcaster",
            (Ok(_), Role::Viewer) => "viewer",
            (Ok(_), Role::Moderator) => "moderator",
        };
        metrics::counter!(meter::TOKENS, "outcome" => outcome).increment(1);
        admitted
    }

    /// Keeps a place for a broadcaster that is to get its token, if this host has the room; where none has it, one is found.
    async fn place(&self, service: &Arc<Service>, room: &Arc<Room>, identity: &str) -> Result<(), NoPlace> {
        if let Some(dispatch) = &self.dispatch {
            dispatch.find(&room.name).await?;
        }
        match self.whereabouts(&room.name) {
            Whereabouts::Here => self.attendance.expect(service, room, identity),
            // That host has a place for it, or says in its room's events that it has none.
            Whereabouts::Elsewhere | Whereabouts::Nowhere => Ok(()),
        }
    }

    /// Where a room's broadcasters are attended.
    pub fn whereabouts(&self, room: &str) -> Whereabouts {
        self.dispatch.as_ref().map_or(Whereabouts::Here, |dispatch| dispatch.whereabouts(room))
    }

    async fn admit(&self, room: &Arc<Room>, Badge { name, attributes }: Badge, role: Role) -> Result<Admission, TokenRefused> {
        for (name, value) in &attributes {
            if role != Role::Broadcaster {
                return Err(TokenRefused::NoAttributes);
            }
            if !self.config.attributes.iter().any(|shown| shown.0 == *name) {
                return Err(TokenRefused::Attribute(name.clone()));
            }
            let length = value.chars().count();
            if length > VALUE_CHARS_MAX {
                return Err(TokenRefused::LongAttribute(name.clone(), length));
            }
        }
        let name = self.judged_name(room, &name).await?;
        let minted = self.mint.mint(&room.name, Badge { name: name.clone(), attributes }, role)?;
        let rooms = match role {
            Role::Moderator => self.moderator_rooms(&room.name, &minted.identity, &name)?,
            Role::Broadcaster | Role::Viewer => Vec::new(),
        };
        Ok(Admission { minted, url: self.for_browsers().websocket(), rooms })
    }

    /// A name as others may see it in a room.
    ///
    /// # Errors
    /// When it can't be one, is refused by the room's text policy, or looks like a broadcaster's.
    async fn judged_name(&self, room: &Arc<Room>, name: &str) -> Result<String, TokenRefused> {
        let name = names::display_name(name)?;
        if self.presence().looks_like_a_broadcaster(&room.name, &name) {
            return Err(TokenRefused::Taken(room.name.to_string()));
        }
        let judged = chat::judge_name(room, &name).await;
        if judged.flagged {
            let Some((finding, _)) = judged.findings.first() else {
                return Err(TokenRefused::Unjudged(judged.fault.unwrap_or_default()));
            };
            let category = finding.category.as_str().to_owned();
            room.tell("name", json!({ "event": "refused", "category": category, "characters": name.chars().count() }));
            return Err(TokenRefused::Flagged(category));
        }
        Ok(name)
    }

    /// Says to a room's viewers what somebody writes who has a key, under a name that the room's text policy lets pass.
    ///
    /// # Errors
    /// When the name or the message is not taken.
    pub async fn post_as(&self, room: &Arc<Room>, by: &str, name: &str, text: String) -> Result<Posted, PostError> {
        let name = self.judged_name(room, name).await?;
        self.post.post(room, Author { identity: format!("{by}~{name}"), name }, text).await
    }

    /// Says to a room's viewers what somebody writes who is one of them.
    ///
    /// # Errors
    /// When the token is none for the room, a viewer is not in it, or the message is not taken.
    pub async fn post_with(&self, room: &Arc<Room>, token: &str, text: String) -> Result<Posted, PostError> {
        let Bearer { identity, name, kind } = bearer::bearer(&self.secrets, &self.mint, &room.name, token)?;
        // One that was put out writes no more.
        if kind == Sealed::Viewer && !self.presence().is_viewer(&room.name, &identity) {
            return Err(BearerError::Away.into());
        }
        self.post.post(room, Author { identity, name }, text).await
    }

    /// Where the server is reached from outside.
    pub fn for_browsers(&self) -> &ServerUrl {
        self.config.public_url.as_ref().unwrap_or(&self.url)
    }

    fn moderator_rooms(&self, room: &str, identity: &str, name: &str) -> Result<Vec<(String, String)>, TokenError> {
        let token = |ingest: String| self.mint.moderator_in(&ingest, identity, name).map(|token| (ingest, token));
        self.ingests_of(room).into_iter().map(token).collect()
    }

    /// The rooms of the broadcasters that are connected.
    pub fn ingests_of(&self, room: &str) -> Vec<String> {
        self.presence().broadcasters(room).iter().map(|identity| self.mint.ingest_room(room, identity)).collect()
    }

    pub fn audience(&self, room: &str) -> Audience {
        self.presence().audience(room)
    }

    /// Hears a webhook that was verified, of a Scrim room or of any other.
    pub async fn hear(&self, service: &Arc<Service>, notice: Notice) {
        let Some((room, place)) = guard::place(&self.mint, |room| service.room(room).is_ok(), &notice.room) else { return };
        self.presence().hear(&room, &place, &notice);
        if let Ok(room) = service.room(&room) {
            self.tell_audience(&room);
        }
        if let (Place::Ingest { identity }, Happened::ParticipantJoined | Happened::TrackPublished) = (&place, &notice.event)
            && notice.identity.as_ref() == Some(identity)
            && let Ok(room) = service.room(&room)
        {
            self.attendance.attend(service, &room, identity);
        }
        if matches!(notice.event, Happened::ParticipantJoined | Happened::TrackPublished) {
            self.call.notify_one();
        }
    }

    /// Mutes a broadcaster of a room between two moments of the host's clock. False if it is not heard there.
    pub fn mute(&self, room: &Room, identity: &str, from: Micros, to: Micros) -> bool {
        let muted = self.attendance.mute(&self.mint.ingest_room(&room.name, identity), from, to);
        if muted {
            room.tell("mute", json!({ "identity": identity, "from": from, "to": to }));
        }
        muted
    }

    /// Hears that a judge has heard all of a broadcaster's sound until then, and what of it is to be muted. False if it is not heard there.
    pub fn judged(&self, room: &Room, identity: &str, until: Micros, mutes: &[(Micros, Micros)]) -> bool {
        let judged = self.attendance.judged(&self.mint.ingest_room(&room.name, identity), until, mutes);
        if judged {
            for (from, to) in mutes {
                room.tell("mute", json!({ "identity": identity, "from": from, "to": to, "by": "judge" }));
            }
        }
        judged
    }

    /// What a round of the guard has seen.
    fn saw(&self, service: &Arc<Service>, listed: &[guard::Listed]) {
        for guard::Listed { name, room, place, participants } in listed {
            let Place::Ingest { identity } = place else { continue };
            let is_there = participants.iter().any(|who| who.identity == *identity);
            self.attendance.is_seen(name, is_there);
            if is_there && let Ok(room) = service.room(room) {
                self.attendance.attend(service, &room, identity);
            }
        }
        self.dispatch.iter().for_each(|dispatch| dispatch.saw(&self.mint, listed));
        self.attendance.retain_turned_away(|ingest| listed.iter().any(|room| room.name == ingest));
        let mut presence = self.presence();
        presence.retain(|room| service.room(room).is_ok());
        presence.reconcile(&self.mint, listed);
        let (broadcasters, viewers) = presence.everybody();
        drop(presence);
        service.all().iter().for_each(|room| self.tell_audience(room));
        self.post.forget();
        metrics::gauge!(meter::PARTICIPANTS, "kind" => "broadcaster").set(broadcasters as f64);
        metrics::gauge!(meter::PARTICIPANTS, "kind" => "viewer").set(viewers as f64);
    }

    /// Its live streams count who watches.
    fn tell_audience(&self, room: &Room) {
        let Audience { viewers, total, .. } = self.audience(&room.name);
        room.streams().iter().filter(|stream| stream.origin.way == Way::LiveKit).for_each(|stream| stream.watched(viewers, total));
    }

    fn presence(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
