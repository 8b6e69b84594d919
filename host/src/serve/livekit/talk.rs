//! What a broadcaster writes: judged in order by its room's text policy, said to the viewers by its mirror, and answered.
//!
//! Bounded: what comes while too much waits is refused, and the broadcaster is told.

use std::collections::HashMap;
use std::sync::Arc;

use scrim_livekit::Room as Joined;
use serde_json::json;
use tokio::sync::mpsc;

use super::mirror::Mirror;
use crate::serve::chat::{self, Message};
use crate::serve::room::Room;

/// The topic of LiveKit's own chat components.
pub const CHAT: &str = "lk.chat";
/// The topic of what became of a message, to its author alone.
pub const OUTCOME: &str = "scrim.chat";
/// Messages that wait to be judged, at most.
const WAITING_MAX: usize = 16;
/// Bytes of a message.
const TEXT_MAX: usize = 4096;

/// What became of a message.
pub struct Answer {
    id: String,
    outcome: &'static str,
    /// As viewers read it.
    shown: Option<String>,
    reason: Option<String>,
}

impl Answer {
    /// To its author, and to nobody else.
    pub async fn send(self, room: &Joined, author: &str) {
        let Self { id, outcome, shown, reason } = self;
        let text = json!({ "id": id, "outcome": outcome, "shown": shown, "reason": reason }).to_string();
        if let Err(error) = room.send_text(OUTCOME, &text, HashMap::new(), &[author.to_owned()], None).await {
            tracing::info!(%error, "an author is not told what became of a message");
        }
    }
}

/// See the module.
pub struct Talk {
    messages: mpsc::Sender<(String, String)>,
    answers: mpsc::Receiver<Answer>,
    tell: mpsc::Sender<Answer>,
}

impl Talk {
    pub fn start(room: Arc<Room>, author: String, mirror: Mirror) -> Self {
        let (messages, received) = mpsc::channel(WAITING_MAX);
        let (tell, answers) = mpsc::channel(2 * WAITING_MAX);
        tokio::spawn(judge_all(room, author, mirror, received, tell.clone()));
        Self { messages, answers, tell }
    }

    /// Takes a message; never waits.
    pub fn take(&self, id: &str, text: &str) {
        let refused = |reason: &str| {
            let answer = Answer { id: id.to_owned(), outcome: "refused", shown: None, reason: Some(reason.to_owned()) };
            // Who writes faster than it can be told so hears of some.
            let _ = self.tell.try_send(answer);
        };
        if text.len() > TEXT_MAX {
            return refused("the message is too long: at most 4096 bytes are taken");
        }
        if self.messages.try_send((id.to_owned(), text.to_owned())).is_err() {
            refused("too many messages at once: write again in a moment");
        }
    }
}

/// The next answer; waits for ever where nobody talks.
pub async fn answered(talk: &mut Option<Talk>) -> Option<Answer> {
    match talk {
        Some(talk) => talk.answers.recv().await,
        None => std::future::pending().await,
    }
}

async fn judge_all(
    room: Arc<Room>,
    author: String,
    mirror: Mirror,
    mut messages: mpsc::Receiver<(String, String)>,
    tell: mpsc::Sender<Answer>,
) {
    while let Some((id, text)) = messages.recv().await {
        let passed = chat::judge(&room, &Message { text, author: author.clone(), reply_to: None, mentions: Vec::new() }).await;
        let mode = room.settled().config.room.chat;
        let (outcome, shown) = (passed.outcome(mode), passed.shown(mode).map(str::to_owned));
        if let Some(shown) = &shown {
            mirror.say(CHAT, shown, HashMap::new()).await;
        }
        // The broadcaster may be gone.
        let _ = tell.send(Answer { id, outcome, shown, reason: passed.fault }).await;
    }
}
