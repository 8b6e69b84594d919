//! This host as an agent worker of the LiveKit server (its websocket `/agent`): says how loaded it is, answers whether it can take a room, and
//! takes those that it is assigned.
//!
//! What always holds: a connection that is lost or silent is made again with growing pauses, and rooms that are held meanwhile stay held; a host that
//! drains says so at once and takes nothing new.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backon::BackoffBuilder;
use futures_util::{SinkExt, StreamExt};
use livekit_api::access_token::{AccessToken, VideoGrants};
use livekit_protocol::server_message::Message as Told;
use livekit_protocol::worker_message::Message as Say;
use livekit_protocol::{
    AvailabilityRequest, AvailabilityResponse, Job, JobAssignment, JobTermination, JobType, ParticipantPermission, RegisterWorkerRequest,
    RegisterWorkerResponse, ServerMessage, UpdateWorkerStatus, WorkerMessage, WorkerPing, WorkerStatus,
};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::attendance::{PAUSE_MAX, retries};
use super::dispatch::{AGENT, Dispatch};
use super::token::{Secrets, agent_of};
use crate::serve::Service;

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How often the load is told, and the server asked for a sign of life.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// A server that says nothing for so long is gone.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// How long the token of one connection lets it be made.
const TOKEN_TTL: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// See the module.
pub struct Worker {
    pub dispatch: Arc<Dispatch>,
    pub service: Weak<Service>,
    /// The server's websocket address.
    pub url: String,
    pub secrets: Secrets,
}

impl Worker {
    /// For as long as the service lives.
    pub async fn run(self) {
        let (mut pauses, mut was_up) = (retries().build(), true);
        while self.service.strong_count() > 0 {
            let end = match self.connect().await {
                Ok(mut socket) => self.serve(&mut socket).await,
                Err(reason) => Err(reason),
            };
            let is_up = self.dispatch.worker.send_replace(None).is_some();
            let Err(reason) = end else { return };
            if is_up {
                pauses = retries().build();
            }
            if is_up || std::mem::take(&mut was_up) {
                tracing::warn!(reason, "this host is no worker of the LiveKit server: until it is, it takes on no further room");
            }
            tokio::time::sleep(pauses.next().unwrap_or(PAUSE_MAX)).await;
        }
    }

    async fn connect(&self) -> Result<Socket, String> {
        let Secrets { key, secret } = &self.secrets;
        let grants = VideoGrants { agent: true, ..VideoGrants::default() };
        let token = AccessToken::with_api_key(key, secret).with_grants(grants).with_ttl(TOKEN_TTL).to_jwt();
        let token = token.map_err(|error| error.to_string())?;
        let mut request = format!("{}/agent?protocol=1", self.url).into_client_request().map_err(|error| error.to_string())?;
        let value = format!("Bearer {token}").try_into().map_err(|_| "the token is no header".to_owned())?;
        request.headers_mut().insert("authorization", value);
        match tokio::time::timeout(CONNECT_MAX, tokio_tungstenite::connect_async(request)).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", CONNECT_MAX.as_secs())),
        }
    }

    /// One connection; returns when the host has drained and has no room any more.
    ///
    /// # Errors
    /// Why it was lost.
    async fn serve(&self, socket: &mut Socket) -> Result<(), String> {
        let Some(mut drains) = self.service.upgrade().map(|service| service.drains()) else { return Ok(()) };
        say(socket, Say::Register(registration())).await?;
        let mut tell = tokio::time::interval(TELL_EVERY);
        tell.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let draining = *drains.borrow_and_update();
            tokio::select! {
                message = socket.next() => {
                    heard = Instant::now();
                    let message = message.ok_or("the server ended the connection")?.map_err(|error| error.to_string())?;
                    if let Message::Binary(bytes) = message {
                        self.hear(socket, ServerMessage::decode(bytes).map_err(|error| error.to_string())?).await?;
                    }
                }
                _ = tell.tick() => {
                    if heard.elapsed() > SILENT_MAX {
                        return Err(format!("the server has said nothing for {} s", SILENT_MAX.as_secs()));
                    }
                    for status in self.dispatch.ended() {
                        say(socket, Say::UpdateJob(status)).await?;
                    }
                    if draining && self.dispatch.held() == 0 {
                        return Ok(());
                    }
                    self.tell_load(socket, draining).await?;
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    say(socket, Say::Ping(WorkerPing { timestamp: now.as_millis() as i64 })).await?;
                }
                changed = drains.changed() => {
                    // A service that is gone has drained.
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.tell_load(socket, true).await?;
                }
            }
        }
    }

    async fn hear(&self, socket: &mut Socket, ServerMessage { message }: ServerMessage) -> Result<(), String> {
        match message {
            Some(Told::Register(RegisterWorkerResponse { worker_id, .. })) => {
                tracing::info!(worker_id, "this host is a worker of the LiveKit server");
                self.dispatch.worker.send_replace(Some(worker_id));
            }
            Some(Told::Availability(AvailabilityRequest { job: Some(job), .. })) => self.answer(socket, &job).await?,
            Some(Told::Assignment(JobAssignment { job: Some(job), .. })) => {
                tokio::spawn(self.dispatch.clone().hold(self.service.clone(), job));
            }
            Some(Told::Termination(JobTermination { job_id })) => self.dispatch.terminate(&job_id),
            Some(Told::GoAway(_)) => return Err("the server asks us to connect anew".to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// Whether this host can take a room.
    async fn answer(&self, socket: &mut Socket, job: &Job) -> Result<(), String> {
        let room = job.room.as_ref().map(|room| room.name.as_str()).unwrap_or_default();
        let free = match self.service.upgrade() {
            Some(service) => self.dispatch.take(&service, room),
            None => Err("the host is stopping".to_owned()),
        };
        if let Err(reason) = &free {
            tracing::info!(room, reason, "a room is left to other hosts");
        }
        let (job_id, available, participant_identity) = (job.id.clone(), free.is_ok(), agent_of(&job.id));
        say(socket, Say::Availability(AvailabilityResponse { job_id, available, participant_identity, ..AvailabilityResponse::default() }))
            .await
    }

    async fn tell_load(&self, socket: &mut Socket, draining: bool) -> Result<(), String> {
        let Some(service) = self.service.upgrade() else { return Ok(()) };
        let status = if draining { WorkerStatus::WsFull } else { WorkerStatus::WsAvailable };
        let load = self.dispatch.load(&service) as f32;
        let job_count = self.dispatch.held() as u32;
        say(socket, Say::UpdateWorker(UpdateWorkerStatus { status: Some(status.into()), load, job_count, draining, seq: 0 })).await
    }
}

async fn say(socket: &mut Socket, message: Say) -> Result<(), String> {
    let bytes = WorkerMessage { message: Some(message) }.encode_to_vec();
    socket.send(Message::Binary(bytes.into())).await.map_err(|error| error.to_string())
}

/// Rooms, by name, under [`AGENT`]. What the token of a job would allow is nothing: the host joins with its own.
fn registration() -> RegisterWorkerRequest {
    RegisterWorkerRequest {
        r#type: JobType::JtRoom.into(),
        agent_name: AGENT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ping_interval: TELL_EVERY.as_secs() as u32,
        allowed_permissions: Some(ParticipantPermission { hidden: true, ..ParticipantPermission::default() }),
        ..RegisterWorkerRequest::default()
    }
}
