//! The rooms whose broadcasters this host attends: all there are, or, where several hosts share a LiveKit server, those that were assigned to it.

use dashmap::DashMap;
use tokio::sync::watch;

/// See the module.
pub struct Assigned {
    /// None: every room is this host's.
    rooms: Option<DashMap<String, watch::Sender<bool>>>,
    /// Says nothing for as long as this lives.
    silent: watch::Sender<bool>,
}

impl Assigned {
    /// Every room, or for now none.
    pub fn new(every: bool) -> Self {
        Self { rooms: (!every).then(DashMap::new), silent: watch::channel(false).0 }
    }

    /// Hears when a room is this host's no longer; none if it is not.
    pub fn of(&self, room: &str) -> Option<watch::Receiver<bool>> {
        match &self.rooms {
            None => Some(self.silent.subscribe()),
            Some(rooms) => rooms.get(room).map(|ended| ended.subscribe()),
        }
    }

    /// A room is this host's from now on.
    pub(super) fn begin(&self, room: &str) {
        if let Some(rooms) = &self.rooms {
            rooms.insert(room.to_owned(), watch::channel(false).0);
        }
    }

    /// It is no longer, and whoever attends a broadcaster of it hears so.
    pub(super) fn end(&self, room: &str) {
        if let Some((_, ended)) = self.rooms.as_ref().and_then(|rooms| rooms.remove(room)) {
            ended.send_replace(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_by_itself_has_every_room_for_good() {
        let assigned = Assigned::new(true);
        let ended = assigned.of("studio").expect("every room");
        assigned.end("studio");
        assert!(!*ended.borrow() && !ended.has_changed().expect("it lives") && assigned.of("studio").is_some());
    }

    #[test]
    fn an_assigned_room_ends_for_those_who_attend_it() {
        let assigned = Assigned::new(false);
        assert!(assigned.of("studio").is_none());
        assigned.begin("studio");
        let ended = assigned.of("studio").expect("it was assigned");
        assert!(!*ended.borrow() && assigned.of("other").is_none());
        assigned.end("studio");
        assert!(*ended.borrow() && assigned.of("studio").is_none());
    }
}
