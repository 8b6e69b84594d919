//! Looks that wait for a worker: bounded, fair, in the order invariant 1 needs. Pure: time is an argument.
//!
//! What always holds:
//! - A *required* look is never replaced by a newer one and never gives way to one. It leaves with a batch, or at its deadline as
//!   expired. It is refused only on arrival: when its source has `required_per_source_max` waiting, or the queue holds nothing else.
//! - A source has at most one *optional* look waiting: a newer frame's replaces it.
//! - The whole never holds more than `looks_max`. When it is full an optional look that arrives is refused; a required one displaces
//!   the optional look of the source that has had most.
//! - Required looks go first, by their deadlines; but a source that is more than [`LEAD_LOOKS_MAX`] ahead of its share comes after the others.
//! - Optional looks go in the order of weighted fair queueing. Where any waits, at least every [`OPTIONAL_EVERY`]th look is one; and one
//!   that [`PATIENCE_BATCHES`] batches have passed over goes with the next, the oldest first, as long as optional looks are no more than
//!   [`OPTIONAL_EIGHTHS_MAX`] eighths of it.
//! - Nothing whose deadline has passed is run.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::time::Duration;

/// How far, in its own looks, a source may be served ahead of its share because its deadlines are nearer. One full batch.
pub const LEAD_LOOKS_MAX: f64 = 8.0;

/// Of so many looks at least one is an optional one, while any waits: required looks alone must not blind the rest for good.
pub const OPTIONAL_EVERY: u32 = 8;

/// Batches that may pass an optional look over before it has a claim on the next.
pub const PATIENCE_BATCHES: u64 = 2;

/// Eighths of a batch that such claims may take from required looks: 3 of 8 looks, and none where batches are of one. With a quarter of
/// them 99.85 % of looks go within three batches at load 0.8 (bench `batcher`), with this 99.9 %.
pub const OPTIONAL_EIGHTHS_MAX: usize = 3;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Looks in one batch.
    pub batch_max: usize,
    /// How long a look may wait for others to fill its batch.
    pub wait_max: Duration,
    /// Looks waiting, all sources together.
    pub looks_max: usize,
    /// Required looks of one source waiting.
    pub required_per_source_max: usize,
}

impl Limits {
    /// A GPU gains by batches. Waiting longer for others gains nothing: under load they come while the one before runs (bench `batcher`).
    pub fn gpu() -> Self {
        Self { batch_max: 8, wait_max: Duration::from_micros(500), ..Self::cpu() }
    }

    /// A CPU gains nothing by them (the same time per picture at 1, 4 and 8), so no look waits for another.
    pub fn cpu() -> Self {
        // A source forces a look every 150 ms and halves between neighbours: 32 outlast any delay line of a second.
        Self { batch_max: 1, wait_max: Duration::ZERO, looks_max: 1024, required_per_source_max: 32 }
    }
}

/// One look that waits, with whatever its owner needs to run and answer it. Times count from an epoch of the owner's.
#[derive(Clone, Debug)]
pub struct Look<T> {
    pub source: u64,
    /// The source's share against the others'.
    pub weight: NonZeroU32,
    /// Invariant 1 needs it.
    pub required: bool,
    /// When its answer is of no more use.
    pub deadline: Duration,
    pub payload: T,
}

/// A look that was taken out to be run.
#[derive(Clone, Debug)]
pub struct Ready<T> {
    pub look: Look<T>,
    pub waited: Duration,
    /// Batches that were made up while it waited, its own included: 1 if it went with the first.
    pub batches: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// A newer frame of the same source took its place; optional looks only.
    Superseded,
    /// A required look of another source took its place in a full queue; optional looks only.
    Displaced,
    /// Refused on arrival: the queue was full.
    QueueFull,
    /// Refused on arrival: its source has as many required looks waiting as it may.
    SourceFull,
    /// Its deadline passed before a worker was free.
    Expired,
}

impl DropReason {
    pub const ALL: [DropReason; 5] = [Self::Superseded, Self::Displaced, Self::QueueFull, Self::SourceFull, Self::Expired];

