//! Several hosts before one LiveKit server. Each room that somebody broadcasts in has one host, which the server chooses among those that say that
//! they have processor time, and another one when that host is gone.
//!
//! ```text
//! a broadcaster and no agent in NAME ── ask ──► CreateDispatch ──► server ── available? ──► worker ── yes ──► assignment ──► hold
//! hold: the host's agent sits hidden in NAME, broadcasters are attended ── nobody broadcasts, or the host drains ──► the agent leaves
//! ```
//! The server moves nothing when a worker dies, so every host looks, in each round of the guard, for rooms with a broadcaster and without an agent.
//! What always holds: a host attends broadcasters only of rooms whose first agent, by the server's clock, is its own; where two were asked for at
//! once, the later one leaves. Two hosts that both take themselves for the first publish under one identity, which the server lets be there once,
//! and both publish only what they have judged. Hosts share no store: each has the same rooms by its operator's doing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use livekit_protocol::{Job, JobStatus, ParticipantInfo, UpdateJobStatus};
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::attendance::{Attendance, NoPlace};
use super::guard::{self, Listed, Place};
use super::meter;
use super::mirror::{Mirror, Seat};
use super::server::{Server, ServerFault};
use super::token::{Mint, Sealed, agent_of};
use crate::serve::Service;
use crate::serve::room::Room;

/// What hosts are called among the workers of the server.
pub const AGENT: &str = "scrim";
/// What was asked for is waited for so long before it is asked for again.
const SETTLES: Duration = Duration::from_secs(3);
/// How long whoever wants a token waits for a host to take the room, and how often it looks.
const TAKEN_MAX: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the agent may take to be in the viewers' room, as the server lists it.
const SEATED_MAX: Duration = Duration::from_secs(10);
/// A room that nobody broadcasts in for so long is let go.
const ALONE_MAX: Duration = Duration::from_secs(60);
/// How long mirrors may take to leave: more than the longest delay.
const LEAVE_MAX: Duration = Duration::from_secs(15);

/// Where a room's broadcasters are attended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    Here,
    /// By another host.
    Elsewhere,
    Nowhere,
}

/// A room that was assigned to this host.
struct Held {
    job: String,
    agent: String,
    since: Instant,
    let_go: watch::Sender<Option<&'static str>>,
}

/// What the last round has seen.
#[derive(Default)]
struct Seen {
    /// The first agent of each room that has one.
    agents: HashMap<String, String>,
    /// Rooms that somebody broadcasts in.
    broadcast: HashSet<String>,
}

/// See the module.
pub struct Dispatch {
    server: Arc<Server>,
    attendance: Arc<Attendance>,
    /// The guard is to look now.
    call: Arc<Notify>,
    held: DashMap<String, Held>,
    seen: Mutex<Seen>,
    /// Rooms that a host was asked for, and when.
    asked: DashMap<String, Instant>,
    /// Our name among the server's workers, while we are one.
    pub(super) worker: watch::Sender<Option<String>>,
    /// What became of jobs, for the server.
    ended: Mutex<Vec<UpdateJobStatus>>,
}

impl Dispatch {
    pub(super) fn new(server: Arc<Server>, attendance: Arc<Attendance>, call: Arc<Notify>) -> Self {
        let (held, asked, worker) = (DashMap::new(), DashMap::new(), watch::channel(None).0);
        Self { server, attendance, call, held, seen: Mutex::default(), asked, worker, ended: Mutex::default() }
    }

    /// Whether the server knows this host as a worker.
    pub fn is_registered(&self) -> bool {
        self.worker.borrow().is_some()
    }

    /// Rooms that this host has.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How full this host is, as the server reads it.
    pub(super) fn load(&self, service: &Service) -> f64 {
        let most = f64::from(service.shared.host.config.limits.load_percent.get()) / 100.0;
        service.shared.load.fullness(self.attendance.broadcasters(), most)
    }

