//! The guard: who is in our rooms and must not be. Whoever has the LiveKit server's secret can make any token, and its API can widen any
//! participant's rights; so each round holds everybody in the rooms of Scrim's against the seal and the rights that Scrim gave out, and puts out
//! who goes beyond them.
//!
//! ```text
//! the server's rooms ── known ──► participants ── offence ──► removed, counted, told ──► presence hears who is left
//!      ▲ every second, and at once when a webhook tells of somebody
//! ```
//! What always holds: judging is pure. Nobody is put out for what Scrim gave them. It is a guard and not a wall: until it has looked, an intruder
//! sees and says what its token allows, and with the same token it may come again; each time is counted. Hidden participants are listed too
//! (tried against the server 1.13.5), so hiding does not help.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};
use livekit_protocol::{ParticipantInfo, ParticipantPermission};
use serde_json::json;

use super::server::{Server, ServerFault};
use super::token::{Mint, Rights, SEAL, Sealed};
use super::{LiveKit, meter};
use crate::serve::Service;

/// How often it looks, when nothing calls it sooner.
pub const EVERY: Duration = Duration::from_secs(1);
/// How long it waits at least, however often it is called.
const SPACING: Duration = Duration::from_millis(100);
/// Rooms that are asked after at once.
const AT_ONCE: usize = 8;
/// Bytes of a foreign identity that an event holds.
const IDENTITY_MAX: usize = 256;

/// What a LiveKit room of ours is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One broadcaster's own room, with raw tracks.
    Ingest { identity: String },
    /// The viewers' room, where everything has been judged.
    Viewers,
}

/// Why somebody is put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// With no token of ours in a broadcaster's room, where it could see and hear the raw tracks.
    Watches,
    /// With no token of ours in a broadcaster's room, where text and names reach it whatever its rights are.
    Listens,
    /// With no token of ours it could publish tracks that nobody judged.
    Publishes,
    /// With no token of ours it could send packets, text among them, that nobody judged.
    Speaks,
    /// With no token of ours it shows a name, metadata or attributes that nobody judged, or could change them at any time.
    Shows,
    /// Its token was ours, but its rights are more than that gave.
    Widened,
}

impl Offence {
    pub fn word(self) -> &'static str {
        match self {
            Self::Watches => "watches",
            Self::Listens => "listens",
            Self::Publishes => "publishes",
            Self::Speaks => "speaks",
            Self::Shows => "shows",
            Self::Widened => "widened",
        }
    }
}

/// What a LiveKit room is to a Scrim room; none if it is none of ours. `known` says which Scrim rooms there are.
pub fn place(mint: &Mint, known: impl Fn(&str) -> bool, room: &str) -> Option<(String, Place)> {
    match mint.parse_ingest(room) {
        Some((of, identity)) => known(of).then(|| (of.to_owned(), Place::Ingest { identity: identity.to_owned() })),
        None => known(room).then(|| (room.to_owned(), Place::Viewers)),
    }
}

/// Which token of ours somebody in a LiveKit room came with, if it is one for this place.
pub fn sealed(mint: &Mint, room: &str, place: &Place, who: &ParticipantInfo) -> Option<Sealed> {
    let kind = mint.sealed(room, &who.identity, who.attributes.get(SEAL).map(String::as_str))?;
    let belongs = match (place, kind) {
        (Place::Ingest { identity }, Sealed::Broadcaster) => *identity == who.identity,
        (Place::Ingest { .. }, Sealed::Host | Sealed::Moderator) => true,
        (Place::Viewers, Sealed::Viewer | Sealed::Watching | Sealed::Moderator | Sealed::Mirror | Sealed::Chat | Sealed::Agent) => true,
        _ => false,
    };
    belongs.then_some(kind)
}