    /// Value of the metric's label.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::Superseded => "superseded",
            DropReason::Displaced => "displaced",
            DropReason::QueueFull => "queue_full",
            DropReason::SourceFull => "source_full",
            DropReason::Expired => "expired",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Dropped<T> {
    pub look: Look<T>,
    pub reason: DropReason,
    pub waited: Duration,
}

struct Waiting<T> {
    look: Look<T>,
    arrived: Duration,
    /// Batches made up before it came.
    batches_before: u64,
}

/// See the module.
pub struct Queue<T> {
    limits: Limits,
    /// In the order of arrival.
    waiting: Vec<Waiting<T>>,
    /// Looks served ÷ weight, for each source that waits or is ahead of its share.
    served: HashMap<u64, f64>,
    /// `served` of the source that has had least of those waiting; never falls.
    floor: f64,
    /// Required looks taken since an optional one was, while one waited.
    required_in_a_row: u32,
    batches: u64,
}

impl<T> Queue<T> {
    pub fn new(limits: Limits) -> Self {
        Self { limits, waiting: Vec::new(), served: HashMap::new(), floor: 0.0, required_in_a_row: 0, batches: 0 }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets a look wait; what had to go for it, or it itself, comes back.
    pub fn push(&mut self, now: Duration, look: Look<T>) -> Option<Dropped<T>> {
        let mut dropped = None;
        if look.required {
            let theirs = self.waiting.iter().filter(|other| other.look.required && other.look.source == look.source).count();
            if theirs >= self.limits.required_per_source_max {
                return Some(Dropped { look, reason: DropReason::SourceFull, waited: Duration::ZERO });
            }
        } else if let Some(older) = self.waiting.iter().position(|other| !other.look.required && other.look.source == look.source) {
            dropped = Some(self.remove(older, DropReason::Superseded, now));
        }
        if self.waiting.len() >= self.limits.looks_max {
            let displaced = if look.required { self.most_served_optional() } else { None };
            match displaced {
                Some(index) => dropped = Some(self.remove(index, DropReason::Displaced, now)),
                None => return Some(Dropped { look, reason: DropReason::QueueFull, waited: Duration::ZERO }),
            }
        }
        // One that comes back from idling has no claim on the time it was away.
        let served = self.served.entry(look.source).or_insert(self.floor);
        *served = served.max(self.floor);
        self.waiting.push(Waiting { look, arrived: now, batches_before: self.batches });
        dropped
    }

    /// When the next batch is due; `None` while nothing waits. It may have passed already.
    pub fn due(&self) -> Option<Duration> {
        let oldest = self.waiting.iter().map(|waiting| waiting.arrived).min()?;
        let full = self.waiting.len() >= self.limits.batch_max;
        Some(if full { oldest } else { oldest + self.limits.wait_max })
    }

    /// The nearest deadline of those waiting.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.waiting.iter().map(|waiting| waiting.look.deadline).min()
    }

    /// How long the optional look that waits longest has waited; zero if none does.
    pub fn optional_wait(&self, now: Duration) -> Duration {
        let arrived = self.waiting.iter().filter(|waiting| !waiting.look.required).map(|waiting| waiting.arrived).min();
        arrived.map_or(Duration::ZERO, |arrived| now.saturating_sub(arrived))
    }

    /// Takes out every look whose deadline has come.
    pub fn expire(&mut self, now: Duration) -> Vec<Dropped<T>> {
        let late: Vec<Waiting<T>> = self.waiting.extract_if(.., |waiting| waiting.look.deadline <= now).collect();
        self.forget_idle();
        let expired =
            |waiting: Waiting<T>| Dropped { waited: now.saturating_sub(waiting.arrived), look: waiting.look, reason: DropReason::Expired };
        late.into_iter().map(expired).collect()
    }

    /// Takes out everything, for an owner who closes.
    pub fn drain(&mut self) -> Vec<Look<T>> {
        self.served.clear();
        self.waiting.drain(..).map(|waiting| waiting.look).collect()
    }

    /// The next batch, if one is due. Call [`Queue::expire`] first: what is late is not looked at here.
    pub fn take(&mut self, now: Duration) -> Vec<Ready<T>> {
        if self.due().is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.batches += 1;
        let mut batch = Vec::with_capacity(self.limits.batch_max.min(self.waiting.len()));
        while batch.len() < self.limits.batch_max {
            let Some(index) = self.next(now, batch.iter().filter(|ready: &&Ready<T>| !ready.look.required).count()) else { break };
            let Waiting { look, arrived, batches_before } = self.waiting.remove(index);
            *self.served.entry(look.source).or_insert(self.floor) += 1.0 / f64::from(look.weight.get());
            let optional_waits = self.waiting.iter().any(|waiting| !waiting.look.required);
            self.required_in_a_row = if look.required && optional_waits { self.required_in_a_row + 1 } else { 0 };
            let batches = u32::try_from(self.batches - batches_before).unwrap_or(u32::MAX);
            batch.push(Ready { look, waited: now.saturating_sub(arrived), batches });
        }
        self.forget_idle();
        batch
    }