    /// What became of jobs since it was last asked.
    pub(super) fn ended(&self) -> Vec<UpdateJobStatus> {
        std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a room's broadcasters are attended, as far as is known.
    pub fn whereabouts(&self, room: &str) -> Whereabouts {
        if self.attendance.assigned.of(room).is_some() {
            Whereabouts::Here
        } else if self.seen().agents.contains_key(room) {
            Whereabouts::Elsewhere
        } else {
            Whereabouts::Nowhere
        }
    }

    /// Says whether this host takes a room, and keeps a place for its broadcaster.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn take(&self, service: &Arc<Service>, room: &str) -> Result<(), String> {
        let room = service.room(room).map_err(|error| error.to_string())?;
        if service.is_draining() || room.is_stopped() {
            return Err("it takes on nothing".to_owned());
        }
        if self.held.contains_key(&*room.name) {
            return Err("it has the room already".to_owned());
        }
        self.attendance.promise(service, &room).map_err(|reason| reason.to_string())
    }

    /// What a round of the guard has seen: rooms without a host get one, a room that another host had first is let go.
    pub(super) fn saw(self: &Arc<Self>, mint: &Mint, listed: &[Listed]) {
        let mut seen = Seen::default();
        for Listed { name, room, place, participants } in listed {
            match place {
                Place::Viewers => _ = first_agent(mint, name, participants).map(|agent| seen.agents.insert(room.clone(), agent.to_owned())),
                Place::Ingest { identity } if participants.iter().any(|who| who.identity == *identity) => {
                    _ = seen.broadcast.insert(room.clone())
                }
                Place::Ingest { .. } => {}
            }
        }
        for held in self.held.iter().filter(|held| held.since.elapsed() > SETTLES) {
            if seen.agents.get(held.key()).is_some_and(|first| *first != held.agent) {
                held.let_go.send_replace(Some("another host has the room"));
            }
        }
        for room in seen.broadcast.iter().filter(|room| !seen.agents.contains_key(*room) && !self.held.contains_key(*room)) {
            self.want(room);
        }
        *self.seen() = seen;
        self.asked.retain(|_, asked| asked.elapsed() < SETTLES);
    }

    /// Asks for a host for a room, unless that was done just now. Returns at once.
    fn want(self: &Arc<Self>, room: &str) {
        let (dispatch, room) = (self.clone(), room.to_owned());
        if self.asked.insert(room.clone(), Instant::now()).is_none_or(|asked| asked.elapsed() >= SETTLES) {
            tokio::spawn(async move {
                if let Err(error) = dispatch.ask(&room).await {
                    tracing::warn!(room, %error, "no host could be asked for");
                }
            });
        }
    }

