//! Who may call. With no keys the service is for this machine alone and every caller is its admin; a page of another origin may not call
//! even then. With keys every `/v1` route needs one, and its role says what it may do.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// What a caller may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See rooms, policies, events, and streams as viewers do.
    Viewer,
    /// Send frames, pictures and messages.
    Publisher,
    /// Change rooms' settings and policies, report, record.
    Operator,
    /// Make and delete rooms, add and delete plugins, set the global policy.
    Admin,
}

impl Role {
    const ALL: [(Role, &'static str); 4] =
        [(Role::Viewer, "viewer"), (Role::Publisher, "publisher"), (Role::Operator, "operator"), (Role::Admin, "admin")];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("viewer", |(_, word)| word)
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let role = Self::ALL.iter().find(|(_, known)| *known == word).map(|(role, _)| *role);
        role.ok_or_else(|| format!("{word:?} is no role: give viewer, publisher, operator or admin"))
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: Arc<str>,
    pub role: Role,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error("{place}, line {line}: {reason}; give `NAME ROLE SHA256` as `scrim key` prints it")]
    Line { place: String, line: usize, reason: String },
    #[error(
        "{0} is no loopback address, and there are no keys: whoever reaches it could do anything. Make one with `scrim key`, put its line into serve.keys_file or SCRIM_KEYS, or bind to 127.0.0.1"
    )]
    Open(SocketAddr),
}

struct Key {
    hash: [u8; 32],
    caller: Caller,
}

/// The keys that are let in, by their hashes.
#[derive(Default)]
pub struct Keys(Vec<Key>);

/// A new key and the line that lets it in.
///
/// # Errors
/// When the system has no randomness.
pub fn new_key(name: &str, role: Role) -> Result<(String, String), getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let key = format!("scrim_{}", hex(&bytes));
    let line = format!("{name} {} {}", role.as_str(), hex(&Sha256::digest(&key)));
    Ok((key, line))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Keys {
    /// From a file and from the text of `SCRIM_KEYS`, lines separated by line ends or `;`.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn read(file: Option<&Path>, environment: Option<&str>) -> Result<Self, KeyError> {
        let mut keys = Self::default();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|source| KeyError::File { path: path.display().to_string(), source })?;
            keys.add(&path.display().to_string(), text.lines())?;
        }
        keys.add("SCRIM_KEYS", environment.unwrap_or_default().split(['\n', ';']))?;
        Ok(keys)
    }

    fn add<'a>(&mut self, place: &str, lines: impl Iterator<Item = &'a str>) -> Result<(), KeyError> {
        for (index, line) in lines.enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let words: Vec<&str> = line.split_whitespace().collect();
            let fault = |reason: String| KeyError::Line { place: place.to_owned(), line: index + 1, reason };
            match words[..] {
                [] => {}
                [name, role, hash] => {
                    let role = role.parse().map_err(fault)?;
                    let hash = unhex(hash).ok_or_else(|| fault("the hash is not 64 hexadecimal digits".to_owned()))?;
                    self.0.push(Key { hash, caller: Caller { name: name.into(), role } });
                }
                _ => return Err(fault(format!("{} words", words.len()))),
            }
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// When others could reach the service and it has no keys.
    pub fn suffice_for(&self, bind: SocketAddr) -> Result<(), KeyError> {
        if self.is_empty() && !bind.ip().is_loopback() { Err(KeyError::Open(bind)) } else { Ok(()) }
    }

    /// Hashes are compared, never keys, so that timing tells nothing of a key.
    fn find(&self, key: &str) -> Option<Caller> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        self.0.iter().find(|known| known.hash == hash).map(|known| known.caller.clone())
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// What requests are held against.
pub struct Gate {
    pub keys: Keys,
    /// What a `Host` header may say.
    pub hosts: Vec<String>,
    /// Origins that may call from a browser, besides the host's own.
    pub origins: Vec<String>,
}

impl Gate {
    /// The names that a bound address goes by, and those that the configuration adds.
    pub fn new(keys: Keys, bound: SocketAddr, hosts: &[String], origins: &[String]) -> Self {
        let port = bound.port();
        let mut names: Vec<String> = ["127.0.0.1", "localhost", "[::1]"].iter().map(|name| format!("{name}:{port}")).collect();
        if !bound.ip().is_unspecified() {
            names.push(bound.to_string());
        }
        names.extend(hosts.iter().map(|host| host.to_ascii_lowercase()));
        Self { keys, hosts: names, origins: origins.to_vec() }
    }

    /// Neither a name that was pointed here (DNS rebinding) nor a page from elsewhere may drive the host.
    fn check_origin(&self, headers: &HeaderMap, authority: Option<&str>) -> Result<(), Problem> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("(not text)").to_ascii_lowercase());
        let host = text(header::HOST).or_else(|| authority.map(str::to_ascii_lowercase)).unwrap_or_default();
        if !self.hosts.contains(&host) {
            let detail = format!("the host is not reached as {host:?}; add it to serve.allowed_hosts if it should be");
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
        let own = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .is_some_and(|name| self.hosts.iter().any(|host| host == name));
        if own || self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(&origin)) {
            return Ok(());
        }
        let detail = format!("pages of {origin} may not call; add it to serve.allowed_origins if they should");
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        if self.keys.is_empty() {
            return Ok(Caller { name: "local".into(), role: Role::Admin });
        }
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = value.and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")));
        // A browser's WebSocket has no headers of its own; a subprotocol carries the key then.
        let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        let offered = offered.and_then(|list| list.split(',').find_map(|word| word.trim().strip_prefix("bearer.")));
        let Some(key) = key.or(offered) else {
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "a key is needed: send `Authorization: Bearer KEY`"));
        };
        self.keys.find(key.trim()).ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "nobody has this key"))
    }
}

