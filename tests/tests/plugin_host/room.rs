//! A slot as a room's driver sees it.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, bail};
use scrim_host::media::frame::Micros;
use scrim_host::plugin::catalog::{Loaded, load_bytes};
use scrim_host::plugin::engine::{EngineConfig, Engines};
use scrim_host::plugin::events::PolicyEvent;
use scrim_host::plugin::executor::{Call, Deliver, Executor, ExecutorConfig, Output, SlotHandle};
use scrim_host::plugin::instance::Budgets;
use scrim_host::plugin::prepare::{Candidate, smoke_request};
use scrim_host::plugin::record::Recorder;
use scrim_host::plugin::slot::{Answer, Prepared, SlotConfig};
use scrim_host::plugin::types::{CallId, Reply, Request, Slot};
use scrim_host::vision::detection::Detection;
use scrim_tests::guest::Guest;

/// Long enough for a loaded machine; reached only by a test that fails.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

pub fn engine_config() -> EngineConfig {
    EngineConfig { rooms: 20, wasi_instances: 8, ..EngineConfig::default() }
}

/// One pair of engines for the tests that need none of their own.
pub fn engines() -> Arc<Engines> {
    static ENGINES: LazyLock<Arc<Engines>> = LazyLock::new(|| Engines::start(&engine_config()).expect("the engines start"));
    ENGINES.clone()
}

/// Generous, since a loaded test machine must not turn a good guest into a bad one; loops are stopped by them all the same.
pub fn budgets() -> Budgets {
    Budgets::default()
}

pub fn load(guest: &Guest) -> Result<Arc<Loaded>> {
    Ok(load_bytes(&engines(), &guest.component()?, &budgets())?)
}

pub struct Room {
    pub slot: SlotHandle,
    outputs: Receiver<Output>,
    pub events: Vec<PolicyEvent>,
    answers: Vec<Answer>,
    prepared: Vec<Prepared>,
    next: u64,
    latest: Micros,
    _executor: Executor,
}

impl Room {
    pub fn new(slot: Slot) -> Result<Self> {
        Self::with(slot, SlotConfig::default(), None)
    }

    pub fn with(slot: Slot, config: SlotConfig, recorder: Option<Arc<Recorder>>) -> Result<Self> {
        let executor = Executor::start(&ExecutorConfig { workers: 2, preparers: 1 })?;
        let (sender, outputs) = channel();
        let deliver: Deliver = Arc::new(move |output| {
            // A test that has ended listens no more.
            let _ = sender.send(output);
        });
        let slot = executor.slot(slot, config, recorder, deliver);
        Ok(Self {
            slot,
            outputs,
            events: Vec::new(),
            answers: Vec::new(),
            prepared: Vec::new(),
            next: 0,
            latest: Micros::ZERO,
            _executor: executor,
        })
    }

    pub fn install(&mut self, guest: &Guest) -> Result<()> {
        let seen = self.events.len();
        self.slot.install(&Candidate::Loaded(load(guest)?), "{}", Micros::ZERO, None).map_err(anyhow::Error::msg)?;
        self.outcome(seen).map(|_| ())
    }

    /// Takes one output, waiting for it.
    fn pump(&mut self) -> Result<()> {
        match self.outputs.recv_timeout(PATIENCE).context("nothing came from the slot")? {
            Output::Answer(answer) => self.answers.push(answer),
            Output::Prepared(prepared) => self.prepared.push(prepared),
            Output::Event(event) => self.events.push(event),
        }
        Ok(())
    }

    /// Hands a call over and returns its number.
    pub fn post(&mut self, at: Micros, request: Request) -> Result<CallId> {
        let id = CallId(self.next);
        self.next += 1;
        self.latest = self.latest.max(at);
        self.slot.call(Call { id, at, expires: None, request })?;
        Ok(id)
    }

    pub fn answer(&mut self, id: CallId) -> Result<Answer> {
        loop {
            if let Some(at) = self.answers.iter().position(|answer| answer.call == id) {
                return Ok(self.answers.swap_remove(at));
            }
            self.pump()?;
        }
    }

    /// Asks the slot's ordinary question and waits.
    pub fn ask(&mut self, at: Micros) -> Result<Answer> {
        let id = self.post(at, smoke_request(self.slot.slot()))?;
        self.answer(id)
    }

    pub fn report(&mut self, at: Micros) -> Result<Answer> {
        let id = self.post(at, feedback())?;
        self.answer(id)
    }

    /// Prepares and waits; the inner error is the reason of the refusal.
    pub fn prepare(&mut self, candidate: Candidate, config: &str, at: Micros) -> Result<Result<Prepared, PolicyEvent>> {
        let seen = self.events.len();
        self.slot.prepare(candidate, config, at);
        loop {
            if let Some(prepared) = self.prepared.pop() {
                return Ok(Ok(prepared));
            }
            if let Some(refused) = self.events[seen..].iter().find(|event| matches!(event, PolicyEvent::Refused { .. })) {
                return Ok(Err(refused.clone()));
            }
            self.pump()?;
        }
    }

    /// A whole swap, as a driver does it. Returns its event: committed or refused.
    pub fn swap(&mut self, guest: &Guest, commit_at: Micros) -> Result<PolicyEvent> {
        self.swap_to(Candidate::Loaded(load(guest)?), commit_at)
    }

    pub fn swap_to(&mut self, candidate: Candidate, commit_at: Micros) -> Result<PolicyEvent> {
        match self.prepare(candidate, "{}", commit_at)? {
            Ok(prepared) => {
                let seen = self.events.len();
                self.slot.commit(prepared, commit_at);
                self.outcome(seen)
            }
            Err(refused) => Ok(refused),
        }
    }

    /// The next event that ends a swap or a rollback.
    pub fn outcome(&mut self, seen: usize) -> Result<PolicyEvent> {
        self.event(seen, |event| {
            matches!(event, PolicyEvent::Committed { .. } | PolicyEvent::Refused { .. } | PolicyEvent::RolledBack { .. })
        })
    }

    pub fn event(&mut self, seen: usize, wanted: impl Fn(&PolicyEvent) -> bool) -> Result<PolicyEvent> {
        loop {
            if let Some(event) = self.events[seen..].iter().find(|event| wanted(event)) {
                return Ok(event.clone());
            }
            self.pump()?;
        }
    }

    /// Waits until everything given so far is done.
    pub fn settle(&mut self) -> Result<()> {
        let id = self.post(self.latest, Request::SourceEnded { source_id: "nobody".into() })?;
        self.answer(id).map(|_| ())
    }
}

pub fn feedback() -> Request {
    let found = Detection { detector: "nudity".into(), label: "FACE_FEMALE".into(), confidence: 0.9, area: None, trail: None };
    Request::Feedback { event_id: "e".into(), reporter: "r".into(), found, correct: false }
}

/// What a guest of [`Guest`] marked its answer with.
pub fn mark_of(reply: &Reply) -> Result<String> {
    Ok(match reply {
        Reply::Screenings(screenings) => screenings.first().context("a screening")?.reason.clone(),
        Reply::Findings(findings) => findings.first().context("a finding")?.severity.to_string(),
        Reply::Verdicts(verdicts) => verdicts.first().context("a verdict")?.threshold.to_string(),
        other => bail!("no judgement: {other:?}"),
    })
}

/// The count of a threshold guest, from its `current`, which is asked after the answer to a report was given.
pub fn count_of(room: &mut Room) -> Result<u32> {
    room.settle()?;
    Ok((room.slot.current().first().context("no thresholds yet")?.threshold * 1000.0).round() as u32)
}
