//! A slot from outside: what can be asked and ordered of it. Nothing here waits for a plugin.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, Weak};

use super::{Call, Cell, Mailbox, Message, ORDERS_MAX, Output, PREPARATIONS_MAX, Refused, Shared, lock};
use crate::media::frame::Micros;
use crate::plugin::catalog::PluginName;
use crate::plugin::events::{PolicyEvent, Stage};
use crate::plugin::meter;
use crate::plugin::prepare::{Candidate, prepare};
use crate::plugin::record::{Entry, Recorder};
use crate::plugin::shadow::ShadowCounts;
use crate::plugin::slot::{Kept, Prepared, SlotStatus};
use crate::plugin::types::{CallId, Fault, LabelThreshold, Slot};

/// A room's way to one of its slots. Nothing here waits for a guest.
#[derive(Clone)]
pub struct SlotHandle {
    pub(super) cell: Arc<Cell>,
    pub(super) shared: Arc<Shared>,
}

impl SlotHandle {
    pub fn slot(&self) -> Slot {
        self.cell.slot
    }

    /// Hands a call over. Answers come in the order of the calls, each by the generation that was in force at `call.at`.
    pub fn call(&self, call: Call) -> Result<(), Refused> {
        if call.request.slot().is_some_and(|slot| slot != self.cell.slot) {
            return Err(Refused::WrongSlot);
        }
        let mut mailbox = lock(&self.cell.mailbox);
        if mailbox.calls >= self.cell.config.mailbox_max {
            drop(mailbox);
            self.cell.refused.fetch_add(1, Ordering::Relaxed);
            metrics::counter!(meter::REFUSED_CALLS, "slot" => self.cell.slot.as_str()).increment(1);
            if let Some(recorder) = &*lock(&self.cell.recorder) {
                let fault = Fault::Host("too many calls were waiting".into());
                recorder.record(&Entry::NotMade { slot: self.cell.slot, call: call.id, at: call.at, fault });
            }
            return Err(Refused::Full(self.cell.config.mailbox_max));
        }
        mailbox.calls += 1;
        self.post(mailbox, Message::Call(call, tracing::Span::current()));
        Ok(())
    }

    fn post(&self, mut mailbox: MutexGuard<'_, Mailbox>, message: Message) {
        mailbox.messages.push_back(message);
        let idle = !std::mem::replace(&mut mailbox.scheduled, true);
        drop(mailbox);
        if idle {
            self.shared.enqueue(&self.cell);
        }
    }

    fn order(&self, message: Message) {
        let mailbox = lock(&self.cell.mailbox);
        if mailbox.messages.len() - mailbox.calls >= ORDERS_MAX {
            drop(mailbox);
            return self.refuse(None, Stage::Commit, "too many swaps are waiting in this slot");
        }
        self.post(mailbox, message);
    }

    fn refuse(&self, plugin: Option<String>, stage: Stage, reason: impl Into<String>) {
        self.cell.tell(PolicyEvent::Refused { slot: self.cell.slot, plugin, stage, reason: reason.into() });
    }