/// What somebody in a LiveKit room of ours does wrong, if anything.
pub fn offence(mint: &Mint, room: &str, place: &Place, who: &ParticipantInfo) -> Option<Offence> {
    // What is not said is the most that it could be.
    let everything = ParticipantPermission {
        can_subscribe: true,
        can_publish: true,
        can_publish_data: true,
        can_update_metadata: true,
        ..ParticipantPermission::default()
    };
    let may = who.permission.as_ref().unwrap_or(&everything);
    if let Some(kind) = sealed(mint, room, place, who) {
        let Rights { subscribe, publish, data, hidden } = kind.rights();
        let more = may.can_subscribe && !subscribe
            || may.can_publish && !publish
            || may.can_publish_data && !data
            || may.can_update_metadata
            // Who is to be hidden and is not would be seen under a name that no viewer should read.
            || hidden && !may.hidden;
        return more.then_some(Offence::Widened);
    }
    match place {
        Place::Ingest { .. } if may.can_subscribe => Some(Offence::Watches),
        Place::Ingest { .. } if may.can_publish => Some(Offence::Publishes),
        Place::Ingest { .. } => Some(Offence::Listens),
        Place::Viewers if may.can_publish => Some(Offence::Publishes),
        Place::Viewers if may.can_publish_data => Some(Offence::Speaks),
        Place::Viewers if may.can_update_metadata => Some(Offence::Shows),
        Place::Viewers => {
            let shown = !who.name.is_empty() || !who.metadata.is_empty() || !who.attributes.is_empty();
            (shown && !may.hidden).then_some(Offence::Shows)
        }
    }
}

/// Who is in one LiveKit room of ours.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The LiveKit room.
    pub name: String,
    /// The Scrim room.
    pub room: String,
    pub place: Place,
    pub participants: Vec<ParticipantInfo>,
}

/// Somebody that was put out.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The Scrim room.
    pub room: String,
    pub place: Place,
    pub identity: String,
    pub why: Offence,
    /// How long it had been in.
    pub after: Duration,
}

/// One round: who is in our rooms, without those that were put out, and those.
///
/// # Errors
/// When the server does not answer. One room that can't be asked after is passed over until the next round.
pub async fn round(server: &Server, mint: &Mint, known: impl Fn(&str) -> bool) -> Result<(Vec<Listed>, Vec<Removed>), ServerFault> {
    let rooms = server.rooms().await?;
    let ours: Vec<_> = rooms.into_iter().filter_map(|room| Some((place(mint, &known, &room.name)?, room.name))).collect();
    let looks = ours.into_iter().map(|((room, place), name)| async move {
        match server.participants(&name).await {
            Ok(participants) => {
                let mut listed = Listed { name, room, place, participants };
                let removed = clear(server, mint, &mut listed).await;
                Some((listed, removed))
            }
            Err(error) => {
                tracing::debug!(%error, "a room is not guarded in this round");
                None
            }
        }
    });
    let looked: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    let (listed, removed): (Vec<_>, Vec<_>) = looked.into_iter().unzip();
    Ok((listed, removed.into_iter().flatten().collect()))
}

/// Puts out of one room who must not be there.
async fn clear(server: &Server, mint: &Mint, listed: &mut Listed) -> Vec<Removed> {
    let Listed { name, room, place, participants } = listed;
    let mut removed = Vec::new();
    let mut kept = Vec::with_capacity(participants.len());
    for who in std::mem::take(participants) {
        let Some(why) = offence(mint, name, place, &who) else {
            kept.push(who);
            continue;
        };
        match server.remove(name, &who.identity).await {
            Ok(true) => removed.push(Removed { room: room.clone(), place: place.clone(), after: since(&who), identity: who.identity, why }),
            // It went by itself.
            Ok(false) => {}
            Err(error) => tracing::warn!(room = %room, why = why.word(), %error, "somebody who must not be in a room could not be put out"),
        }
    }
    *participants = kept;
    removed
}

/// How long somebody has been in, by the server's clock and ours.
fn since(who: &ParticipantInfo) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(joined_ms(who)))
}

/// When somebody joined, by the server's clock, ms since the Unix epoch.
pub(super) fn joined_ms(who: &ParticipantInfo) -> u64 {
    let joined = if who.joined_at_ms > 0 { who.joined_at_ms } else { who.joined_at.saturating_mul(1000) };
    u64::try_from(joined).unwrap_or_default()
}

/// Goes round for as long as the service lives.
pub async fn watch(livekit: Weak<LiveKit>, service: Weak<Service>) {
    let mut answers = true;
    loop {
        let Some(now) = livekit.upgrade() else { return };
        {
            let Some(service) = service.upgrade().filter(|service| !service.is_draining()) else { return };
            match round(&now.server, &now.mint, |room| service.room(room).is_ok()).await {
                Ok((listed, removed)) => {
                    removed.iter().for_each(|removed| tell(&service, removed));
                    now.saw(&service, &listed);
                    if !std::mem::replace(&mut answers, true) {
                        tracing::info!("the LiveKit server answers again, its rooms are guarded");
                    }
                }
                Err(error) => {
                    if std::mem::replace(&mut answers, false) {
                        tracing::warn!(%error, "the LiveKit server's rooms are not guarded until it answers");
                    }
                }
            }
        }
        // Nothing is held while it waits, so that a service that ends is let go.
        let call = now.call.clone();
        drop(now);
        tokio::time::sleep(SPACING).await;
        // Called or not, the next round is due.
        let _ = tokio::time::timeout(EVERY - SPACING, call.notified()).await;
    }
}