    /// Which of those waiting goes next into a batch that holds so many optional ones.
    fn next(&mut self, now: Duration, optional_taken: usize) -> Option<usize> {
        let least = self.waiting.iter().map(|waiting| self.served_of(waiting)).min_by(f64::total_cmp)?;
        self.floor = self.floor.max(least);
        let in_time = |required: bool| {
            let waiting = self.waiting.iter().enumerate();
            waiting.filter(move |(_, waiting)| waiting.look.required == required && waiting.look.deadline > now)
        };
        let ahead = |waiting: &Waiting<T>| (self.served_of(waiting) - self.floor) * f64::from(waiting.look.weight.get()) > LEAD_LOOKS_MAX;
        let required = in_time(true).min_by_key(|(_, waiting)| (ahead(waiting), waiting.look.deadline, waiting.arrived));
        let optional =
            in_time(false).min_by(|(_, a), (_, b)| self.served_of(a).total_cmp(&self.served_of(b)).then(a.arrived.cmp(&b.arrived)));
        let passed_over = |(_, waiting): &(usize, &Waiting<T>)| self.batches - waiting.batches_before > PATIENCE_BATCHES;
        let oldest = in_time(false).min_by_key(|(_, waiting)| waiting.arrived).filter(passed_over);
        let claim = oldest.filter(|_| optional_taken < self.limits.batch_max * OPTIONAL_EIGHTHS_MAX / 8);
        let optionals_turn = self.required_in_a_row + 1 >= OPTIONAL_EVERY;
        let next = claim.or(if optionals_turn { optional.or(required) } else { required.or(optional) });
        next.map(|(index, _)| index)
    }

    fn served_of(&self, waiting: &Waiting<T>) -> f64 {
        self.served.get(&waiting.look.source).copied().unwrap_or(self.floor)
    }

    fn most_served_optional(&self) -> Option<usize> {
        let optional = self.waiting.iter().enumerate().filter(|(_, waiting)| !waiting.look.required);
        optional
            .max_by(|(_, a), (_, b)| self.served_of(a).total_cmp(&self.served_of(b)).then(a.arrived.cmp(&b.arrived)))
            .map(|(index, _)| index)
    }

    fn remove(&mut self, index: usize, reason: DropReason, now: Duration) -> Dropped<T> {
        let Waiting { look, arrived, .. } = self.waiting.remove(index);
        Dropped { look, reason, waited: now.saturating_sub(arrived) }
    }

