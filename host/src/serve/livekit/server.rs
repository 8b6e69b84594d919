//! The LiveKit server's API: who is in which room, and putting somebody out. Every call goes through [`Outside`]: bounded in time, tried again,
//! and left alone for a while when the server does not answer.

use std::time::Duration;

use livekit_api::services::room::RoomClient;
use livekit_api::services::{ServerError, ServerErrorCode, ServiceError};
use livekit_protocol::{ParticipantInfo, Room};

use super::token::Secrets;
use crate::outside::{Fault, Outside, OutsideError, State};

/// How the API is called in the metrics.
pub const WHAT: &str = "livekit-api";
/// How long a try may take.
const TIMEOUT: Duration = Duration::from_secs(5);

pub type ServerFault = OutsideError<ServiceError>;

/// See the module.
pub struct Server {
    client: RoomClient,
    outside: Outside,
}

impl Server {
    /// `url` is the server's HTTP address. Nothing is asked yet.
    pub fn new(url: &str, secrets: &Secrets) -> Self {
        // Tries are ours to make.
        let client = RoomClient::with_api_key(url, &secrets.key, &secrets.secret).with_failover(false).with_request_timeout(TIMEOUT);
        Self { client, outside: Outside::new(WHAT, TIMEOUT) }
    }

    /// The rooms of these names that somebody is in, or all of them.
    ///
    /// # Errors
    /// When the server does not answer, or refuses the key.
    pub async fn rooms(&self, names: Option<Vec<String>>) -> Result<Vec<Room>, ServerFault> {
        match names {
            // To the server no names are all names.
            Some(names) if names.is_empty() => Ok(Vec::new()),
            names => self.outside.call(fault, || self.client.list_rooms(names.clone().unwrap_or_default())).await,
        }
    }

    /// Who is in a room, those who are hidden among them; nobody in one that is not there.
    ///
    /// # Errors
    /// As [`Server::rooms`].
    pub async fn participants(&self, room: &str) -> Result<Vec<ParticipantInfo>, ServerFault> {
        let listed = self.outside.call(fault, || self.client.list_participants(room)).await;
        match listed {
            Err(OutsideError::Failed { error, .. }) if is_missing(&error) => Ok(Vec::new()),
            listed => listed,
        }
    }

    /// Puts somebody out of a room. False: nobody of this identity was there.
    ///
    /// # Errors
    /// As [`Server::rooms`].
    pub async fn remove(&self, room: &str, identity: &str) -> Result<bool, ServerFault> {
        gone(self.outside.call(fault, || self.client.remove_participant(room, identity)).await)
    }

    /// Ends a room with everybody in it. False: there was none.
    ///
    /// # Errors
    /// As [`Server::rooms`].
    pub async fn delete_room(&self, room: &str) -> Result<bool, ServerFault> {
        gone(self.outside.call(fault, || self.client.delete_room(room)).await)
    }

    /// Whether the server has answered lately.
    pub fn state(&self) -> State {
        self.outside.state()
    }
}

fn gone(answer: Result<(), ServerFault>) -> Result<bool, ServerFault> {
    match answer {
        Ok(()) => Ok(true),
        Err(OutsideError::Failed { error, .. }) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_missing(error: &ServiceError) -> bool {
    matches!(error, ServiceError::Twirp(ServerError::Twirp(code)) if code.code == ServerErrorCode::NOT_FOUND)
}

/// What the server's own faults may be over with the next try; what it refuses stays refused.
fn fault(error: &ServiceError) -> Fault {
    const PASSING: [&str; 6] = [
        ServerErrorCode::UNAVAILABLE,
        ServerErrorCode::INTERNAL,
        ServerErrorCode::UNKNOWN,
        ServerErrorCode::DEADLINE_EXCEEDED,
        ServerErrorCode::ABORTED,
        ServerErrorCode::RESOURCE_EXHAUSTED,
    ];
    match error {
        ServiceError::Twirp(ServerError::Twirp(code)) if !PASSING.contains(&code.code.as_str()) => Fault::Final,
        // Something between us and the server answers in its place, or nothing does.
        ServiceError::Twirp(ServerError::Twirp(_) | ServerError::Request(_) | ServerError::Prost(_)) => Fault::Passing,
        ServiceError::Twirp(ServerError::Url(_)) | ServiceError::Env(_) | ServiceError::AccessToken(_) => Fault::Final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(code: &str) -> ServiceError {
        ServiceError::Twirp(ServerError::Twirp(ServerErrorCode { code: code.to_owned(), msg: String::new(), meta: Default::default() }))
    }

    #[test]
    fn what_the_server_refuses_is_not_asked_again() {
        for refused in ["not_found", "unauthenticated", "permission_denied", "invalid_argument"] {
            assert_eq!(fault(&code(refused)), Fault::Final, "{refused}");
        }
        for passing in ["unavailable", "internal", "deadline_exceeded"] {
            assert_eq!(fault(&code(passing)), Fault::Passing, "{passing}");
        }
        let gone = |answer: ServiceError| gone(Err(OutsideError::Failed { what: WHAT, error: answer }));
        assert!(matches!(gone(code("not_found")), Ok(false)) && gone(code("unauthenticated")).is_err());
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_by_name() {
        let secrets = Secrets { key: "k".to_owned(), secret: "s".repeat(32) };
        let server = Server::new("http://127.0.0.1:9", &secrets);
        assert!(matches!(server.rooms(Some(Vec::new())).await, Ok(rooms) if rooms.is_empty()));
        let error = server.rooms(None).await.expect_err("nobody listens there");
        assert!(error.to_string().starts_with("livekit-api: "), "{error}");
        assert_eq!(server.state(), State::Closed, "three failures do not open it");
        let error = server.remove("studio", "viewer~0").await.expect_err("nobody listens there");
        assert!(matches!(error, OutsideError::Failed { .. } | OutsideError::Open { .. }), "{error}");
        assert_eq!(server.state(), State::Open);
        assert!(matches!(server.participants("studio").await, Err(OutsideError::Open { .. })));
    }
}
