//! Whose token somebody shows over HTTP: one of those that were made here for a room, still good.

use livekit_api::access_token::TokenVerifier;

use super::token::{Mint, SEAL, Sealed, Secrets};

/// Why a token does not do.
#[derive(Debug, thiserror::Error)]
pub enum BearerError {
    #[error("the token is no good: {0}; ask the host for a new one")]
    Bad(String),
    #[error("the token was not made by this host")]
    Foreign,
    #[error("the token is for another room")]
    OtherRoom,
    #[error("whoever the token is for is not in the room: join first")]
    Away,
    #[error("a broadcaster writes over LiveKit, in its own room; over HTTP it takes the room's viewers' token")]
    Broadcaster,
}

/// Somebody of the viewers' room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    pub identity: String,
    /// As the text policy let it pass when the token was made.
    pub name: String,
    pub kind: Sealed,
}

/// Whose a token for the viewers' room of `room` is.
///
/// # Errors
/// When it is expired, forged, for another room, or a broadcaster's for its own room.
pub fn bearer(secrets: &Secrets, mint: &Mint, room: &str, token: &str) -> Result<Bearer, BearerError> {
    let verifier = TokenVerifier::with_api_key(&secrets.key, &secrets.secret);
    let claims = verifier.verify(token).map_err(|error| BearerError::Bad(error.to_string()))?;
    let kind = mint.sealed(&claims.video.room, &claims.sub, claims.attributes.get(SEAL).map(String::as_str)).ok_or(BearerError::Foreign)?;
    if kind == Sealed::Broadcaster {
        return Err(BearerError::Broadcaster);
    }
    if claims.video.room != room {
        return Err(BearerError::OtherRoom);
    }
    match kind {
        Sealed::Viewer | Sealed::Watching | Sealed::Moderator => Ok(Bearer { identity: claims.sub, name: claims.name, kind }),
        // The host's own are never given out.
        _ => Err(BearerError::Foreign),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use livekit_api::access_token::{AccessToken, VideoGrants};

    use super::*;
    use crate::config::IngestSuffix;
    use crate::serve::livekit::token::Role;

    #[test]
    fn only_who_may_read_a_room_may_write_to_it() {
        let secrets = Secrets { key: "k".to_owned(), secret: "s".repeat(32) };
        let mint = Mint::new(secrets.clone(), Duration::from_secs(60), &IngestSuffix::default());
        let whose = |token: &str| bearer(&secrets, &mint, "studio", token);
        let vera = mint.mint("studio", "Vera", Role::Viewer).expect("a token");
        let known = Bearer { identity: vera.identity.clone(), name: "Vera".to_owned(), kind: Sealed::Viewer };
        assert_eq!(whose(&vera.token).expect("hers"), known);
        let bob = mint.mint("studio", "Bob", Role::Broadcaster).expect("a token");
        assert_eq!(whose(bob.view_token.as_deref().expect("two")).expect("his").kind, Sealed::Watching);
        let mo = mint.mint("studio", "Mo", Role::Moderator).expect("a token");
        assert_eq!(whose(&mo.token).expect("theirs").kind, Sealed::Moderator);

        assert!(matches!(whose(&bob.token), Err(BearerError::Broadcaster)));
        let other = mint.mint("other", "Vera", Role::Viewer).expect("a token");
        assert!(matches!(whose(&other.token), Err(BearerError::OtherRoom)));
        assert!(matches!(whose(&mint.mirror("studio", &bob.identity, &"Bob".into()).expect("one")), Err(BearerError::Foreign)));
        let grants = VideoGrants { room_join: true, room: "studio".to_owned(), ..VideoGrants::default() };
        let signed =
            |secret: &str| AccessToken::with_api_key("k", secret).with_identity("eve").with_grants(grants.clone()).to_jwt().expect("one");
        assert!(matches!(whose(&signed(&secrets.secret)), Err(BearerError::Foreign)));
        assert!(matches!(whose(&signed(&"t".repeat(32))), Err(BearerError::Bad(_))));
        for bad in ["", "a.b.c", &vera.token[1..]] {
            assert!(matches!(whose(bad), Err(BearerError::Bad(_))), "{bad}");
        }
    }
}
