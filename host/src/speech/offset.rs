//! How far a clock that stamps things elsewhere is from ours, told by when they arrive. Whatever comes is held up by something, never early: the least
//! lateness of the last second or two is the clock's, all beyond it is the way's. Pure: no clock is read here.

/// Arrivals of so long are looked back on, and of as much again while the next so many come in, nanoseconds.
const WINDOW: i128 = 1_000_000_000;
/// And of no fewer: all of a few may be held up.
const ARRIVALS_MIN: u32 = 50;

/// See the module. Times are nanoseconds; ours and theirs may begin anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offset {
    before: Option<i128>,
    current: Option<i128>,
    /// When the current window began, on our clock.
    since: i128,
    arrivals: u32,
}

impl Offset {
    /// What was stamped at `theirs` has arrived at `ours`. What is to be added to theirs to have ours: never more than what this one says.
    pub fn see(&mut self, theirs: i128, ours: i128) -> i128 {
        let apart = ours - theirs;
        match self.current {
            Some(least) if ours - self.since < WINDOW || self.arrivals < ARRIVALS_MIN => self.current = Some(least.min(apart)),
            current => {
                self.before = current;
                self.current = Some(apart);
                (self.since, self.arrivals) = (ours, 0);
            }
        }
        self.arrivals += 1;
        self.now().unwrap_or(apart)
    }

    /// What is to be added to theirs to have ours; none before the first arrival.
    pub fn now(&self) -> Option<i128> {
        match (self.before, self.current) {
            (Some(before), Some(current)) => Some(before.min(current)),
            (before, current) => before.or(current),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i128 = 1_000_000;

    #[test]
    fn the_least_lateness_counts_and_a_drift_is_followed() {
        let mut offset = Offset::default();
        assert_eq!(offset.now(), None);
        // A clock that begins elsewhere and is slow by 200 ppm; every third stamp is held up.
        for number in 0..60_000_i128 {
            let (ours, theirs) = (number * 10 * MS, number * 10 * MS - number * 2000 + 77 * MS);
            let held_up = if number % 3 == 0 { number * 7919 % 50 * MS } else { 0 };
            let estimated = offset.see(theirs, ours + held_up);
            assert!(estimated <= ours + held_up - theirs);
            let wrong = estimated - (ours - theirs);
            assert!(number < 3 || (-MS..=MS).contains(&wrong), "{wrong} ns at {number}");
        }
    }

    #[test]
    fn what_was_on_time_is_forgotten_after_two_windows() {
        let mut offset = Offset::default();
        offset.see(0, 0);
        let mut late = |from: i128, to: i128| (from..to).map(|ten| offset.see(ten * 10 * MS, ten * 10 * MS + 30 * MS)).last();
        assert_eq!((late(50, 100), late(100, 190)), (Some(0), Some(0)));
        assert_eq!(late(200, 210), Some(30 * MS));
        // One that is less late is believed at once; a few do not make a window, however long they take.
        assert_eq!(offset.see(2200 * MS, 2205 * MS), 5 * MS);
        assert_eq!(offset.see(9900 * MS, 9950 * MS), 5 * MS);
    }
}
