//! The LiveKit server's API: who is in which room, putting somebody out, and asking for a host. Every call goes through [`Outside`]: bounded in time, tried again,
//! and left alone for a while when the server does not answer.
//!
//! The calls are made here, over the HTTP client that the host has: the `services` of `livekit-api` would bring another one and licences
//! that `deny.toml` does not let in.

use std::time::Duration;

use livekit_api::access_token::{AccessToken, AccessTokenError, VideoGrants};
use livekit_protocol::{
    AgentDispatch, CreateAgentDispatchRequest, DeleteAgentDispatchRequest, ListAgentDispatchRequest, ListAgentDispatchResponse,
    ListParticipantsRequest, ListParticipantsResponse, ListRoomsRequest, ListRoomsResponse, ParticipantInfo, RemoveParticipantResponse,
    Room, RoomParticipantIdentity,
};
use prost::Message;
use serde::Deserialize;

use super::token::Secrets;
use crate::outside::{Fault, Outside, OutsideError, State};

/// How the API is called in the metrics.
pub const WHAT: &str = "livekit-api";
/// The server's services.
const ROOMS: &str = "RoomService";
const DISPATCH: &str = "AgentDispatchService";
/// How long a try may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the token of one call is good.
const TOKEN_TTL: Duration = Duration::from_secs(60);
/// Bytes of an answer: some ten thousand participants.
const ANSWER_MAX: u64 = 16 << 20;

/// What went wrong with one try.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The server's own answer, by Twirp's code.
    #[error("{code}: {msg}")]
    Refused { code: String, msg: String },
    /// Nothing answered, or something else did in its place.
    #[error("{0}")]
    Unreachable(String),
    #[error("the call's token cannot be signed: {0}")]
    Token(#[from] AccessTokenError),
}

pub type ServerFault = OutsideError<ServerError>;

/// An error as Twirp tells it.
#[derive(Deserialize)]
struct Told {
    code: String,
    #[serde(default)]
    msg: String,
}

/// See the module.
pub struct Server {
    url: String,
    secrets: Secrets,
    agent: ureq::Agent,
    outside: Outside,
}

impl Server {
    /// `url` is the server's HTTP address. Nothing is asked yet.
    pub fn new(url: &str, secrets: &Secrets) -> Self {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT)).build().new_agent();
        Self { url: url.to_owned(), secrets: secrets.clone(), agent, outside: Outside::new(WHAT, TIMEOUT) }
    }

    /// The rooms that somebody is in.
    ///
    /// # Errors
    /// When the server does not answer, or refuses the key.
    pub async fn rooms(&self) -> Result<Vec<Room>, ServerFault> {
        let grants = || VideoGrants { room_list: true, ..VideoGrants::default() };
        let ask = || self.ask(ROOMS, "ListRooms", grants(), ListRoomsRequest::default().encode_to_vec());
        let answer: ListRoomsResponse = self.outside.call(fault, ask).await?;
        Ok(answer.rooms)
    }

    /// The agents that a room was asked to get.
    ///
    /// # Errors
    /// As [`Server::rooms`].
    pub async fn dispatches(&self, room: &str) -> Result<Vec<AgentDispatch>, ServerFault> {
        // Of a room that is not there the server says that it is out of reach.
        if !self.rooms().await?.iter().any(|there| there.name == room) {
            return Ok(Vec::new());
        }
        let request = || ListAgentDispatchRequest { room: room.to_owned(), ..ListAgentDispatchRequest::default() };
        let ask = || self.ask(DISPATCH, "ListDispatch", admin(room), request().encode_to_vec());
        let answer: Option<ListAgentDispatchResponse> = there(self.outside.call(fault, ask).await)?;
        Ok(answer.unwrap_or_default().agent_dispatches)
    }

    /// Asks for an agent of this name for a room, which is made if it is not there.
    ///
    /// # Errors
    /// As [`Server::rooms`]. That no worker is free is none.
    pub async fn dispatch(&self, room: &str, agent: &str) -> Result<(), ServerFault> {
        let request =
            || CreateAgentDispatchRequest { room: room.to_owned(), agent_name: agent.to_owned(), ..CreateAgentDispatchRequest::default() };
        let ask = || self.ask(DISPATCH, "CreateDispatch", admin(room), request().encode_to_vec());
        let _: AgentDispatch = self.outside.call(fault, ask).await?;
        Ok(())
    }

    /// Takes back what was asked for; its job ends. It may be gone already.
    ///
    /// # Errors
    /// As [`Server::rooms`].
    pub async fn take_back_dispatch(&self, room: &str, id: &str) -> Result<(), ServerFault> {
        let request = || DeleteAgentDispatchRequest { room: room.to_owned(), dispatch_id: id.to_owned() };
        let ask = || self.ask(DISPATCH, "DeleteDispatch", admin(room), request().encode_to_vec());
        let _: Option<AgentDispatch> = there(self.outside.call(fault, ask).await)?;
        Ok(())
    }

    /// Who is in a room, those who are hidden among them; nobody in one that is not there.
    ///
    /// # Errors
    /// As [`Server::rooms`].
    pub async fn participants(&self, room: &str) -> Result<Vec<ParticipantInfo>, ServerFault> {
        let ask = || self.ask(ROOMS, "ListParticipants", admin(room), ListParticipantsRequest { room: room.to_owned() }.encode_to_vec());
        let answer: Option<ListParticipantsResponse> = there(self.outside.call(fault, ask).await)?;
        Ok(answer.unwrap_or_default().participants)
    }

    /// Puts somebody out of a room. False: nobody of this identity was there.
    ///
    /// # Errors
    /// As [`Server::rooms`].
    pub async fn remove(&self, room: &str, identity: &str) -> Result<bool, ServerFault> {
        let who = || RoomParticipantIdentity { room: room.to_owned(), identity: identity.to_owned(), ..RoomParticipantIdentity::default() };
        let ask = || self.ask(ROOMS, "RemoveParticipant", admin(room), who().encode_to_vec());
        let answer: Option<RemoveParticipantResponse> = there(self.outside.call(fault, ask).await)?;
        Ok(answer.is_some())
    }

    /// Whether the server has answered lately.
    pub fn state(&self) -> State {
        self.outside.state()
    }

    /// One try of one call (Twirp, as Protobuf).
    async fn ask<A: Message + Default>(&self, of: &str, method: &str, grants: VideoGrants, request: Vec<u8>) -> Result<A, ServerError> {
        let Secrets { key, secret } = &self.secrets;
        let token = AccessToken::with_api_key(key, secret).with_grants(grants).with_ttl(TOKEN_TTL).to_jwt()?;
        let url = format!("{}/twirp/livekit.{of}/{method}", self.url);
        let agent = self.agent.clone();
        let unreachable = |error: &dyn std::fmt::Display| ServerError::Unreachable(error.to_string());
        let asked = tokio::task::spawn_blocking(move || {
            let asking = agent.post(&url).header("authorization", format!("Bearer {token}")).content_type("application/protobuf");
            let mut answer = asking.send(&request)?;
            let body = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_vec()?;
            Ok::<_, ureq::Error>((answer.status(), body))
        });
        let (status, body) = asked.await.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))?;
        if status.is_success() {
            return A::decode(&body[..]).map_err(|error| unreachable(&error));
        }
        // What is no error of Twirp's is by something between us and the server.
        Err(match serde_json::from_slice(&body) {
            Ok(Told { code, msg }) => ServerError::Refused { code, msg },
            Err(_) => ServerError::Unreachable(format!("it answers {status}")),
        })
    }
}

