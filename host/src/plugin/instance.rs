//! One warm instance of a plugin: a store, its functions, and what bounds every call into it.
//!
//! What always holds: a deadline is armed before any guest code runs, instantiation included; answers leave only after they were checked
//! (numbers finite and in range, lists of the length they must have); after a fault the store is poisoned and no further call enters it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::InstancePre;
use wasmtime::{Store, Trap};

use super::bindings::{self, Exports, Functions, Own, ScreenParams};
use super::catalog::{DESCRIBE_AT, Loaded};
use super::engine::{ClassName, Counted, Engines};
use super::guest::{HostState, at_deadline};
use super::types::{Category, Fault, Finding, LabelThreshold, Manifest, Reply, Request, Screening};
use super::wasi::WasiPart;
use crate::geometry::Rect;
use crate::media::frame::Micros;
use crate::vision::detection::Verdict;

/// Bytes of a snapshot, by contract.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 20;
/// Bytes that the host lifts out of the guest for one answer or one log message: a snapshot and room for its frame.
const LIFTED_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX + (64 << 10);
/// Bytes of a reason, and of an error's text.
const TEXT_BYTES_MAX: usize = 1024;
/// Bytes of a category's or label's name.
const NAME_BYTES_MAX: usize = 128;
const AREAS_MAX: usize = 256;
const FINDINGS_MAX: usize = 1024;
const THRESHOLDS_MAX: usize = 4096;
/// How far an area may reach past the frame by rounding.
const EDGE_SLACK: f32 = 1e-3;

/// CPU time that a guest has for each kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// A judgement of a frame: a fraction of the look's own budget.
    pub cascade: Duration,
    /// A judgement of an utterance.
    pub text: Duration,
    pub threshold: Duration,
    /// Instantiation, `describe`, `configure`, `snapshot`, `restore`: none of them on a frame's way.
    pub start: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            cascade: Duration::from_millis(8),
            text: Duration::from_millis(20),
            threshold: Duration::from_millis(5),
            start: Duration::from_millis(100),
        }
    }
}

impl Budgets {
    fn of(&self, request: &Request) -> Duration {
        match request {
            Request::Screen { .. } => self.cascade,
            Request::Judge { .. } => self.text,
            Request::Weigh { .. } | Request::Feedback { .. } | Request::SourceEnded { .. } => self.threshold,
        }
    }

    /// The same for a class whose guests are interpreters: ten times as long.
    fn for_class(self, class: ClassName) -> Self {
        const INTERPRETER: u32 = 10;
        match class {
            ClassName::Sandbox => self,
            ClassName::Wasi => Self {
                cascade: self.cascade * INTERPRETER,
                text: self.text * INTERPRETER,
                threshold: self.threshold * INTERPRETER,
                start: self.start * 5 * INTERPRETER,
            },
        }
    }
}

/// See the module's documentation.
pub struct PolicyInstance {
    guest: Guest,
    loaded: Arc<Loaded>,
}

/// A store with bound functions; what [`PolicyInstance`] is before the plugin has a name.
struct Guest {
    store: Store<HostState>,
    functions: Functions,
    budgets: Budgets,
    engines: Arc<Engines>,
    poisoned: bool,
    cpu: Duration,
    _counted: Counted,
}

impl Guest {
    fn start(
        engines: &Arc<Engines>,
        class_name: ClassName,
        pre: &InstancePre<HostState>,
        exports: &Exports,
        label: Arc<str>,
        at: Micros,
        budgets: &Budgets,
    ) -> Result<Self, Fault> {
        if !engines.deadlines_hold() {
            return Err(Fault::Host("the epoch ticker stands still, so no deadline would hold".into()));
        }
        let class = engines.class(class_name);
        let budgets = budgets.for_class(class_name);
        let mut state = HostState::new(class.memory_max, engines.ticker_mode(), label);
        state.clock.set(at);
        if class_name == ClassName::Wasi {
            state.wasi = Some(Box::new(WasiPart::new(&state.clock)));
        }
        let counted = class.count_one();
        let mut store = Store::new(&class.engine, state);
        store.limiter(|state| &mut state.limits);
        store.epoch_deadline_callback(at_deadline);
        store.set_hostcall_fuel(LIFTED_BYTES_MAX);
        let ticks = store.data_mut().budget.arm(budgets.start);
        store.set_epoch_deadline(ticks);
        let bound = pre.instantiate(&mut store).and_then(|instance| exports.bind(&mut store, &instance));
        let cpu = store.data().budget.spent();
        match bound {
            Ok(functions) => Ok(Self { store, functions, budgets, engines: engines.clone(), poisoned: false, cpu, _counted: counted }),
            Err(error) => Err(fault_of(&error, store.data())),
        }
    }

