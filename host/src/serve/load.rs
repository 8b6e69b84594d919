//! What the host's processors are at, measured, and whether one more broadcaster would fit.
//!
//! ```text
//! /proc/stat, own CPU time ── every second ──► Load ── over the last seconds ──► Used ── fits ──► yes, or by how much not
//! ```
//! What always holds: what nobody has measured is not counted on. A broadcaster is taken to cost as much as those that are mirrored here now do, or
//! last did; before there was any, [`COST_UNKNOWN`]. A host that has none takes one, whatever else the machine is busy with. Processes that have
//! stepped back by themselves (`nice`) count as free processors. [`fits`] is pure.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use super::meter;

/// How far back is looked. What came later than that is not yet measured.
pub const WINDOW: Duration = Duration::from_secs(4);
/// Cores that a broadcaster is taken for until one has been measured: 720p at 30 frames/s, decoded, moderated and encoded, took about half of one.
const COST_UNKNOWN: f64 = 0.5;

/// The load from which on a LiveKit server gives a worker no job (`agents.target_load`, by default).
pub const PASSED_OVER: f64 = 0.7;

/// Times since some moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    at: Instant,
    /// This process, on all cores.
    own: Duration,
    /// Of the processors that it may run on: busy and all time, in the system's ticks.
    busy: u64,
    all: u64,
}

/// Shares of what there is, 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// Of the processors that the host may run on, by all processes.
    pub machine: f64,
    /// Of the cores that the host may use, by itself.
    pub own: f64,
}

/// Broadcasters, by whether the measured time shows what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Broadcasters {
    /// Mirrored for longer than [`WINDOW`].
    pub settled: usize,
    /// Mirrored since, or expected.
    pub coming: usize,
    /// Of those that are coming, who sends nothing yet.
    pub unseen: usize,
}

/// One more broadcaster does not fit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "this host has no processor time for one more broadcaster: {used:.0} % is in use, {coming} on their way and this one would make it {expected:.0} %, \
     and at most {most:.0} % is taken on (limits.load_percent); try again when somebody has left, or take it to another host"
)]
pub struct Full {
    pub used: f64,
    pub coming: usize,
    pub expected: f64,
    pub most: f64,
}

/// Whether one more fits: each takes `cost`, a share of what there is, and all together may take `most`.
///
/// # Errors
/// How much there would be.
pub fn fits(used: Used, cost: f64, broadcasters: Broadcasters, most: f64) -> Result<(), Full> {
    let Broadcasters { settled, coming, .. } = broadcasters;
    let now = used.machine.max(used.own);
    let expected = now + cost * (coming + 1) as f64;
    if most >= 1.0 || settled + coming == 0 || expected <= most {
        return Ok(());
    }
    Err(Full { used: 100.0 * now, coming, expected: 100.0 * expected, most: 100.0 * most })
}

/// How full a host is for a LiveKit server, 0..=1: from [`PASSED_OVER`] on where one more broadcaster does not fit, in proportion below.
pub fn fullness(used: Used, cost: f64, broadcasters: Broadcasters, most: f64) -> f64 {
    let expected = used.machine.max(used.own) + cost * (broadcasters.coming + 1) as f64;
    let share = PASSED_OVER * expected / most;
    match fits(used, cost, broadcasters, most) {
        Ok(()) => share.min(PASSED_OVER - 0.01),
        Err(_) => share.clamp(PASSED_OVER, 1.0),
    }
}

/// See the module.
pub struct Load {
    state: Mutex<State>,
    cores: f64,
}

#[derive(Default)]
struct State {
    readings: VecDeque<Reading>,
    /// What a broadcaster last cost, as a share of all cores.
    cost: Option<f64>,
}

impl Load {
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let load = Self { state: Mutex::default(), cores };
        load.read(0);
        load
    }

    /// Reads the clocks; to be called about every second. `settled` is how many broadcasters were mirrored all the time that is measured.
    pub fn read(&self, settled: usize) {
        let (busy, all) = machine().unwrap_or_default();
        let reading = Reading { at: Instant::now(), own: ProcessTime::now().as_duration(), busy, all };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.readings.push_back(reading);
        while state.readings.get(1).is_some_and(|second| reading.at.duration_since(second.at) >= WINDOW) {
            state.readings.pop_front();
        }
        let used = state.used(self.cores);
        if settled > 0 {
            state.cost = Some(used.own / settled as f64);
        }
        metrics::gauge!(meter::LOAD, "of" => "machine").set(used.machine);
        metrics::gauge!(meter::LOAD, "of" => "host").set(used.own);
    }

    /// Over the last seconds.
    pub fn used(&self) -> Used {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used(self.cores)
    }

    /// Whether one more broadcaster fits.
    ///
    /// # Errors
    /// When it does not.
    pub fn fits(&self, broadcasters: Broadcasters, most: f64) -> Result<(), Full> {
        let (used, cost) = self.measured();
        fits(used, cost, broadcasters, most)
    }

    /// See [`fullness`].
    pub fn fullness(&self, broadcasters: Broadcasters, most: f64) -> f64 {
        let (used, cost) = self.measured();
        fullness(used, cost, broadcasters, most)
    }

    /// What is used, and what a broadcaster costs.
    fn measured(&self) -> (Used, f64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.used(self.cores), state.cost.unwrap_or(COST_UNKNOWN / self.cores))
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn used(&self, cores: f64) -> Used {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else { return Used::default() };
        let span = last.at.duration_since(first.at).as_secs_f64();
        if span == 0.0 {
            return Used::default();
        }
        let all = last.all.saturating_sub(first.all);
        let machine = if all == 0 { 0.0 } else { last.busy.saturating_sub(first.busy) as f64 / all as f64 };
        Used { machine, own: last.own.saturating_sub(first.own).as_secs_f64() / span / cores }
    }
}