/// What it takes to see who is in a room, and to put somebody out.
fn admin(room: &str) -> VideoGrants {
    VideoGrants { room_admin: true, room: room.to_owned(), ..VideoGrants::default() }
}

/// None where what was asked about is not there.
fn there<A>(answer: Result<A, ServerFault>) -> Result<Option<A>, ServerFault> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(OutsideError::Failed { error: ServerError::Refused { code, .. }, .. }) if code == "not_found" => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the server's own faults may be over with the next try; what it refuses stays refused.
fn fault(error: &ServerError) -> Fault {
    const PASSING: [&str; 6] = ["unavailable", "internal", "unknown", "deadline_exceeded", "aborted", "resource_exhausted"];
    match error {
        ServerError::Refused { code, .. } if !PASSING.contains(&code.as_str()) => Fault::Final,
        ServerError::Refused { .. } | ServerError::Unreachable(_) => Fault::Passing,
        ServerError::Token(_) => Fault::Final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> ServerError {
        ServerError::Refused { code: code.to_owned(), msg: String::new() }
    }

    #[test]
    fn what_the_server_refuses_is_not_asked_again() {
        for code in ["not_found", "unauthenticated", "permission_denied", "invalid_argument"] {
            assert_eq!(fault(&refused(code)), Fault::Final, "{code}");
        }
        for code in ["unavailable", "internal", "deadline_exceeded"] {
            assert_eq!(fault(&refused(code)), Fault::Passing, "{code}");
        }
        let there = |error| there::<()>(Err(OutsideError::Failed { what: WHAT, error }));
        assert!(matches!(there(refused("not_found")), Ok(None)) && there(refused("unauthenticated")).is_err());
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_by_name() {
        let secrets = Secrets { key: "k".to_owned(), secret: "s".repeat(32) };
        let server = Server::new("http://127.0.0.1:9", &secrets);
        let error = server.rooms().await.expect_err("nobody listens there");
        assert!(error.to_string().starts_with("livekit-api: "), "{error}");
        assert_eq!(server.state(), State::Closed, "three failures do not open it");
        let error = server.remove("studio", "viewer~0").await.expect_err("nobody listens there");
        assert!(matches!(error, OutsideError::Failed { .. } | OutsideError::Open { .. }), "{error}");
        assert_eq!(server.state(), State::Open);
        assert!(matches!(server.participants("studio").await, Err(OutsideError::Open { .. })));
    }
}