/// Checks `Host` and `Origin` of every request.
pub async fn same_origin(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.check_origin(request.headers(), request.uri().authority().map(|authority| authority.as_str())) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Finds out who calls a `/v1` route.
pub async fn identify(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    match gate.caller(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// A token of LiveKit's that somebody shows in place of a key; what it is worth is for the one to say who made it.
#[derive(Clone)]
pub struct Ticket(pub Arc<str>);

/// Finds out who calls a route that viewers may call with their LiveKit token: those who show one pass with it, others need a key and the role.
pub async fn identify_or_ticket(State((gate, role)): State<(Arc<Gate>, Role)>, mut request: Request, next: Next) -> Response {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    // Three parts of base64, the first of which begins with `{"`; no key of ours looks so.
    if let Some(token) = bearer.filter(|token| token.starts_with("eyJ") && token.split('.').count() == 3) {
        let ticket = Ticket(token.trim().into());
        request.extensions_mut().insert(ticket);
        return next.run(request).await;
    }
    match gate.caller(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            require(State(role), request, next).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Lets callers of a role, and those above it, pass.
pub async fn require(State(role): State<Role>, request: Request, next: Next) -> Response {
    let has = request.extensions().get::<Caller>().map(|caller| caller.role);
    if has.is_some_and(|has| has >= role) {
        return next.run(request).await;
    }
    let has = has.map_or("none", Role::as_str);
    Problem::new(StatusCode::FORBIDDEN, format!("this takes the role {}; the key's is {has}", role.as_str())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(keys: &str) -> Gate {
        let keys = Keys::read(None, Some(keys)).expect("good lines");
        Gate::new(keys, SocketAddr::from(([127, 0, 0, 1], 7890)), &["scrim.example".to_owned()], &["https://console.example".to_owned()])
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header"))).collect()
    }

    #[test]
    fn a_key_opens_what_its_role_may_and_nothing_else_opens_anything() {
        let (key, line) = new_key("ann", Role::Operator).expect("randomness");
        let gate = gate(&line);
        let bearer = format!("Bearer {key}");
        let caller = gate.caller(&headers(&[(header::AUTHORIZATION, &bearer)])).expect("a caller");
        assert_eq!((&*caller.name, caller.role), ("ann", Role::Operator));
        let subprotocol = format!("scrim, bearer.{key}");
        assert!(gate.caller(&headers(&[(header::SEC_WEBSOCKET_PROTOCOL, &subprotocol)])).is_ok());
        for bad in ["Bearer scrim_0", "Basic x", "Bearer ", &bearer[..bearer.len() - 1]] {
            assert_eq!(gate.caller(&headers(&[(header::AUTHORIZATION, bad)])).map(|c| c.role).map_err(|p| p.status), Err(401), "{bad}");
        }
        assert!(gate.caller(&HeaderMap::new()).is_err());
        assert!(!line.contains(&key[6..]), "the line holds the key's hash, not the key");
    }

    #[test]
    fn only_known_hosts_and_origins_pass() {
        let gate = gate("");
        let check = |pairs: &[(header::HeaderName, &str)]| gate.check_origin(&headers(pairs), None).map_err(|problem| problem.status);
        assert_eq!(check(&[(header::HOST, "127.0.0.1:7890")]), Ok(()));
        assert_eq!(check(&[(header::HOST, "localhost:7890"), (header::ORIGIN, "http://localhost:7890")]), Ok(()));
        assert_eq!(check(&[(header::HOST, "scrim.example"), (header::ORIGIN, "https://console.example")]), Ok(()));
        assert_eq!(check(&[(header::HOST, "evil.example:7890")]), Err(403));
        assert_eq!(check(&[]), Err(403));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:7891", "https://console.example.evil"] {
            assert_eq!(check(&[(header::HOST, "127.0.0.1:7890"), (header::ORIGIN, origin)]), Err(403), "{origin}");
        }
    }

    #[test]
    fn keys_are_needed_beyond_loopback_and_bad_lines_are_told() {
        assert!(Keys::default().suffice_for(SocketAddr::from(([127, 0, 0, 1], 1))).is_ok());
        assert!(Keys::default().suffice_for(SocketAddr::from(([0, 0, 0, 0], 1))).is_err());
        let hash = "0".repeat(64);
        for (line, said) in [("a", "1 words"), ("a boss x", "no role"), ("a admin xyz", "64 hexadecimal")] {
            let error =
                Keys::read(None, Some(&format!("# ours\nok viewer {hash}\n{line}"))).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(said) && error.contains("line 3"), "{error}");
        }
    }
}
