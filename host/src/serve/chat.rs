//! Messages: typed text, judged by the room's text policy, passed or with the found words masked. Nothing of a text is logged: events hold
//! categories, lengths and places, and the text only where the room asks for it (`keep_text_h`).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::meter;
use super::room::Room;
use crate::config::{ChatMode, Config};
use crate::plugin::types::{Finding, Place, Reply, Request, Source, SourceKind, Utterance, Word};
use crate::room::settings::FailMode;
use crate::words;

/// How long a message may wait for its policy: far longer than a call takes, not so long that a chat would stall.
const DEADLINE: Duration = Duration::from_millis(500);

/// What somebody typed.
pub struct Message {
    pub text: String,
    pub author: String,
    pub reply_to: Option<String>,
    pub mentions: Vec<String>,
}

/// What became of it.
pub struct Passed {
    pub id: String,
    /// Something was found, or it could not be judged in a closed room.
    pub flagged: bool,
    pub judged: bool,
    /// Each with its bytes of the text.
    pub findings: Vec<(Finding, std::ops::Range<usize>)>,
    /// The text as others may read it.
    pub masked: String,
    /// Why it was not judged.
    pub fault: Option<String>,
}

impl Passed {
    /// What others may read of it; none if it is kept back.
    pub fn shown(&self, mode: ChatMode) -> Option<&str> {
        let kept_back = self.flagged && mode == ChatMode::Refuse;
        (!kept_back).then_some(&*self.masked)
    }

    /// The word for what became of it.
    pub fn outcome(&self, mode: ChatMode) -> &'static str {
        match self.shown(mode) {
            None => "refused",
            Some(_) if self.flagged => "masked",
            Some(_) => "passed",
        }
    }
}

/// Judges a message.
pub async fn judge(room: &Arc<Room>, message: &Message) -> Passed {
    let passed = weigh(room, message, "chat").await;
    let outcome = if !passed.judged {
        "unjudged"
    } else if passed.flagged {
        "flagged"
    } else {
        "passed"
    };
    metrics::counter!(meter::MESSAGES, "outcome" => outcome).increment(1);
    if passed.flagged {
        let found: Vec<_> = passed
            .findings
            .iter()
            .map(|(finding, place)| json!({ "category": finding.category.as_str(), "severity": finding.severity, "bytes": place.len() }))
            .collect();
        room.tell_of("message", json!({ "id": passed.id, "judged": passed.judged, "findings": found }), &message.text);
    }
    passed
}

/// Judges what somebody wants to be called, by the same policy. Telling of it is the caller's.
pub async fn judge_name(room: &Arc<Room>, name: &str) -> Passed {
    let message = Message { text: name.to_owned(), author: String::new(), reply_to: None, mentions: Vec::new() };
    weigh(room, &message, "name").await
}

/// Asks the room's text policy about a text that comes from `source`.
async fn weigh(room: &Arc<Room>, message: &Message, source: &str) -> Passed {
    let policies = room.policies().await;
    let id = Uuid::now_v7().to_string();
    let spans = words::split(&message.text);
    let utterance = Utterance {
        id: id.clone(),
        revision: 0,
        is_final: true,
        source: Source { id: source.into(), kind: SourceKind::Chat, owner: message.author.clone() },
        speaker: message.author.clone(),
        addressees: message.mentions.clone(),
        reply_to: message.reply_to.clone(),
        language: None,
        words: spans.iter().map(|span| Word { text: span.text.to_owned(), confidence: 1.0, place: Place::Nowhere }).collect(),
    };
    let (tell, told) = oneshot::channel();
    let at = policies.moment(room.shared.clock.now());
    policies.ask(at, Request::Judge { utterance: Arc::new(utterance) }, Some(DEADLINE), move |answered| _ = tell.send(answered.result));
    let answered = told.await.unwrap_or_else(|_| Err("the host is stopping".to_owned()));
    match answered {
        Ok(Reply::Findings(findings)) => {
            let placed = |finding: Finding| words::place(&spans, finding.first, finding.count).map(|place| (finding, place));
            let findings: Vec<_> = findings.into_iter().filter_map(placed).collect();
            let masked = masked(&message.text, &findings);
            Passed { id, flagged: !findings.is_empty(), judged: true, findings, masked, fault: None }
        }
        Ok(_) => unjudged(&room.settled().config, id, &message.text, "the policy answered something else".to_owned()),
        Err(why) => unjudged(&room.settled().config, id, &message.text, why),
    }
}

/// The room's fail mode for an utterance: closed masks every word, open lets it pass.
fn unjudged(config: &Config, id: String, text: &str, fault: String) -> Passed {
    let closed = config.room.fail_mode == FailMode::Closed;
    let masked = if closed {
        words::split(text).iter().map(|span| "*".repeat(span.text.chars().count())).collect::<Vec<_>>().join(" ")
    } else {
        text.to_owned()
    };
    Passed { id, flagged: closed, judged: false, findings: Vec::new(), masked, fault: Some(fault) }
}

/// The text with everything found masked, the rest as it stands.
fn masked(text: &str, findings: &[(Finding, std::ops::Range<usize>)]) -> String {
    let mut places: Vec<_> = findings.iter().map(|(_, place)| place.clone()).collect();
    places.sort_by_key(|place| (place.start, place.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for place in places {
        // Findings may overlap.
        let start = place.start.max(at);
        if place.end > start {
            out.push_str(&text[at..start]);
            out.push_str(&words::mask(&text[start..place.end]));
            at = place.end;
        }
    }
    out.push_str(&text[at..]);
    out
}
