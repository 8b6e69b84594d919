//! Who is in a room now, and how many have been: from webhooks as they come, and set right by each round of the guard, so that a webhook which
//! is lost, late or told out of order counts for no longer than a round. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::guard::{self, Listed, Place};
use super::names;
use super::token::{Mint, Sealed, kind_of};
use super::webhook::{Happened, Notice};

/// How many are in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Broadcasters that are connected.
    pub broadcasters: usize,
    /// Of these, who publish a track.
    pub live: usize,
    pub viewers: usize,
    /// The most viewers at once.
    pub peak: usize,
    /// Viewers that came, each join of theirs.
    pub total: u64,
}

#[derive(Default)]
struct Broadcaster {
    /// Tracks that it publishes.
    tracks: usize,
    /// What its name looks like, once it has been seen.
    looks: Option<String>,
}

#[derive(Default)]
struct Room {
    broadcasters: BTreeMap<String, Broadcaster>,
    viewers: HashSet<String>,
    peak: usize,
    total: u64,
}

impl Room {
    fn viewer(&mut self, identity: &str) {
        if self.viewers.insert(identity.to_owned()) {
            self.total += 1;
            self.peak = self.peak.max(self.viewers.len());
        }
    }
}

/// See the module.
#[derive(Default)]
pub struct Presence {
    rooms: HashMap<String, Room>,
}

impl Presence {
    /// Hears of one change in a LiveKit room of ours.
    pub fn hear(&mut self, room: &str, place: &Place, notice: &Notice) {
        let room = self.rooms.entry(room.to_owned()).or_default();
        match place {
            Place::Ingest { identity } => {
                let own = notice.identity.as_deref() == Some(identity.as_str());
                match notice.event {
                    Happened::ParticipantJoined if own => _ = room.broadcasters.entry(identity.clone()).or_default(),
                    Happened::TrackPublished if own => room.broadcasters.entry(identity.clone()).or_default().tracks += 1,
                    Happened::TrackUnpublished if own => {
                        if let Some(broadcaster) = room.broadcasters.get_mut(identity) {
                            broadcaster.tracks = broadcaster.tracks.saturating_sub(1);
                        }
                    }
                    Happened::ParticipantLeft if own => _ = room.broadcasters.remove(identity),
                    Happened::RoomFinished => _ = room.broadcasters.remove(identity),
                    _ => {}
                }
            }
            Place::Viewers => {
                let viewer = notice.identity.as_deref().filter(|identity| kind_of(identity) == Some(Sealed::Viewer));
                match (notice.event, viewer) {
                    (Happened::ParticipantJoined, Some(identity)) => room.viewer(identity),
                    (Happened::ParticipantLeft, Some(identity)) => _ = room.viewers.remove(identity),
                    (Happened::RoomFinished, _) => room.viewers.clear(),
                    _ => {}
                }
            }
        }
    }

    /// Takes what the server lists for what is.
    pub fn reconcile(&mut self, mint: &Mint, listed: &[Listed]) {
        let mut now: HashMap<&str, (BTreeMap<String, Broadcaster>, HashSet<&str>)> = HashMap::new();
        for Listed { name, room, place, participants } in listed {
            let (broadcasters, viewers) = now.entry(room).or_default();
            for who in participants {
                match guard::sealed(mint, name, place, who) {
                    Some(Sealed::Broadcaster) => {
                        let looks = Some(names::looks(&who.name)).filter(|looks| !looks.is_empty());
                        broadcasters.insert(who.identity.clone(), Broadcaster { tracks: who.tracks.len(), looks });
                    }
                    Some(Sealed::Viewer) => _ = viewers.insert(&who.identity),
                    _ => {}
                }
            }
        }
        for (name, room) in &mut self.rooms {
            let (broadcasters, viewers) = now.remove(name.as_str()).unwrap_or_default();
            room.broadcasters = broadcasters;
            room.viewers.retain(|identity| viewers.contains(identity.as_str()));
            viewers.into_iter().for_each(|identity| room.viewer(identity));
        }
        for (name, (broadcasters, viewers)) in now {
            let room = self.rooms.entry(name.to_owned()).or_default();
            room.broadcasters = broadcasters;
            viewers.into_iter().for_each(|identity| room.viewer(identity));
        }
    }