/// Busy and all ticks of the processors that this process may run on; none where the system does not tell.
fn machine() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(ticks(&std::fs::read_to_string("/proc/stat").ok()?, &processors(allowed)))
}

/// `0-2,5` as ranges.
fn processors(list: &str) -> Vec<(u32, u32)> {
    let range = |part: &str| {
        let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    list.split(',').filter_map(range).collect()
}

/// Busy and all ticks of these processors.
fn ticks(stat: &str, processors: &[(u32, u32)]) -> (u64, u64) {
    let of = |line: &str| {
        let (number, ticks) = line.strip_prefix("cpu")?.split_once(' ')?;
        let number: u32 = number.parse().ok()?;
        processors.iter().any(|(first, last)| (*first..=*last).contains(&number)).then_some(())?;
        let ticks: Vec<u64> = ticks.split_whitespace().map_while(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
        let busy = user + system + irq + softirq + steal;
        Some((busy, busy + nice + idle + iowait))
    };
    stat.lines().filter_map(of).fold((0, 0), |(busy, all), (more_busy, more)| (busy + more_busy, all + more))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: Used = Used { machine: 0.5, own: 0.3 };

    #[test]
    fn one_more_fits_while_all_that_are_coming_fit_too() {
        let with = |settled, coming| fits(USED, 0.1, Broadcasters { settled, coming, unseen: 0 }, 0.85);
        assert_eq!([with(3, 0), with(3, 2)], [Ok(()), Ok(())]);
        let full = with(3, 3).expect_err("0.9 is more than 0.85");
        assert_eq!((full.used, full.coming), (50.0, 3));
        for part in ["50 % is in use", "3 on their way", "90 %", "85 %", "limits.load_percent"] {
            assert!(full.to_string().contains(part), "{part} in: {full}");
        }
    }

    #[test]
    fn the_first_is_always_taken_and_nobody_is_refused_where_all_may_be_used() {
        let busy = Used { machine: 1.0, own: 0.1 };
        assert_eq!(fits(busy, 0.5, Broadcasters::default(), 0.85), Ok(()));
        assert!(fits(busy, 0.0, Broadcasters { settled: 0, coming: 1, unseen: 1 }, 0.85).is_err());
        assert_eq!(fits(busy, 0.5, Broadcasters { settled: 9, coming: 9, unseen: 0 }, 1.0), Ok(()));
        // A host that is held to less than the machine has is full when it has used that.
        let held = Used { machine: 0.2, own: 0.84 };
        assert!(fits(held, 0.05, Broadcasters { settled: 4, coming: 0, unseen: 0 }, 0.85).is_err());
    }

    #[test]
    fn a_worker_is_passed_over_when_one_more_does_not_fit() {
        let with = |used: f64, settled, coming, most| {
            fullness(Used { machine: used, own: 0.0 }, 0.1, Broadcasters { settled, coming, unseen: 0 }, most)
        };
        assert!((with(0.325, 1, 0, 0.85) - 0.35).abs() < 1e-9, "half of what may be used is half of what the server takes");
        assert!(with(0.75, 1, 0, 0.85) < PASSED_OVER && with(0.75, 1, 1, 0.85) >= PASSED_OVER);
        assert_eq!(with(1.0, 1, 9, 0.5), 1.0);
        // The first is always taken, and so is everybody where all may be used.
        assert!(with(1.0, 0, 0, 0.85) < PASSED_OVER && with(1.0, 5, 5, 1.0) < PASSED_OVER);
    }

    #[test]
    fn processors_that_are_not_ours_and_those_who_step_back_do_not_count() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 5 20 60 5 1 2 3 0 0\ncpu1 1000 0 0 0 0 0 0 0 0 0\ncpu10 1 1 1 1 1 1 1 1 0 0\nintr 5\n";
        assert_eq!(ticks(stat, &processors("0")), (36, 106));
        assert_eq!(ticks(stat, &processors(" 0,10-11\n")), (41, 114));
        assert_eq!(ticks("nonsense", &processors("0-1")), (0, 0));
    }

    #[test]
    fn what_this_process_burns_is_measured_and_a_broadcaster_costs_its_share() {
        let load = Load::new();
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(since);
        }
        load.read(2);
        let used = load.used();
        assert!(used.own > 0.0, "{used:?}");
        let cost = load.state.lock().expect("no panic").cost.expect("two were measured");
        assert!((cost - used.own / 2.0).abs() < 1e-9, "{cost} of {used:?}");
        load.read(0);
        assert_eq!(load.state.lock().expect("no panic").cost, Some(cost), "what one last cost is remembered");
    }
}
