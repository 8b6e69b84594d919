//! What the files share: a host that ends with the last test that uses it, pictures, requests byte by byte, and waiting.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_host::media::frame::{Frame, FrameSeq, Micros};
use scrim_host::media::picture::{self, Limits};
use scrim_tests::served::{Answer, Served, binary};
use serde_json::{Value, json};

/// A host and its folder.
pub struct Running {
    host: Served,
    pub folder: tempfile::TempDir,
}

impl Deref for Running {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.host
    }
}

/// A host of a test's own; `more` is added to its configuration.
pub fn start(more: &str) -> Result<Running> {
    let folder = tempfile::tempdir()?;
    let host = Served::start(folder.path(), more)?;
    Ok(Running { host, folder })
}

/// One host for the tests of a file.
pub struct Shared(Mutex<Weak<Running>>);

impl Shared {
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    pub fn host(&self) -> Result<Arc<Running>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = known.upgrade() {
            return Ok(running);
        }
        let running = Arc::new(start("")?);
        *known = Arc::downgrade(&running);
        Ok(running)
    }
}

/// Makes a room.
pub fn room(host: &Served, name: &str, settings: Value) -> Result<Value> {
    let mut new = settings;
    new["name"] = name.into();
    host.json("POST", "/v1/rooms", &new)?.expect(201)
}

/// A plugin put in force in a slot of a room.
pub fn put(host: &Served, room: &str, slot: &str, plugin: &str, config: Value) -> Result<Answer> {
    host.json("PUT", &format!("/v1/rooms/{room}/policy/{slot}"), &json!({ "plugin": plugin, "config": config }))
}

pub fn add(host: &Served, wasm: &[u8]) -> Result<Answer> {
    host.send("POST", "/v1/plugins", &[("content-type", "application/wasm")], wasm)
}

/// The detail of a problem with this status.
pub fn problem(answer: Answer, status: u16) -> Result<String> {
    ensure!(
        answer.header("content-type") == Some("application/problem+json"),
        "{} {:?}: {}",
        answer.status,
        answer.header("content-type"),
        String::from_utf8_lossy(&answer.body)
    );
    let body = answer.expect(status)?;
    ensure!(body["status"] == status && body["title"].is_string() && body["type"] == "about:blank", "{body}");
    Ok(body["detail"].as_str().context("a detail")?.to_owned())
}

/// The paths of a 422's or 409's faults.
pub fn faults(answer: Answer, status: u16) -> Result<Vec<String>> {
    let body = answer.expect(status)?;
    let faults = body["faults"].as_array().with_context(|| format!("faults in {body}"))?;
    ensure!(faults.iter().all(|fault| fault["message"].as_str().is_some_and(|message| message.len() > 8)), "{body}");
    Ok(faults.iter().map(|fault| fault["path"].as_str().unwrap_or_default().to_owned()).collect())
}

/// A picture with a face.
pub fn astronaut() -> Result<Frame> {
    let bytes = std::fs::read(scrim_toolchain::assets::path("astronaut.png")?)?;
    Ok(picture::decode(&bytes, Limits::default(), FrameSeq(0), Micros::ZERO)?)
}

pub fn face_jpeg() -> Result<Vec<u8>> {
    Ok(picture::encode_jpeg(&astronaut()?, 90)?)
}

/// The verdict on a picture.
pub fn post_picture(host: &Served, room: &str, query: &str, bytes: &[u8]) -> Result<Answer> {
    host.send("POST", &format!("/v1/rooms/{room}/frames{query}"), &[("content-type", "image/jpeg")], bytes)
}

pub fn say(host: &Served, room: &str, text: &str) -> Result<Value> {
    host.json("POST", &format!("/v1/rooms/{room}/messages"), &json!({ "text": text, "author": "ann" }))?.expect(200)
}

/// Asks again until the answer is as wanted.
pub fn until(what: &str, mut asked: impl FnMut() -> Result<bool>) -> Result<()> {
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(15) {
        if asked()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    bail!("not within 15 s: {what}")
}

/// Sends bytes as they are and reads an answer of a stated length, or what came until the other side closed.
pub fn raw(host: &Served, head: &str, body: &[u8]) -> Result<Answer> {
    let mut socket = TcpStream::connect(&host.address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    socket.write_all(head.as_bytes())?;
    // A host that has refused already need not read on.
    let _ = socket.write_all(body);
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = split(&text) {
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            // After an upgrade there is no end.
            if length.is_some_and(|length| body.len() >= length) || head.starts_with("HTTP/1.1 101") {
                break;
            }
        }
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            Err(_) if split(&text).is_some() => break,
            Err(error) => return Err(error.into()),
        }
    }
    let (head, body) = split(&text).with_context(|| format!("no answer: {}", String::from_utf8_lossy(&text)))?;
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).with_context(|| head.clone())?;
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    Ok(Answer { status, headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), body: body.to_vec() })
}

fn split(text: &[u8]) -> Option<(String, &[u8])> {
    let end = text.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&text[..end]).into_owned(), &text[end + 4..]))
}

/// The `scrim` command with these arguments.
pub fn scrim(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(binary()?).args(arguments).env_remove("SCRIM_KEY").output()?)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The configuration by which plugins were added to the host's catalog.
pub fn catalog_of(folder: &Path) -> String {
    folder.join("add.toml").display().to_string()
}