/// Counts a removal, and writes it into the room's events.
fn tell(service: &Arc<Service>, removed: &Removed) {
    let Removed { room, place, identity, why, after } = removed;
    metrics::counter!(meter::REMOVED, "why" => why.word()).increment(1);
    metrics::histogram!(meter::REMOVED_AFTER).record(*after);
    let place = match place {
        Place::Ingest { .. } => "ingest",
        Place::Viewers => "viewers",
    };
    tracing::warn!(room, place, why = why.word(), after_ms = after.as_millis() as u64, "somebody without the right token was put out");
    let Ok(room) = service.room(room) else { return };
    let mut identity = identity.clone();
    identity.truncate(identity.floor_char_boundary(IDENTITY_MAX));
    room.tell(
        "guard",
        json!({ "event": "removed", "place": place, "identity": identity, "why": why.word(), "after_ms": after.as_millis() as u64 }),
    );
}

#[cfg(test)]
mod tests {
    use livekit_api::access_token::Claims;

    use super::*;
    use crate::config::IngestSuffix;
    use crate::serve::livekit::token::{Role, Secrets};

    fn mint() -> Mint {
        let secrets = Secrets { key: "scrim-test".to_owned(), secret: "s".repeat(32) };
        Mint::new(secrets, Duration::from_secs(60), &IngestSuffix::default())
    }

    /// Whoever joins with a token, as the server lists them.
    fn joined(token: &str) -> ParticipantInfo {
        let Claims { sub, name, attributes, video, .. } = Claims::from_unverified(token).expect("a token");
        let permission = ParticipantPermission {
            can_subscribe: video.can_subscribe(),
            can_publish: video.can_publish(),
            can_publish_data: video.can_publish_data(),
            can_update_metadata: video.can_update_own_metadata(),
            hidden: video.hidden,
            ..ParticipantPermission::default()
        };
        ParticipantInfo { identity: sub, name, attributes, permission: Some(permission), ..ParticipantInfo::default() }
    }

    fn foreign(subscribe: bool, publish: bool, data: bool) -> ParticipantInfo {
        let permission = ParticipantPermission {
            can_subscribe: subscribe,
            can_publish: publish,
            can_publish_data: data,
            ..ParticipantPermission::default()
        };
        ParticipantInfo { identity: "eve".to_owned(), permission: Some(permission), ..ParticipantInfo::default() }
    }

    fn ingest(identity: &str) -> Place {
        Place::Ingest { identity: identity.to_owned() }
    }

    #[test]
    fn whoever_has_a_token_of_ours_stays_where_it_is_for() {
        let mint = mint();
        let ann = mint.mint("studio", "Ann", Role::Broadcaster).expect("a token");
        let (room, own) = (ann.room.as_str(), ingest(&ann.identity));
        let mo = mint.mint("studio", "Mo", Role::Moderator).expect("a token");
        for token in [ann.token.clone(), mint.host_in_ingest(room).expect("one"), mint.moderator_in(room, &mo.identity, "Mo").expect("one")]
        {
            assert_eq!(offence(&mint, room, &own, &joined(&token)), None);
        }
        let bob = mint.mint("studio", "Bob", Role::Viewer).expect("a token");
        let mirror = mint.mirror("studio", &ann.identity, &"Ann".into()).expect("a token");
        let (chat, agent) = (mint.chat("studio").expect("a token"), mint.agent("studio", "AJ_0").expect("a token"));
        for token in [&bob.token, &mo.token, ann.view_token.as_ref().expect("two"), &mirror, &chat, &agent] {
            assert_eq!(offence(&mint, "studio", &Place::Viewers, &joined(token)), None);
        }
        // Their seals are worth nothing elsewhere.
        assert_eq!(offence(&mint, room, &own, &joined(&bob.token)), Some(Offence::Watches));
        assert_eq!(offence(&mint, "studio", &Place::Viewers, &joined(&ann.token)), Some(Offence::Publishes));
        assert_eq!(offence(&mint, "other", &Place::Viewers, &joined(&mirror)), Some(Offence::Publishes));
        let eve = mint.mint("studio", "Eve", Role::Broadcaster).expect("a token");
        let in_anns = joined(&eve.token);
        assert_eq!(offence(&mint, room, &own, &in_anns), Some(Offence::Publishes));
    }