    /// Asks for a host for a room. What another host has asked for just now is left; what led to nothing is taken back.
    async fn ask(&self, room: &str) -> Result<(), ServerFault> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for known in self.server.dispatches(room).await?.into_iter().filter(|known| known.agent_name == AGENT) {
            let created = known.state.as_ref().map_or(0, |state| u64::try_from(state.created_at).unwrap_or_default());
            if now.saturating_sub(Duration::from_nanos(created)) < SETTLES {
                return Ok(());
            }
            self.server.take_back_dispatch(room, &known.id).await?;
        }
        metrics::counter!(meter::DISPATCHES).increment(1);
        self.server.dispatch(room, AGENT).await
    }

    /// Finds a host for a broadcaster that wants a token, if the room has none.
    ///
    /// # Errors
    /// When none takes it.
    pub async fn find(self: &Arc<Self>, room: &str) -> Result<(), NoPlace> {
        if self.whereabouts(room) != Whereabouts::Nowhere {
            return Ok(());
        }
        let unanswered = |error: ServerFault| NoPlace::Unanswered(error.to_string());
        self.asked.insert(room.to_owned(), Instant::now());
        self.ask(room).await.map_err(unanswered)?;
        let until = Instant::now() + TAKEN_MAX;
        while Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.whereabouts(room) != Whereabouts::Nowhere {
                return Ok(());
            }
            let known = self.server.dispatches(room).await.map_err(unanswered)?;
            let jobs = known.iter().filter(|known| known.agent_name == AGENT).filter_map(|known| known.state.as_ref());
            let own = self.worker.borrow().clone();
            let taken = |job: &Job| job.state.as_ref().is_some_and(|state| state.status() == JobStatus::JsRunning);
            // Ours is waited for: it is known here when it has begun.
            let theirs = |job: &Job| job.state.as_ref().is_some_and(|state| own.as_deref() != Some(&state.worker_id));
            if jobs.flat_map(|state| &state.jobs).any(|job| taken(job) && theirs(job)) {
                return Ok(());
            }
        }
        Err(NoPlace::NoHost(TAKEN_MAX))
    }

    /// The server wants a job to end.
    pub(super) fn terminate(&self, job: &str) {
        for held in self.held.iter().filter(|held| held.job == job) {
            held.let_go.send_replace(Some("the server ended the job"));
        }
    }

    /// Has a room, from its assignment until it is let go.
    pub(super) async fn hold(self: Arc<Self>, service: Weak<Service>, job: Job) {
        let room = service.upgrade().and_then(|service| service.room(job.room.as_ref()?.name.as_str()).ok());
        let Some(room) = room else {
            return self.tell(&job, JobStatus::JsFailed, "the room is not known here");
        };
        let (let_go, told) = watch::channel(None);
        let held = Held { job: job.id.clone(), agent: agent_of(&job.id), since: Instant::now(), let_go };
        if self.held.insert(room.name.to_string(), held).is_some() {
            tracing::warn!(room = %room.name, "a room was assigned twice: the later job counts");
        }
        metrics::gauge!(meter::ROOMS_HELD).set(self.held.len() as f64);
        let outcome = self.have(&service, &room, &job, told).await;
        self.held.remove_if(&*room.name, |_, held| held.job == job.id);
        metrics::gauge!(meter::ROOMS_HELD).set(self.held.len() as f64);
        match outcome {
            Ok(why) => {
                tracing::info!(room = %room.name, why, "a room is let go");
                self.tell(&job, JobStatus::JsSuccess, "");
            }
            Err(error) => {
                tracing::warn!(room = %room.name, error, "a room could not be taken");
                self.tell(&job, JobStatus::JsFailed, &error);
            }
        }
    }

    /// Until the room is let go, and why.
    async fn have(
        &self,
        service: &Weak<Service>,
        room: &Arc<Room>,
        job: &Job,
        mut told: watch::Receiver<Option<&'static str>>,
    ) -> Result<&'static str, String> {
        let (name, agent) = (&*room.name, agent_of(&job.id));
        let Attendance { library, url, mint, keys, assigned, .. } = &*self.attendance;
        let ticket = {
            let (mint, name, job) = (mint.clone(), name.to_owned(), job.id.clone());
            move || mint.agent(&name, &job).map_err(|error| error.to_string())
        };
        let seat = Seat { library, url: url.clone(), key: keys.of(name), ticket: Box::new(ticket), after: None };
        let (seated, leaves) = Mirror::join(seat);
        let first = tokio::time::timeout(SEATED_MAX, self.first_of(&seated, name, &agent)).await;
        let first = first.map_err(|_| "the viewers' room could not be joined in time".to_owned())?;
        if first != agent {
            return Ok("another host has the room");
        }
        assigned.begin(name);
        room.tell("livekit", json!({ "event": "assigned" }));
        self.call.notify_one();
        let Some(mut drains) = service.upgrade().map(|service| service.drains()) else { return Ok("the host is stopping") };
        let why = tokio::select! {
            why = told.wait_for(Option::is_some) => why.ok().and_then(|why| *why).unwrap_or("the host is stopping"),
            _ = drains.wait_for(|draining| *draining) => "the host is stopping",
            () = self.alone(name) => "nobody broadcasts",
        };
        assigned.end(name);
        room.tell("livekit", json!({ "event": "let_go", "reason": why }));
        if tokio::time::timeout(LEAVE_MAX, self.attendance.over_in(name)).await.is_err() {
            tracing::warn!(room = name, "mirrors take long to leave");
        }
        drop(seated);
        // However that went, the room is let go.
        let _ = tokio::time::timeout(LEAVE_MAX, leaves).await;
        let broadcast = self.seen().broadcast.contains(name);
        let handed_over = match self.server.take_back_dispatch(name, &job.dispatch_id).await {
            // Now, so that the next host need not notice first.
            Ok(()) if broadcast && *drains.borrow() => self.server.dispatch(name, AGENT).await,
            done => done,
        };
        if let Err(error) = handed_over {
            tracing::debug!(room = name, %error, "the next host finds out by itself");
        }
        Ok(why)
    }

    /// The first agent in a room, once ours is there.
    async fn first_of(&self, seated: &Mirror, room: &str, agent: &str) -> String {
        // A mirror lives as long as this waits for it.
        let _ = seated.epoch().wait_for(|epoch| *epoch != 0).await;
        loop {
            if let Ok(who) = self.server.participants(room).await
                && who.iter().any(|who| who.identity == agent)
                && let Some(first) = first_agent(&self.attendance.mint, room, &who)
            {
                return first.to_owned();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns when nobody has broadcast in a room for a while.
    async fn alone(&self, room: &str) {
        let mut since = Instant::now();
        while since.elapsed() < ALONE_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.seen().broadcast.contains(room) || self.attendance.is_in(room) {
                since = Instant::now();
            }
        }
    }

    /// Returns when this host has no room any more.
    pub async fn over(&self) {
        while !self.held.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn tell(&self, job: &Job, status: JobStatus, error: &str) {
        let status = UpdateJobStatus { job_id: job.id.clone(), status: status.into(), error: error.to_owned() };
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(status);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The agent of ours that has been in the viewers' room for longest, by the server's clock; of two that came together, the same one for all.
fn first_agent<'a>(mint: &Mint, room: &str, participants: &'a [ParticipantInfo]) -> Option<&'a str> {
    let agents = participants.iter().filter(|who| guard::sealed(mint, room, &Place::Viewers, who) == Some(Sealed::Agent));
    agents.min_by_key(|who| (guard::joined_ms(who), &who.identity)).map(|who| who.identity.as_str())
}

#[cfg(test)]
mod tests {
    use livekit_api::access_token::Claims;

    use super::*;
    use crate::config::IngestSuffix;
    use crate::serve::livekit::token::{Role, Secrets};

    #[test]
    fn the_agent_that_came_first_has_the_room() {
        let secrets = Secrets { key: "k".to_owned(), secret: "s".repeat(32) };
        let mint = Mint::new(secrets, Duration::from_secs(60), &IngestSuffix::default());
        let joined = |token: String, joined_at_ms: i64| {
            let Claims { sub, attributes, .. } = Claims::from_unverified(&token).expect("a token");
            ParticipantInfo { identity: sub, attributes, joined_at_ms, ..ParticipantInfo::default() }
        };
        let agent = |room: &str, job: &str, at| joined(mint.agent(room, job).expect("a token"), at);
        let viewer = joined(mint.mint("studio", "Bob", Role::Viewer).expect("a token").token, 1);
        let forged = ParticipantInfo { attributes: HashMap::new(), ..agent("studio", "AJ_0", 1) };
        assert_eq!(first_agent(&mint, "studio", &[viewer.clone(), forged.clone()]), None);
        let all =
            [viewer, forged, agent("other", "AJ_1", 2), agent("studio", "AJ_3", 5), agent("studio", "AJ_2", 5), agent("studio", "AJ_4", 9)];
        assert_eq!(first_agent(&mint, "studio", &all), Some(agent_of("AJ_2").as_str()));
    }
}