    /// Loads, checks, configures and tries a plugin on a preparing thread. Ends in [`Output::Prepared`] or in a refused event.
    /// `at` is the stream's time now; `config` is JSON.
    pub fn prepare(&self, candidate: Candidate, config: impl Into<Arc<str>>, at: Micros) {
        let config = config.into();
        let label = candidate.label();
        let cell: Weak<Cell> = Arc::downgrade(&self.cell);
        let job = Box::new(move || {
            // A slot that ended meanwhile needs nothing prepared.
            let Some(cell) = cell.upgrade() else { return };
            // A compiler that panics on hostile bytes takes neither the thread nor anybody's swap with it.
            let prepare = || prepare(cell.slot, &candidate, &config, at, &cell.config.budgets);
            let prepared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(prepare));
            match prepared.unwrap_or_else(|_| Err((Stage::Load, "preparing it failed within the host".to_owned()))) {
                Ok(prepared) => (cell.deliver)(Output::Prepared(prepared)),
                Err((stage, reason)) => {
                    cell.tell(PolicyEvent::Refused { slot: cell.slot, plugin: Some(candidate.label()), stage, reason });
                }
            }
        });
        let mut jobs = lock(&self.shared.jobs);
        if jobs.waiting.len() >= PREPARATIONS_MAX {
            drop(jobs);
            return self.refuse(Some(label), Stage::Load, "too many plugins are being prepared");
        }
        jobs.waiting.push_back(job);
        drop(jobs);
        self.shared.wake_preparers.notify_one();
    }

    /// Puts a prepared policy in force for everything captured after `commit_at`, behind the calls that wait already.
    /// Ends in a committed or refused event.
    pub fn commit(&self, prepared: Prepared, commit_at: Micros) {
        self.order(Message::Commit(Box::new(prepared), commit_at));
    }

    /// Brings the version before back for everything captured after `commit_at`. Ends in a rolled-back or refused event.
    pub fn roll_back(&self, commit_at: Micros) {
        self.order(Message::RollBack(commit_at));
    }

    /// Promise that no call about anything captured before `at` follows, so that generations only those would need can go.
    pub fn retire_before(&self, at: Micros) {
        self.order(Message::RetireBefore(at));
    }

    /// Lets a prepared policy see what the one in force sees.
    pub fn shadow(&self, prepared: Prepared) {
        self.order(Message::Shadow(Box::new(prepared)));
    }

    /// Commits the shadow's policy. Ends in a committed or refused event.
    pub fn promote(&self, commit_at: Micros) {
        self.order(Message::Promote(commit_at));
    }

    /// Ends the shadow.
    pub fn discard(&self) {
        self.order(Message::Discard);
    }

    /// Takes a snapshot of the generation in force, to be found in [`SlotHandle::status`].
    pub fn snapshot(&self, at: Micros) {
        self.order(Message::Snapshot(at));
    }

    /// Takes the instance in force away, as a trap would.
    pub fn kill(&self, at: Micros) {
        self.order(Message::Kill(at));
    }

    /// Records every input and decision from now on, or no more.
    pub fn record(&self, recorder: Option<Arc<Recorder>>, at: Micros) {
        self.order(Message::Record(recorder, at));
    }

    /// Notes in the recording that a call's answer came after the room's deadline and was not used.
    pub fn late(&self, call: CallId) {
        metrics::counter!(meter::LATE, "slot" => self.cell.slot.as_str()).increment(1);
        if let Some(recorder) = &*lock(&self.cell.recorder) {
            recorder.record(&Entry::Late { slot: self.cell.slot, call });
        }
    }

    pub fn status(&self) -> SlotStatus {
        lock(&self.cell.status).clone()
    }

    /// The threshold policy's thresholds as last asked: after each report, restart and commit. Empty in other slots.
    pub fn current(&self) -> Arc<[LabelThreshold]> {
        lock(&self.cell.status).current.clone()
    }

    /// Earlier generations that are still kept.
    pub fn retiring(&self) -> usize {
        lock(&self.cell.status).retiring
    }

    /// Calls refused because the mailbox was full.
    pub fn refused(&self) -> u64 {
        self.cell.refused.load(Ordering::Relaxed)
    }

    /// Calls that wait now.
    pub fn waiting(&self) -> usize {
        lock(&self.cell.mailbox).calls
    }

    /// The candidate in the shadow slot, and how it compares.
    pub fn shadow_status(&self) -> Option<(PluginName, ShadowCounts)> {
        lock(&self.cell.shadow).shadow.as_ref().map(|shadow| (shadow.spec().plugin.name.clone(), shadow.counts))
    }

    /// For start-up and tools: prepares and commits on the calling thread, before any call was made. The error is the refused event's reason.
    /// With `kept`, the plugin begins from that state.
    pub fn install(&self, candidate: &Candidate, config: &str, at: Micros, kept: Option<Kept>) -> Result<(), String> {
        let refused = |(stage, reason): (Stage, String)| format!("{} ({}): {reason}", candidate.label(), stage.as_str());
        let prepared = prepare(self.cell.slot, candidate, config, at, &self.cell.config.budgets).map_err(refused)?;
        let mut state = lock(&self.cell.state);
        state.commit_with(prepared, at, kept);
        let events = state.take_events();
        *lock(&self.cell.status) = state.status.clone();
        drop(state);
        let reason = events.iter().find_map(|event| match event {
            PolicyEvent::Refused { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        events.into_iter().for_each(|event| (self.cell.deliver)(Output::Event(event)));
        reason.map_or(Ok(()), Err)
    }
}