    #[test]
    fn strangers_are_judged_by_what_they_could_do() {
        let mint = mint();
        let own = ingest("broadcaster~0");
        for (subscribe, publish, data, inside, outside) in [
            (true, true, true, Offence::Watches, Some(Offence::Publishes)),
            (true, false, false, Offence::Watches, None),
            (false, true, false, Offence::Publishes, Some(Offence::Publishes)),
            (false, false, true, Offence::Listens, Some(Offence::Speaks)),
            (false, false, false, Offence::Listens, None),
        ] {
            let who = foreign(subscribe, publish, data);
            assert_eq!(offence(&mint, "studio~in~broadcaster~0", &own, &who), Some(inside), "{who:?}");
            assert_eq!(offence(&mint, "studio", &Place::Viewers, &who), outside, "{who:?}");
        }
        // What the server does not say is the worst.
        let unsaid = ParticipantInfo { permission: None, ..foreign(false, false, false) };
        assert_eq!(offence(&mint, "studio", &Place::Viewers, &unsaid), Some(Offence::Publishes));
        // A name that nobody judged is shown to all, unless its bearer is hidden, as a recorder is.
        let named = |hidden: bool| {
            let mut who = ParticipantInfo { name: "anything".to_owned(), ..foreign(true, false, false) };
            who.permission = who.permission.map(|may| ParticipantPermission { hidden, ..may });
            offence(&mint, "studio", &Place::Viewers, &who)
        };
        assert_eq!((named(false), named(true)), (Some(Offence::Shows), None));
        let mut changes = foreign(true, false, false);
        changes.permission = changes.permission.map(|may| ParticipantPermission { can_update_metadata: true, ..may });
        assert_eq!(offence(&mint, "studio", &Place::Viewers, &changes), Some(Offence::Shows));
    }

    #[test]
    fn rights_that_were_widened_are_seen() {
        let mint = mint();
        let bob = joined(&mint.mint("studio", "Bob", Role::Viewer).expect("a token").token);
        let widened = |change: fn(&mut ParticipantPermission)| {
            let mut who = bob.clone();
            who.permission.as_mut().map(change).expect("it has rights");
            offence(&mint, "studio", &Place::Viewers, &who)
        };
        assert_eq!(widened(|_| {}), None);
        assert_eq!(widened(|may| may.can_publish = true), Some(Offence::Widened));
        assert_eq!(widened(|may| may.can_publish_data = true), Some(Offence::Widened));
        assert_eq!(widened(|may| may.can_update_metadata = true), Some(Offence::Widened));
        // Fewer are the operator's choice.
        assert_eq!(widened(|may| may.can_subscribe = false), None);
        let ann = mint.mint("studio", "Ann", Role::Broadcaster).expect("a token");
        let mut who = joined(&ann.token);
        who.permission.as_mut().expect("it has rights").can_subscribe = true;
        assert_eq!(offence(&mint, &ann.room, &ingest(&ann.identity), &who), Some(Offence::Widened));
        // The seal is for one identity: another's, copied, is none.
        let mut copied = bob.clone();
        copied.identity = "viewer~eve".to_owned();
        copied.permission.as_mut().expect("it has rights").can_publish = true;
        assert_eq!(offence(&mint, "studio", &Place::Viewers, &copied), Some(Offence::Publishes));
    }

    #[test]
    fn only_rooms_of_ours_are_looked_into() {
        let mint = mint();
        let known = |room: &str| room == "studio";
        let ann = mint.mint("studio", "Ann", Role::Broadcaster).expect("a token");
        assert_eq!(place(&mint, known, "studio"), Some(("studio".to_owned(), Place::Viewers)));
        assert_eq!(place(&mint, known, &ann.room), Some(("studio".to_owned(), ingest(&ann.identity))));
        let other = mint.mint("other", "Ann", Role::Broadcaster).expect("a token");
        for name in ["other", other.room.as_str(), "studio~in~x", ""] {
            assert_eq!(place(&mint, known, name), None, "{name}");
        }
    }
}