    /// Sources that neither wait nor are ahead need no memory: they would start at the floor anyway.
    fn forget_idle(&mut self) {
        let waiting: HashSet<u64> = self.waiting.iter().map(|waiting| waiting.look.source).collect();
        self.served.retain(|source, served| *served > self.floor || waiting.contains(source));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn limits(batch_max: usize) -> Limits {
        Limits { batch_max, wait_max: 2 * MS, looks_max: 12, required_per_source_max: 4 }
    }

    fn look(source: u64, required: bool, deadline_ms: u32, payload: u32) -> Look<u32> {
        Look { source, weight: NonZeroU32::MIN, required, deadline: MS * deadline_ms, payload }
    }

    fn payloads(batch: &[Ready<u32>]) -> Vec<u32> {
        batch.iter().map(|ready| ready.look.payload).collect()
    }

    #[test]
    fn newest_wins_among_optional_looks_of_one_source_only() {
        let mut queue = Queue::new(limits(8));
        assert!(queue.push(MS, look(1, false, 100, 1)).is_none());
        assert!(queue.push(MS, look(2, false, 100, 2)).is_none());
        assert!(queue.push(MS, look(1, true, 100, 3)).is_none());
        let dropped = queue.push(3 * MS, look(1, false, 100, 4)).unwrap();
        assert_eq!((dropped.look.payload, dropped.reason, dropped.waited), (1, DropReason::Superseded, 2 * MS));
        assert_eq!(payloads(&queue.take(5 * MS)), [3, 2, 4]);
    }

    #[test]
    fn a_batch_waits_for_others_but_not_beyond_its_limit() {
        let mut queue = Queue::new(limits(2));
        queue.push(MS, look(1, true, 100, 1));
        assert_eq!(queue.due(), Some(3 * MS));
        assert!(queue.take(2 * MS).is_empty());
        queue.push(2 * MS, look(2, true, 100, 2));
        assert_eq!(payloads(&queue.take(2 * MS)), [1, 2]);
        queue.push(5 * MS, look(1, true, 100, 3));
        assert_eq!(payloads(&queue.take(7 * MS)), [3]);
        assert_eq!(queue.due(), None);
    }

    #[test]
    fn required_looks_go_by_deadline_before_optional_ones() {
        let mut queue = Queue::new(limits(3));
        for (source, required, deadline) in [(1, false, 10), (2, true, 30), (3, true, 20), (4, true, 40)] {
            queue.push(MS, look(source, required, deadline, deadline));
        }
        assert_eq!(payloads(&queue.take(MS)), [20, 30, 40]);
        assert_eq!(payloads(&queue.take(3 * MS)), [10]);
    }

    #[test]
    fn what_is_late_expires_and_is_not_run() {
        let mut queue = Queue::new(limits(8));
        queue.push(MS, look(1, true, 5, 1));
        queue.push(MS, look(2, true, 6, 2));
        assert_eq!(queue.next_deadline(), Some(5 * MS));
        let expired = queue.expire(5 * MS);
        assert_eq!(expired.iter().map(|gone| (gone.look.payload, gone.reason)).collect::<Vec<_>>(), [(1, DropReason::Expired)]);
        assert_eq!(payloads(&queue.take(5 * MS)), [2]);
    }

    #[test]
    fn a_full_queue_displaces_optional_looks_for_required_ones_only() {
        let mut queue = Queue::new(Limits { looks_max: 3, required_per_source_max: 2, ..limits(1) });
        queue.push(MS, look(1, false, 100, 1));
        queue.push(MS, look(2, true, 100, 2));
        queue.push(MS, look(2, true, 100, 3));
        assert_eq!(queue.push(MS, look(2, true, 100, 4)).map(|gone| (gone.look.payload, gone.reason)), Some((4, DropReason::SourceFull)));
        assert_eq!(queue.push(MS, look(3, false, 100, 5)).map(|gone| (gone.look.payload, gone.reason)), Some((5, DropReason::QueueFull)));
        assert_eq!(queue.push(MS, look(3, true, 100, 6)).map(|gone| (gone.look.payload, gone.reason)), Some((1, DropReason::Displaced)));
        assert_eq!(queue.push(MS, look(4, true, 100, 7)).map(|gone| (gone.look.payload, gone.reason)), Some((7, DropReason::QueueFull)));
    }

    #[test]
    fn near_deadlines_do_not_take_everything_from_a_source_with_far_ones() {
        let mut queue = Queue::new(Limits { looks_max: 100, required_per_source_max: 50, ..limits(1) });
        for i in 0..40 {
            queue.push(MS, look(1, true, 50 + i, 1));
        }
        queue.push(MS, look(2, true, 1000, 2));
        let order: Vec<u32> = std::iter::from_fn(|| queue.take(4 * MS).pop()).map(|ready| ready.look.payload).collect();
        let turn = order.iter().position(|source| *source == 2).unwrap();
        assert!(turn <= LEAD_LOOKS_MAX as usize + 1, "served as number {turn}");
        assert!(turn > 1, "deadlines still count");
    }

    #[test]
    fn weights_divide_the_workers_time() {
        // Two sources that always have an optional look waiting, one with three times the weight.
        let mut queue = Queue::new(limits(1));
        let mut served = [0_u32; 2];
        for step in 0..400_u32 {
            let now = MS * step * 3;
            for source in 0..2 {
                let weight = NonZeroU32::new([1, 3][source]).unwrap();
                queue.push(now, Look { weight, ..look(source as u64, false, u32::MAX, source as u32) });
            }
            served[queue.take(now + 2 * MS)[0].look.payload as usize] += 1;
        }
        assert_eq!(served.iter().sum::<u32>(), 400);
        assert!(served[1].abs_diff(300) <= 4, "{served:?}");
    }

    #[test]
    fn required_looks_alone_do_not_starve_optional_ones() {
        let mut queue = Queue::new(limits(1));
        let mut order = Vec::new();
        for step in 1..200 {
            queue.push(MS * step, look(1, true, step + 50, 1));
            if queue.optional_wait(MS * step).is_zero() {
                queue.push(MS * step, look(2, false, u32::MAX, 0));
            }
            order.extend(payloads(&queue.take(MS * step + 2 * MS)));
        }
        let longest = order.split(|payload| *payload == 0).map(<[u32]>::len).max();
        assert!(longest.is_some_and(|longest| longest < OPTIONAL_EVERY as usize), "{longest:?} required looks in a row");
        assert!(
            order.iter().filter(|payload| **payload == 0).count() <= order.len() / (OPTIONAL_EVERY as usize - 1),
            "required ones go first"
        );
    }

    #[test]
    fn optional_looks_passed_over_by_two_batches_go_with_the_third_up_to_three_eighths_of_it() {
        let mut queue = Queue::new(Limits { looks_max: 100, required_per_source_max: 50, ..limits(8) });
        for source in 10..16 {
            queue.push(MS, look(source, false, 1000, 0));
        }
        let optional = (0..4).map(|round| {
            for i in 0..10 {
                queue.push(MS, look(i % 4, true, 100 + round, 1));
            }
            payloads(&queue.take(9 * MS)).iter().filter(|payload| **payload == 0).count()
        });
        // One in eight as long as they are patient; then three; then the one that is left.
        assert_eq!(optional.collect::<Vec<_>>(), [1, 1, 3, 1]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { source: u64, weight: u32, required: bool, slack_ms: u32 },
        Take,
        Wait { ms: u32 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0_u64..6, 1_u32..4, any::<bool>(), 0_u32..40)
                .prop_map(|(source, weight, required, slack_ms)| Step::Push { source, weight, required, slack_ms }),
            2 => Just(Step::Take),
            2 => (0_u32..8).prop_map(|ms| Step::Wait { ms }),
        ]
    }

    proptest! {
        #[test]
        fn no_look_is_lost_repeated_or_run_late(steps in prop::collection::vec(step(), 0..200), batch_max in 1_usize..5) {
            let mut queue = Queue::new(limits(batch_max));
            let mut now = Duration::ZERO;
            // Looks that must still be waiting: whether required, of which source, until when.
            let mut waiting: BTreeMap<u32, (bool, u64, Duration)> = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Wait { ms } => now += MS * ms,
                    Step::Push { source, weight, required, slack_ms } => {
                        let number = number as u32;
                        let deadline = now + MS * slack_ms;
                        let weight = NonZeroU32::new(weight).unwrap();
                        waiting.insert(number, (required, source, deadline));
                        if let Some(gone) = queue.push(now, Look { source, weight, required, deadline, payload: number }) {
                            let (gone_required, gone_source, _) = waiting.remove(&gone.look.payload).expect("it waited");
                            // A required look that already waits never goes for another; one that arrives goes only when there is no room.
                            prop_assert!(!gone_required || gone.look.payload == number);
                            match gone.reason {
                                DropReason::Superseded => prop_assert!(!gone_required && !required && gone_source == source),
                                DropReason::Displaced => prop_assert!(!gone_required && required),
                                DropReason::QueueFull => prop_assert!(gone.look.payload == number && waiting.len() == 12),
                                DropReason::SourceFull => prop_assert_eq!(waiting.values().filter(|(r, s, _)| *r && *s == source).count(), 4),
                                DropReason::Expired => prop_assert!(false, "nothing expires on arrival"),
                            }
                        }
                    }
                    Step::Take => {
                        for gone in queue.expire(now) {
                            let (_, _, deadline) = waiting.remove(&gone.look.payload).expect("it waited");
                            prop_assert!(deadline <= now && gone.reason == DropReason::Expired);
                        }
                        let before = waiting.len();
                        let batch = queue.take(now);
                        prop_assert!(batch.len() <= batch_max);
                        prop_assert!(batch.is_empty() || batch.len() == before.min(batch_max), "a batch that is due is as full as it can be");
                        for ready in &batch {
                            let (_, _, deadline) = waiting.remove(&ready.look.payload).expect("it waited");
                            prop_assert!(deadline > now);
                        }
                    }
                }
                prop_assert_eq!(queue.len(), waiting.len());
                prop_assert!(queue.len() <= 12);
                for source in 0..6 {
                    prop_assert!(waiting.values().filter(|(required, of, _)| !required && *of == source).count() <= 1);
                }
            }
        }

        #[test]
        fn a_required_look_is_run_by_its_deadline_while_there_is_room(arrivals in prop::collection::vec((0_u64..6, any::<bool>()), 1..120)) {
            // One arrival and one single look a step: load 1 with every second look optional, so required ones never wait long.
            let mut queue = Queue::new(limits(1));
            let mut since_required = 1;
            for (step, (source, required)) in arrivals.into_iter().enumerate() {
                let now = MS * (step as u32 * 3);
                // At most every second look is required: more than that no worker could promise.
                let required = required && since_required > 0;
                since_required = if required { 0 } else { since_required + 1 };
                queue.push(now, look(source, required, step as u32 * 3 + 9, step as u32));
                let late = queue.expire(now + 2 * MS);
                prop_assert!(late.iter().all(|gone| !gone.look.required), "required looks expired: {late:?}");
                queue.take(now + 2 * MS);
            }
        }
    }
}