    /// Forgets the rooms that there are no more.
    pub fn retain(&mut self, known: impl Fn(&str) -> bool) {
        self.rooms.retain(|name, _| known(name));
    }

    pub fn audience(&self, room: &str) -> Audience {
        self.rooms.get(room).map_or_else(Audience::default, |room| Audience {
            broadcasters: room.broadcasters.len(),
            live: room.broadcasters.values().filter(|broadcaster| broadcaster.tracks > 0).count(),
            viewers: room.viewers.len(),
            peak: room.peak,
            total: room.total,
        })
    }

    /// Broadcasters and viewers in all rooms.
    pub fn everybody(&self) -> (usize, usize) {
        self.rooms
            .values()
            .fold((0, 0), |(broadcasters, viewers), room| (broadcasters + room.broadcasters.len(), viewers + room.viewers.len()))
    }

    /// The broadcasters that are connected, by identity.
    pub fn broadcasters(&self, room: &str) -> Vec<String> {
        self.rooms.get(room).map(|room| room.broadcasters.keys().cloned().collect()).unwrap_or_default()
    }

    /// Whether somebody is in the room as a viewer.
    pub fn is_viewer(&self, room: &str, identity: &str) -> bool {
        self.rooms.get(room).is_some_and(|room| room.viewers.contains(identity))
    }

