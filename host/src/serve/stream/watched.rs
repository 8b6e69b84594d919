//! How many watched while a stream was live. Pure.

/// Viewers of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    pub now: u64,
    /// The most at once.
    pub peak: u64,
    /// All that were there or came, each time that they came.
    pub total: u64,
    /// How many had come to the room and gone before.
    before: Option<u64>,
}

impl Watched {
    /// So many are in the room, and so many have come to it, before the stream began too.
    pub fn see(&mut self, viewers: u64, came: u64) {
        let before = *self.before.get_or_insert(came.saturating_sub(viewers));
        self.now = viewers;
        self.peak = self.peak.max(viewers);
        self.total = self.total.max(came.saturating_sub(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_gone_before_does_not_count() {
        let mut watched = Watched::default();
        watched.see(2, 7);
        assert_eq!((watched.now, watched.peak, watched.total), (2, 2, 2));
        watched.see(3, 8);
        watched.see(1, 8);
        assert_eq!((watched.now, watched.peak, watched.total), (1, 3, 3));
        watched.see(2, 9);
        assert_eq!((watched.now, watched.peak, watched.total), (2, 3, 4));
        // The room's count began anew: nothing is lost.
        watched.see(0, 0);
        assert_eq!((watched.now, watched.peak, watched.total), (0, 3, 4));
    }
}
