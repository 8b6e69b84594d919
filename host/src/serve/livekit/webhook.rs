//! Webhooks: what the LiveKit server tells, if it was the server that told it, and for the first time.
//!
//! What always holds: nothing in a body counts before its signature and its hash do; a notice has an effect once, however often it comes; one
//! that is older than [`AGE_MAX_S`] has none. A signature is good for five minutes from when it was made, and ids are remembered for longer, so
//! what was overheard cannot be told again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use livekit_api::access_token::TokenVerifier;
use livekit_api::webhooks::{WebhookError as ReceiveError, WebhookReceiver};
use livekit_protocol::WebhookEvent;

use super::token::Secrets;

/// Bytes of a body that are taken.
pub const BODY_MAX: usize = 256 << 10;
/// How old what is told may be, s. The server tries again for 15 s.
pub const AGE_MAX_S: i64 = 600;
/// How long an id is remembered, s: longer than a signature is good for, the clocks' difference included.
const REMEMBERED_S: i64 = 900;
/// Ids that are remembered.
const REMEMBERED_MAX: usize = 16_384;

#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("no `Authorization` header: a LiveKit server sends its token there, without `Bearer`")]
    NoToken,
    #[error("not by our LiveKit server: {0}; its `webhook.api_key` has to be LIVEKIT_API_KEY, its clock right")]
    Forged(String),
    #[error("the body is not the one that was signed")]
    OtherBody,
    #[error("it was made {0} s ago; at most {AGE_MAX_S} are taken: is the LiveKit server's clock right?")]
    Old(i64),
    /// The signature holds, and yet nothing can be made of it.
    #[error("the body cannot be read: {0}")]
    Body(String),
}

/// What happened in a LiveKit room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    RoomStarted,
    RoomFinished,
    ParticipantJoined,
    ParticipantLeft,
    TrackPublished,
    TrackUnpublished,
    Other,
}

/// One thing that the server told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub id: String,
    pub event: Happened,
    /// The LiveKit room; empty where it is about none.
    pub room: String,
    /// Of whom it is told.
    pub identity: Option<String>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    News(Notice),
    /// It was heard before, and has no effect.
    Again,
}

/// See the module.
pub struct Webhooks {
    receiver: WebhookReceiver,
    seen: Mutex<Seen>,
}

/// Ids, with when each was heard.
#[derive(Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<(i64, String)>,
}

impl Seen {
    /// Whether it is new.
    fn add(&mut self, id: &str, now_s: i64) -> bool {
        while let Some((at, _)) = self.order.front() {
            if self.order.len() < REMEMBERED_MAX && now_s - at <= REMEMBERED_S {
                break;
            }
            if let Some((_, id)) = self.order.pop_front() {
                self.ids.remove(&id);
            }
        }
        let new = self.ids.insert(id.to_owned());
        if new {
            self.order.push_back((now_s, id.to_owned()));
        }
        new
    }
}

impl Webhooks {
    pub fn new(secrets: &Secrets) -> Self {
        let receiver = WebhookReceiver::new(TokenVerifier::with_api_key(&secrets.key, &secrets.secret));
        Self { receiver, seen: Mutex::default() }
    }

    /// Checks a request: its raw body, its `Authorization` header, the time in seconds since the Unix epoch.
    ///
    /// # Errors
    /// When it is not by the server, is too old, or can't be read.
    pub fn hear(&self, body: &[u8], authorization: Option<&str>, now_s: i64) -> Result<Heard, WebhookError> {
        let token = authorization.filter(|token| !token.is_empty()).ok_or(WebhookError::NoToken)?;
        // What is signed is text; other bytes have no hash that was.
        let text = std::str::from_utf8(body).map_err(|_| WebhookError::OtherBody)?;
        let WebhookEvent { event, room, participant, id, created_at, .. } = self.receiver.receive(text, token).map_err(refused)?;
        if id.is_empty() {
            return Err(WebhookError::Body("it has no id".to_owned()));
        }
        let age = now_s.saturating_sub(created_at);
        if age > AGE_MAX_S {
            return Err(WebhookError::Old(age));
        }
        if !self.seen.lock().unwrap_or_else(PoisonError::into_inner).add(&id, now_s) {
            return Ok(Heard::Again);
        }
        let event = match event.as_str() {
            "room_started" => Happened::RoomStarted,
            "room_finished" => Happened::RoomFinished,
            "participant_joined" => Happened::ParticipantJoined,
            "participant_left" | "participant_connection_aborted" => Happened::ParticipantLeft,
            "track_published" => Happened::TrackPublished,
            "track_unpublished" => Happened::TrackUnpublished,
            _ => Happened::Other,
        };
        let identity = participant.map(|participant| participant.identity).filter(|identity| !identity.is_empty());
        Ok(Heard::News(Notice { id, event, room: room.map(|room| room.name).unwrap_or_default(), identity }))
    }
}

