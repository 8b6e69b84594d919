//! A candidate that sees what the plugin in force sees, after it and at the lowest priority. Its answers are compared and counted, never used.

use std::time::Duration;

use super::events::PolicyEvent;
use super::instance::Budgets;
use super::slot::Prepared;
use super::tenant::{Fresh, PolicySpec, StartError};
use super::types::{Fault, Reply, Request, Slot};
use crate::media::frame::Micros;

/// Inputs that may wait for a candidate; the newest are shed.
pub const SHADOW_QUEUE_MAX: usize = 16;
/// Faults after which a candidate is discarded.
const FAULTS_MAX: u64 = 5;

/// One input, with what the plugin in force made of it.
pub struct ShadowInput {
    pub at: Micros,
    pub request: Request,
    pub live: Result<Reply, Fault>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowCounts {
    pub agreed: u64,
    pub differed: u64,
    /// The candidate's own faults.
    pub faulted: u64,
    /// Inputs it did not see, since live calls come first.
    pub shed: u64,
    /// Its CPU time, microseconds.
    pub cpu_us: u64,
}

/// A candidate and its counts.
pub struct Shadow {
    slot: Slot,
    spec: PolicySpec,
    fresh: Option<Fresh>,
    budgets: Budgets,
    pub counts: ShadowCounts,
}

impl Shadow {
    pub fn new(slot: Slot, prepared: Prepared, budgets: Budgets) -> Self {
        let Prepared { spec, fresh, .. } = prepared;
        Self { slot, spec, fresh: Some(fresh), budgets, counts: ShadowCounts::default() }
    }

    pub fn spec(&self) -> &PolicySpec {
        &self.spec
    }

    /// Takes the instance out for one input, so that no lock is held while the guest runs.
    pub fn begin(&mut self) -> Run {
        Run { spec: self.spec.clone(), budgets: self.budgets, fresh: self.fresh.take(), cpu: Duration::ZERO }
    }

    /// Puts the instance back and counts. An error says why the candidate can go no further.
    pub fn finish(&mut self, run: Run, input: &ShadowInput, result: Result<Reply, StartError>) -> Result<(), String> {
        self.counts.cpu_us += run.cpu.as_micros() as u64;
        self.fresh = run.fresh;
        let outcome = match (&result, &input.live) {
            (Err(_), _) => {
                self.counts.faulted += 1;
                "faulted"
            }
            (Ok(_), _) if !input.request.is_judgement() => return Ok(()),
            (Ok(own), Ok(live)) if same_decision(own, live) => {
                self.counts.agreed += 1;
                "agreed"
            }
            _ => {
                self.counts.differed += 1;
                "differed"
            }
        };
        metrics::counter!(super::meter::SHADOW, "slot" => self.slot.as_str(), "outcome" => outcome).increment(1);
        match result {
            Err(last) if self.counts.faulted >= FAULTS_MAX => Err(format!("{} faults, the last: {last}", self.counts.faulted)),
            _ => Ok(()),
        }
    }

    pub fn shed(&mut self) {
        self.counts.shed += 1;
        metrics::counter!(super::meter::SHADOW, "slot" => self.slot.as_str(), "outcome" => "shed").increment(1);
    }

    pub fn ended(&self, why: impl Into<String>) -> PolicyEvent {
        let ShadowCounts { agreed, differed, faulted, shed, .. } = self.counts;
        PolicyEvent::ShadowEnded {
            slot: self.slot,
            plugin: self.spec.plugin.name.clone(),
            why: why.into(),
            agreed,
            differed,
            faulted,
            shed,
        }
    }

    /// A fresh instance of the candidate, for its promotion: its state comes from the plugin in force, like that of every other commit.
    pub fn promoted(&self, at: Micros) -> Result<Prepared, String> {
        let fresh = Fresh::start(&self.spec, at, &self.budgets).map_err(|error| error.to_string())?;
        Ok(Prepared { spec: self.spec.clone(), fresh, took: Duration::ZERO })
    }
}

/// A candidate's instance, out of its slot for one input.
pub struct Run {
    spec: PolicySpec,
    budgets: Budgets,
    fresh: Option<Fresh>,
    cpu: Duration,
}

impl Run {
    pub fn see(&mut self, input: &ShadowInput) -> Result<Reply, StartError> {
        let mut fresh = match self.fresh.take() {
            Some(fresh) => fresh,
            None => Fresh::start(&self.spec, input.at, &self.budgets)?,
        };
        let result = fresh.instance.call(input.at, &input.request);
        self.cpu = fresh.instance.last_cpu();
        if !fresh.instance.is_poisoned() {
            self.fresh = Some(fresh);
        }
        Ok(result?)
    }
}

/// Whether two answers lead to the same picture or text: reasons and thresholds may differ.
pub fn same_decision(a: &Reply, b: &Reply) -> bool {
    match (a, b) {
        (Reply::Screenings(a), Reply::Screenings(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.detector == b.detector && a.look == b.look && a.areas == b.areas)
        }
        (Reply::Findings(a), Reply::Findings(b)) => {
            let same = |(a, b): (&super::types::Finding, &super::types::Finding)| {
                (a.first, a.count, &a.category) == (b.first, b.count, &b.category) && a.severity == b.severity
            };
            a.len() == b.len() && a.iter().zip(b).all(same)
        }
        (Reply::Verdicts(a), Reply::Verdicts(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.counts == b.counts),
        (Reply::Thresholds(a), Reply::Thresholds(b)) => a == b,
        (Reply::Done, Reply::Done) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::detection::Verdict;

    #[test]
    fn a_verdict_is_the_same_when_it_counts_the_same() {
        let verdicts = |counts, threshold| Reply::Verdicts(vec![Verdict { counts, threshold }]);
        assert!(same_decision(&verdicts(true, 0.5), &verdicts(true, 0.6)));
        assert!(!same_decision(&verdicts(true, 0.5), &verdicts(false, 0.5)));
        assert!(!same_decision(&verdicts(true, 0.5), &Reply::Done));
    }
}