    /// Enters the guest with a budget. A fault poisons the store.
    fn enter<T>(
        &mut self,
        at: Micros,
        budget: Duration,
        call: impl FnOnce(&Functions, &mut Store<HostState>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        if self.poisoned {
            return Err(Fault::Restarting);
        }
        if !self.engines.deadlines_hold() {
            return Err(Fault::Host("the epoch ticker stands still, so no deadline would hold".into()));
        }
        self.store.data().clock.set(at);
        let ticks = self.store.data_mut().budget.arm(budget);
        self.store.set_epoch_deadline(ticks);
        let result = call(&self.functions, &mut self.store);
        self.cpu = self.store.data().budget.spent();
        result.map_err(|error| {
            self.poisoned = true;
            fault_of(&error, self.store.data())
        })
    }
}

/// What went wrong, from wasmtime's error and what the limits saw.
fn fault_of(error: &wasmtime::Error, state: &HostState) -> Fault {
    if state.limits.breached {
        return Fault::OutOfMemory;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::OutOfTime,
        Some(trap) => Fault::Trap(trap.to_string()),
        None => Fault::Trap(short(format!("{error:#}"))),
    }
}

fn short(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let mut end = TEXT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

impl PolicyInstance {
    /// Asks a component who it is, on an instance of its own.
    pub(super) fn describe(
        engines: &Arc<Engines>,
        class: ClassName,
        pre: &InstancePre<HostState>,
        exports: &Exports,
        label: Arc<str>,
        budgets: &Budgets,
    ) -> Result<Manifest, Fault> {
        let mut guest = Guest::start(engines, class, pre, exports, label, DESCRIBE_AT, budgets)?;
        let budget = guest.budgets.start;
        guest.enter(DESCRIBE_AT, budget, |functions, store| functions.describe(store))
    }

    /// A fresh instance, not yet configured.
    pub fn start(loaded: &Arc<Loaded>, at: Micros, budgets: &Budgets) -> Result<Self, Fault> {
        let label = loaded.name.to_string().into();
        let guest = Guest::start(&loaded.engines, loaded.class, &loaded.pre, &loaded.exports, label, at, budgets)?;
        Ok(Self { guest, loaded: loaded.clone() })
    }

    pub fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// Whether a fault has poisoned it; then every call answers [`Fault::Restarting`].
    pub fn is_poisoned(&self) -> bool {
        self.guest.poisoned
    }

    /// CPU time of the last call, or of the instantiation before there was one.
    pub fn last_cpu(&self) -> Duration {
        self.guest.cpu
    }

    /// Bytes of linear memory the guest has taken.
    pub fn memory(&self) -> usize {
        self.guest.store.data().limits.memory()
    }

    /// Log messages dropped so far.
    pub fn log_dropped(&self) -> u64 {
        self.guest.store.data().log.dropped()
    }

    /// The inner error is the plugin's own refusal; it leaves the instance usable.
    pub fn configure(&mut self, at: Micros, config: &str) -> Result<Result<(), String>, Fault> {
        let budget = self.guest.budgets.start;
        self.guest.enter(at, budget, |functions, store| functions.configure(store, at, config)).map(|outcome| outcome.map_err(short))
    }

    /// At most [`SNAPSHOT_BYTES_MAX`]. `at` is what the guest's clock shows.
    pub fn snapshot(&mut self, at: Micros) -> Result<Vec<u8>, Fault> {
        let budget = self.guest.budgets.start;
        let state = self.guest.enter(at, budget, |functions, store| functions.snapshot(store))?;
        let len = state.len();
        self.check((len <= SNAPSHOT_BYTES_MAX).then_some(state).ok_or_else(|| format!("a snapshot of {len} bytes")))
    }

    /// The inner error is the plugin's own refusal; by contract it leaves the instance as it was.
    pub fn restore(&mut self, at: Micros, from_version: &str, state: &[u8]) -> Result<Result<(), String>, Fault> {
        let budget = self.guest.budgets.start;
        let outcome = self.guest.enter(at, budget, |functions, store| functions.restore(store, at, from_version, state))?;
        Ok(outcome.map_err(short))
    }

    /// The thresholds in force. [`Fault::WrongSlot`] for a plugin of another slot.
    pub fn current(&mut self, at: Micros) -> Result<Vec<LabelThreshold>, Fault> {
        let Own::Threshold { current, .. } = self.guest.functions.own else { return Err(Fault::WrongSlot("current".into())) };
        let budget = self.guest.budgets.threshold;
        let thresholds = self.guest.enter(at, budget, |_, store| bindings::current(current, store, at))?;
        self.check(checked_thresholds(thresholds))
    }

    /// Makes one call. `at` is the capture time of what is asked about.
    pub fn call(&mut self, at: Micros, request: &Request) -> Result<Reply, Fault> {
        let budget = self.guest.budgets.of(request);
        let guest = &mut self.guest;
        match (request, &guest.functions.own) {
            (Request::Screen { source, thumbnail, detectors, hints }, &Own::Cascade { screen }) => {
                let params = ScreenParams { source, thumbnail, detectors, hints };
                let out = guest.enter(at, budget, |_, store| bindings::screen(screen, store, at, params))?;
                self.check(checked_screenings(out, detectors)).map(Reply::Screenings)
            }
            (Request::Judge { utterance }, &Own::Text { judge }) => {
                let out = guest.enter(at, budget, |_, store| bindings::judge(judge, store, at, utterance))?;
                self.check(checked_findings(out, utterance.words.len())).map(Reply::Findings)
            }
            (Request::Weigh { source, found }, &Own::Threshold { weigh, .. }) => {
                let out = guest.enter(at, budget, |_, store| bindings::weigh(weigh, store, at, source, found))?;
                self.check(checked_verdicts(out, found.len())).map(Reply::Verdicts)
            }
            (Request::Feedback { event_id, reporter, found, correct }, &Own::Threshold { feedback, .. }) => {
                let who = (event_id.as_str(), reporter.as_str());
                let out = guest.enter(at, budget, |_, store| bindings::feedback(feedback, store, at, who, found, *correct))?;
                self.check(checked_thresholds(out)).map(Reply::Thresholds)
            }
            (Request::SourceEnded { source_id }, _) => {
                guest.enter(at, budget, |functions, store| functions.source_ended(store, at, source_id))?;
                Ok(Reply::Done)
            }
            (request, _) => Err(Fault::WrongSlot(request.function().to_owned())),
        }
    }

    /// A guest whose answer makes no sense is not asked again: the fault costs it the instance.
    fn check<T>(&mut self, checked: Result<T, String>) -> Result<T, Fault> {
        checked.map_err(|what| {
            self.guest.poisoned = true;
            Fault::BadAnswer(short(what))
        })
    }
}

fn unit(value: f32, what: &str) -> Result<(), String> {
    // A NaN is in no range.
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(format!("{what} {value} is not in 0..=1")) }
}

fn text_fits(text: &str, bytes_max: usize, what: &str) -> Result<(), String> {
    if text.len() <= bytes_max { Ok(()) } else { Err(format!("{what} of {} bytes, at most {bytes_max} are taken", text.len())) }
}

fn list_fits(len: usize, max: usize, what: &str) -> Result<(), String> {
    if len <= max { Ok(()) } else { Err(format!("{len} {what}, at most {max} are taken")) }
}

fn checked_area(area: &Rect) -> Result<Rect, String> {
    let inside = |v: f32| (-EDGE_SLACK..=1.0 + EDGE_SLACK).contains(&v);
    let good = inside(area.x) && inside(area.y) && area.width > 0.0 && area.height > 0.0 && inside(area.right()) && inside(area.bottom());
    if good { Ok(area.clamped()) } else { Err(format!("an area outside the frame: {area:?}")) }
}

fn checked_screenings(mut out: Vec<Screening>, asked: &[Arc<str>]) -> Result<Vec<Screening>, String> {
    list_fits(out.len(), asked.len(), "screenings")?;
    for at in 0..out.len() {
        let (earlier, rest) = out.split_at_mut(at);
        let screening = &mut rest[0];
        text_fits(&screening.detector, NAME_BYTES_MAX, "a detector's name")?;
        if !asked.iter().any(|asked| **asked == *screening.detector) {
            return Err(format!("a screening for `{}`, which was not asked about", screening.detector));
        }
        if earlier.iter().any(|other| other.detector == screening.detector) {
            return Err(format!("two screenings for `{}`", screening.detector));
        }
        text_fits(&screening.reason, TEXT_BYTES_MAX, "a reason")?;
        list_fits(screening.areas.len(), AREAS_MAX, "areas")?;
        for area in &mut screening.areas {
            *area = checked_area(area)?;
        }
    }
    Ok(out)
}

fn checked_findings(out: Vec<Finding>, words: usize) -> Result<Vec<Finding>, String> {
    list_fits(out.len(), FINDINGS_MAX, "findings")?;
    for finding in &out {
        let end = u64::from(finding.first) + u64::from(finding.count);
        if finding.count == 0 || end > words as u64 {
            return Err(format!("a finding in words {}..{end} of {words}", finding.first));
        }
        if let Category::Other(own) = &finding.category {
            text_fits(own, NAME_BYTES_MAX, "a category's name")?;
        }
        unit(finding.severity, "a severity of")?;
        unit(finding.confidence, "a confidence of")?;
        text_fits(&finding.reason, TEXT_BYTES_MAX, "a reason")?;
    }
    Ok(out)
}

fn checked_verdicts(out: Vec<Verdict>, found: usize) -> Result<Vec<Verdict>, String> {
    if out.len() != found {
        return Err(format!("{} verdicts for {found} detections", out.len()));
    }
    out.iter().try_for_each(|verdict| unit(verdict.threshold, "a threshold of"))?;
    Ok(out)
}

fn checked_thresholds(out: Vec<LabelThreshold>) -> Result<Vec<LabelThreshold>, String> {
    list_fits(out.len(), THRESHOLDS_MAX, "thresholds")?;
    for threshold in &out {
        text_fits(&threshold.detector, NAME_BYTES_MAX, "a detector's name")?;
        text_fits(&threshold.label, NAME_BYTES_MAX, "a label")?;
        unit(threshold.threshold, "a threshold of")?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screening(detector: &str, area: Rect) -> Screening {
        Screening { detector: detector.into(), look: true, areas: vec![area], reason: String::new() }
    }

    #[test]
    fn screenings_must_be_about_what_was_asked_once_and_inside_the_frame() {
        let asked: [Arc<str>; 2] = ["nudity".into(), "text".into()];
        let whole = Rect::FULL;
        assert!(checked_screenings(vec![screening("nudity", whole), screening("text", whole)], &asked).is_ok());
        assert!(checked_screenings(vec![screening("speech", whole)], &asked).is_err());
        assert!(checked_screenings(vec![screening("text", whole), screening("text", whole)], &asked).is_err());
        for bad in [
            Rect::new(f32::NAN, 0.0, 1.0, 1.0),
            Rect::new(0.0, 0.0, f32::INFINITY, 1.0),
            Rect::new(0.5, 0.0, 0.6, 1.0),
            Rect::new(0.0, 0.0, 0.0, 1.0),
            Rect::new(-0.5, 0.0, 0.6, 1.0),
        ] {
            assert!(checked_screenings(vec![screening("text", bad)], &asked).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn findings_stay_within_the_words() {
        let finding = |first, count, severity| Finding {
            first,
            count,
            category: Category::Profanity,
            severity,
            confidence: 1.0,
            reason: String::new(),
        };
        assert!(checked_findings(vec![finding(2, 1, 0.5)], 3).is_ok());
        for bad in [finding(2, 2, 0.5), finding(0, 0, 0.5), finding(u32::MAX, u32::MAX, 0.5), finding(0, 1, f32::NAN), finding(0, 1, 1.01)]
        {
            assert!(checked_findings(vec![bad.clone()], 3).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn verdicts_are_as_many_as_detections() {
        let verdict = Verdict { counts: true, threshold: 0.5 };
        assert!(checked_verdicts(vec![verdict], 1).is_ok());
        assert!(checked_verdicts(vec![], 1).is_err());
        assert!(checked_verdicts(vec![verdict; 2], 1).is_err());
        assert!(checked_verdicts(vec![Verdict { threshold: f32::NAN, ..verdict }], 1).is_err());
    }
}