    /// Whether a broadcaster in the room has a name that this one would be taken for.
    pub fn looks_like_a_broadcaster(&self, room: &str, name: &str) -> bool {
        let looks = names::looks(name);
        self.rooms.get(room).is_some_and(|room| room.broadcasters.values().any(|broadcaster| broadcaster.looks.as_ref() == Some(&looks)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use livekit_api::access_token::Claims;
    use livekit_protocol::{ParticipantInfo, ParticipantPermission, TrackInfo};

    use super::*;
    use crate::config::IngestSuffix;
    use crate::serve::livekit::token::{Role, Secrets};

    fn notice(event: Happened, identity: &str) -> Notice {
        Notice { id: String::new(), event, room: String::new(), identity: Some(identity.to_owned()) }
    }

    fn counts(presence: &Presence) -> (usize, usize, usize, usize, u64) {
        let Audience { broadcasters, live, viewers, peak, total } = presence.audience("studio");
        (broadcasters, live, viewers, peak, total)
    }

    #[test]
    fn webhooks_count_once_each() {
        let mut presence = Presence::default();
        let own = Place::Ingest { identity: "broadcaster~0".to_owned() };
        let mut hear = |place: &Place, event, identity: &str| {
            presence.hear("studio", place, &notice(event, identity));
            counts(&presence)
        };
        assert_eq!(hear(&own, Happened::ParticipantJoined, "broadcaster~0"), (1, 0, 0, 0, 0));
        assert_eq!(hear(&own, Happened::ParticipantJoined, "scrim~host~1"), (1, 0, 0, 0, 0));
        assert_eq!(hear(&own, Happened::TrackPublished, "broadcaster~0"), (1, 1, 0, 0, 0));
        assert_eq!(hear(&Place::Viewers, Happened::ParticipantJoined, "viewer~1"), (1, 1, 1, 1, 1));
        assert_eq!(hear(&Place::Viewers, Happened::ParticipantJoined, "viewer~1"), (1, 1, 1, 1, 1));
        for unseen in ["mirror~broadcaster~0", "broadcaster~0", "moderator~1", "eve"] {
            assert_eq!(hear(&Place::Viewers, Happened::ParticipantJoined, unseen), (1, 1, 1, 1, 1));
        }
        assert_eq!(hear(&Place::Viewers, Happened::ParticipantJoined, "viewer~2"), (1, 1, 2, 2, 2));
        assert_eq!(hear(&Place::Viewers, Happened::ParticipantLeft, "viewer~1"), (1, 1, 1, 2, 2));
        assert_eq!(hear(&Place::Viewers, Happened::ParticipantLeft, "viewer~1"), (1, 1, 1, 2, 2));
        assert_eq!(hear(&Place::Viewers, Happened::ParticipantJoined, "viewer~1"), (1, 1, 2, 2, 3));
        assert_eq!(hear(&own, Happened::TrackUnpublished, "broadcaster~0"), (1, 0, 2, 2, 3));
        assert_eq!(hear(&own, Happened::TrackUnpublished, "broadcaster~0"), (1, 0, 2, 2, 3));
        assert_eq!(hear(&own, Happened::ParticipantLeft, "scrim~host~1"), (1, 0, 2, 2, 3));
        assert_eq!(hear(&own, Happened::ParticipantLeft, "broadcaster~0"), (0, 0, 2, 2, 3));
        assert_eq!(hear(&Place::Viewers, Happened::RoomFinished, ""), (0, 0, 0, 2, 3));
    }

    #[test]
    fn what_the_server_lists_sets_it_right() {
        let secrets = Secrets { key: "k".to_owned(), secret: "s".repeat(32) };
        let mint = Mint::new(secrets, Duration::from_secs(60), &IngestSuffix::default());
        let joined = |token: &str| {
            let Claims { sub, name, attributes, .. } = Claims::from_unverified(token).expect("a token");
            ParticipantInfo {
                identity: sub,
                name,
                attributes,
                permission: Some(ParticipantPermission::default()),
                ..ParticipantInfo::default()
            }
        };
        let ann = mint.mint("studio", "Ann", Role::Broadcaster).expect("a token");
        let (bob, cid) = (mint.mint("studio", "Bob", Role::Viewer).expect("one"), mint.mint("studio", "Cid", Role::Viewer).expect("one"));
        let listed = |viewers: &[&str]| {
            let mut broadcaster = joined(&ann.token);
            broadcaster.tracks.push(TrackInfo::default());
            let host = joined(&mint.host_in_ingest(&ann.room).expect("one"));
            let place = Place::Ingest { identity: ann.identity.clone() };
            let participants = viewers.iter().map(|token| joined(token)).chain([ParticipantInfo::default()]).collect();
            vec![
                Listed { name: ann.room.clone(), room: "studio".to_owned(), place, participants: vec![broadcaster, host] },
                Listed { name: "studio".to_owned(), room: "studio".to_owned(), place: Place::Viewers, participants },
            ]
        };
        let mut presence = Presence::default();
        presence.reconcile(&mint, &listed(&[&bob.token, &cid.token]));
        assert_eq!(counts(&presence), (1, 1, 2, 2, 2));
        assert!(presence.is_viewer("studio", &bob.identity) && !presence.is_viewer("studio", &ann.identity));
        assert_eq!((presence.everybody(), presence.broadcasters("studio")), ((1, 2), vec![ann.identity.clone()]));
        assert!(presence.looks_like_a_broadcaster("studio", "ANN") && presence.looks_like_a_broadcaster("studio", " А n n"));
        assert!(!presence.looks_like_a_broadcaster("studio", "Anna") && !presence.looks_like_a_broadcaster("other", "Ann"));
        // Told already by a webhook: the same one.
        presence.hear("studio", &Place::Viewers, &notice(Happened::ParticipantLeft, &bob.identity));
        presence.reconcile(&mint, &listed(&[&cid.token]));
        assert_eq!(counts(&presence), (1, 1, 1, 2, 2));
        // A webhook that told of somebody who is not there counts for no longer than a round.
        presence.hear("studio", &Place::Viewers, &notice(Happened::ParticipantJoined, "viewer~gone"));
        presence.reconcile(&mint, &listed(&[&cid.token]));
        assert_eq!(counts(&presence), (1, 1, 1, 2, 3));
        presence.reconcile(&mint, &[]);
        assert_eq!(counts(&presence), (0, 0, 0, 2, 3));
        presence.retain(|_| false);
        assert_eq!(counts(&presence), (0, 0, 0, 0, 0));
    }
}
