//! What is written to a room's viewers over HTTP: judged by the room's text policy, and said in the viewers' room by a hidden participant of the
//! host's, which comes when there is something to say and leaves when there is not.
//!
//! ```text
//! POST …/chat ─► pace (by author) ─► text policy ─► one queue a room ─► Mirror "chat~host" ─► lk.chat in NAME, with its author's name
//! ```
//! Bounded: an author who writes too fast, and a room in which too much waits, are told so.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::mpsc;

use super::TokenRefused;
use super::attendance::Attendance;
use super::bearer::BearerError;
use super::mirror::{Mirror, Seat};
use super::talk::CHAT;
use crate::serve::chat::{self, Message};
use crate::serve::room::Room;

/// Bytes of a message.
pub const TEXT_MAX: usize = 4096;
/// Messages that an author may write at once; then one a second.
const BURST: NonZeroU32 = NonZeroU32::new(5).expect("not zero");
const EACH_S: NonZeroU32 = NonZeroU32::MIN;
/// Messages of a room that wait to be said, at most.
const WAITING_MAX: usize = 32;
/// The host's participant leaves the viewers' room when it had nothing to say for so long.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Of a message's attributes: who wrote it, as viewers may read it, and who that is.
const AUTHOR: &str = "scrim.author";
const IDENTITY: &str = "scrim.identity";

#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error(transparent)]
    Name(#[from] TokenRefused),
    #[error(transparent)]
    Bearer(#[from] BearerError),
    #[error("the message says nothing: give it some text")]
    Empty,
    #[error("the message has {0} bytes: at most {TEXT_MAX} are taken")]
    Long(usize),
    #[error("too many messages at once: write again in a moment")]
    Fast,
    #[error("the room has too much to say already: write again in a moment")]
    Full,
}

/// Who writes.
pub struct Author {
    pub identity: String,
    /// As others see it.
    pub name: String,
}

/// What became of a message.
#[derive(Debug)]
pub struct Posted {
    pub id: String,
    /// `passed`, `masked` or `refused`.
    pub outcome: &'static str,
    /// As viewers read it; none if it was refused.
    pub shown: Option<String>,
    /// Why it was not judged.
    pub fault: Option<String>,
}

struct Said {
    text: String,
    attributes: HashMap<String, String>,
}

/// See the module.
pub struct Post {
    attendance: Arc<Attendance>,
    rooms: DashMap<String, mpsc::Sender<Said>>,
    pace: RateLimiter<String, DashMapStateStore<String>, DefaultClock>,
}

impl Post {
    pub fn new(attendance: Arc<Attendance>) -> Self {
        Self { attendance, rooms: DashMap::new(), pace: RateLimiter::dashmap(Quota::per_second(EACH_S).allow_burst(BURST)) }
    }

    /// Judges a message and says it to the viewers as the room has it: as it is, masked, or not at all.
    ///
    /// # Errors
    /// When it is too long, or too many come at once.
    pub async fn post(&self, room: &Arc<Room>, author: Author, text: String) -> Result<Posted, PostError> {
        if text.trim().is_empty() {
            return Err(PostError::Empty);
        }
        if text.len() > TEXT_MAX {
            return Err(PostError::Long(text.len()));
        }
        self.pace.check_key(&author.identity).map_err(|_| PostError::Fast)?;
        let Author { identity, name } = author;
        let passed = chat::judge(room, &Message { text, author: identity.clone(), reply_to: None, mentions: Vec::new() }).await;
        let mode = room.settled().config.room.chat;
        let shown = passed.shown(mode).map(str::to_owned);
        if let Some(text) = shown.clone() {
            let attributes = HashMap::from([(AUTHOR.to_owned(), name), (IDENTITY.to_owned(), identity)]);
            if !self.say(&room.name, Said { text, attributes }) {
                return Err(PostError::Full);
            }
        }
        Ok(Posted { id: passed.id.clone(), outcome: passed.outcome(mode), shown, fault: passed.fault })
    }

    /// Forgets those who have written nothing of late.
    pub fn forget(&self) {
        self.pace.retain_recent();
        self.pace.shrink_to_fit();
        self.rooms.retain(|_, said| !said.is_closed());
    }

    /// False: too much waits already.
    fn say(&self, room: &str, said: Said) -> bool {
        let mut speaker = self.rooms.entry(room.to_owned()).or_insert_with(|| self.speaker(room));
        let said = match speaker.try_send(said) {
            Ok(()) => return true,
            Err(mpsc::error::TrySendError::Full(_)) => return false,
            Err(mpsc::error::TrySendError::Closed(said)) => said,
        };
        *speaker = self.speaker(room);
        speaker.try_send(said).is_ok()
    }

    /// Somebody who says what a room has to say.
    fn speaker(&self, room: &str) -> mpsc::Sender<Said> {
        let (tell, mut told) = mpsc::channel(WAITING_MAX);
        let Attendance { library, url, mint, keys, .. } = &*self.attendance;
        let (mint, of) = (mint.clone(), room.to_owned());
        let ticket = move || mint.chat(&of).map_err(|error| error.to_string());
        let (mirror, _leaves) = Mirror::join(Seat { library, url: url.clone(), key: keys.of(room), ticket: Box::new(ticket), after: None });
        tokio::spawn(async move {
            while let Ok(Some(Said { text, attributes })) = tokio::time::timeout(IDLE_MAX, told.recv()).await {
                mirror.say(CHAT, &text, attributes).await;
            }
            // What came at the last moment is still said.
            told.close();
            while let Some(Said { text, attributes }) = told.recv().await {
                mirror.say(CHAT, &text, attributes).await;
            }
        });
        tell
    }
}