fn refused(error: ReceiveError) -> WebhookError {
    match error {
        ReceiveError::InvalidSignature | ReceiveError::InvalidBase64(_) => WebhookError::OtherBody,
        ReceiveError::InvalidAuth(livekit_api::access_token::AccessTokenError::Encoding(why)) => WebhookError::Forged(why.to_string()),
        ReceiveError::InvalidAuth(why) => WebhookError::Forged(why.to_string()),
        ReceiveError::InvalidData(why) => WebhookError::Body(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use hmac::{Hmac, Mac};
    use livekit_api::access_token::AccessToken;
    use serde_json::json;
    use sha2::{Digest, Sha256};

    use super::*;

    const KEY: &str = "scrim-test";
    const SECRET: &str = "a secret for tests alone, and long enough";

    fn now() -> i64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() as i64
    }

    fn webhooks() -> Webhooks {
        Webhooks::new(&Secrets { key: KEY.to_owned(), secret: SECRET.to_owned() })
    }

    /// As the real server spells it.
    fn body(id: &str, created_at: i64) -> String {
        json!({
            "event": "participant_joined",
            "room": { "sid": "RM_1", "name": "studio", "emptyTimeout": 300, "creationTime": created_at.to_string(), "numParticipants": 1 },
            "participant": { "sid": "PA_1", "identity": "viewer~1", "state": "JOINED", "joinedAt": created_at.to_string(), "newInAYear": true },
            "id": id,
            "createdAt": created_at.to_string(),
        })
        .to_string()
    }

    fn hash(body: &str) -> String {
        STANDARD.encode(Sha256::digest(body))
    }

    fn signed(key: &str, secret: &str, body: &str) -> String {
        AccessToken::with_api_key(key, secret).with_sha256(&hash(body)).to_jwt().expect("a token")
    }

    /// One that the library would not make: with these times.
    fn signed_at(body: &str, nbf: i64, exp: i64) -> String {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({ "alg": "HS256", "typ": "JWT" }));
        let signed = format!("{head}.{}", part(json!({ "iss": KEY, "iat": nbf, "nbf": nbf, "exp": exp, "sha256": hash(body) })));
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn a_good_one_is_heard_once() {
        let (webhooks, now) = (webhooks(), now());
        let body = body("EV_1", now);
        let news = Notice {
            id: "EV_1".to_owned(),
            event: Happened::ParticipantJoined,
            room: "studio".to_owned(),
            identity: Some("viewer~1".to_owned()),
        };
        let heard = |token: String| webhooks.hear(body.as_bytes(), Some(&token), now).expect("a good one");
        assert_eq!(heard(signed(KEY, SECRET, &body)), Heard::News(news));
        // Signed anew: it is the id that counts.
        assert_eq!(heard(signed_at(&body, now, now + 300)), Heard::Again);
    }

    #[test]
    fn what_is_not_the_servers_is_refused() {
        let (webhooks, now) = (webhooks(), now());
        let body = body("EV_1", now);
        let good = signed(KEY, SECRET, &body);
        let hear = |body: &str, token: Option<&str>| webhooks.hear(body.as_bytes(), token, now).expect_err("refused");
        for forged in [
            signed(KEY, "another secret, which is long enough too", &body),
            signed("another-key", SECRET, &body),
            // Signed by nobody.
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), good.split('.').nth(1).expect("three parts")),
            format!("Bearer {good}"),
            signed_at(&body, now - 1000, now - 700),
            signed_at(&body, now + 1000, now + 1300),
            "nonsense".to_owned(),
        ] {
            let error = hear(&body, Some(&forged));
            assert!(matches!(error, WebhookError::Forged(_)), "{error}");
            assert!(!error.to_string().contains(SECRET));
        }
        assert!(matches!(hear(&body, None), WebhookError::NoToken));
        assert!(matches!(hear(&body, Some("")), WebhookError::NoToken));
        assert!(matches!(hear(&body.replace("viewer~1", "viewer~2"), Some(&good)), WebhookError::OtherBody));
        // A token to join with says nothing of a body.
        let join = AccessToken::with_api_key(KEY, SECRET).to_jwt().expect("a token");
        assert!(matches!(hear(&body, Some(&join)), WebhookError::OtherBody));
        let expired = hear(&body, Some(&signed_at(&body, now - 1000, now - 700))).to_string();
        assert!(expired.contains("ExpiredSignature"), "{expired}");
        let refused = webhooks.hear(b"\xff", Some(&good), now);
        assert!(matches!(refused, Err(WebhookError::OtherBody)), "{refused:?}");
        // None of them left a trace.
        assert!(matches!(webhooks.hear(body.as_bytes(), Some(&good), now), Ok(Heard::News(_))));
    }

    #[test]
    fn what_is_too_old_or_cannot_be_read_is_told() {
        let (webhooks, now) = (webhooks(), now());
        let old = body("EV_1", now - AGE_MAX_S - 1);
        let error = webhooks.hear(old.as_bytes(), Some(&signed(KEY, SECRET, &old)), now).expect_err("too old");
        assert!(matches!(error, WebhookError::Old(601)), "{error}");
        let late = body("EV_2", now - AGE_MAX_S);
        assert!(matches!(webhooks.hear(late.as_bytes(), Some(&signed(KEY, SECRET, &late)), now), Ok(Heard::News(_))));
        let no_id = format!(r#"{{"event":"room_started","createdAt":"{now}"}}"#);
        for bad in ["", "[]", "{", "{}", no_id.as_str()] {
            let error = webhooks.hear(bad.as_bytes(), Some(&signed(KEY, SECRET, bad)), now).expect_err("no notice");
            assert!(matches!(error, WebhookError::Body(_)), "{bad}: {error}");
        }
    }

    #[test]
    fn ids_are_forgotten_by_age_and_by_number() {
        let mut seen = Seen::default();
        assert!(seen.add("a", 0) && !seen.add("a", REMEMBERED_S) && seen.add("a", REMEMBERED_S + 1));
        for i in 0..2 * REMEMBERED_MAX {
            assert!(seen.add(&i.to_string(), REMEMBERED_S + 2));
        }
        assert_eq!((seen.ids.len(), seen.order.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
        assert!(!seen.add(&(2 * REMEMBERED_MAX - 1).to_string(), REMEMBERED_S + 2));
    }
}
