//! A running host as the commands that talk to one see it: where it is, by which key, requests, and its problems as readable errors.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response};

use super::Failure;

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longer than the host takes for its slowest answer, a change of policy. What is downloaded may take longer.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer: the largest recording that a host can be set to make.
const ANSWER_BYTES_MAX: u64 = 16 << 30;

/// `--url URL --key KEY`, for the commands that talk to a running host.
#[derive(Debug, clap::Args)]
pub struct HostArgs {
    /// Where the host listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7890")]
    url: String,
    /// The key to show, where the host asks for one (`scrim key` makes them)
    #[arg(long, value_name = "KEY", env = "SCRIM_KEY", hide_env_values = true)]
    key: Option<String>,
}

/// What a host answers when it does not do what was asked (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    title: String,
    detail: String,
    #[serde(default)]
    faults: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    path: String,
    message: String,
}

/// Requests to a host.
pub struct Client {
    agent: Agent,
    base: String,
    key: Option<String>,
}

impl Client {
    pub fn new(args: &HostArgs) -> Result<Self, Failure> {
        let base = args.url.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Failure::Usage(anyhow!("--url {:?}: give http://HOST:PORT or https://HOST:PORT", args.url)));
        }
        let config = Agent::config_builder().http_status_as_error(false);
        // Each request has a connection of its own: one kept over the length of a recording may be closed when it is wanted again.
        let config = config.timeout_connect(Some(CONNECT_MAX)).timeout_recv_response(Some(ANSWER_MAX)).max_idle_connections(0);
        let agent = config.build().new_agent();
        Ok(Self { agent, base, key: args.key.clone().filter(|key| !key.is_empty()) })
    }

    /// What a GET answers.
    pub fn get<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        self.read(self.ask("GET", path, None)?)
    }

    /// What a POST without a body answers.
    pub fn post<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        self.read(self.ask("POST", path, None)?)
    }

    /// What a PUT of a JSON body answers.
    pub fn put<T: DeserializeOwned>(&self, path: &[&str], body: &Value) -> anyhow::Result<T> {
        self.read(self.ask("PUT", path, Some(body))?)
    }

    /// Writes what a GET answers as it comes. Says how many bytes.
    pub fn download(&self, path: &[&str], to: &mut impl std::io::Write) -> anyhow::Result<u64> {
        let mut response = self.ask("GET", path, None)?;
        let mut body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).reader();
        std::io::copy(&mut body, to).with_context(|| format!("{} was cut off", self.url(path)))
    }

    fn url(&self, path: &[&str]) -> String {
        path.iter().fold(format!("{}/v1", self.base), |url, part| format!("{url}/{}", segment(part)))
    }

    fn ask(&self, method: &str, path: &[&str], body: Option<&Value>) -> anyhow::Result<Response<ureq::Body>> {
        let mut request = Request::builder().method(method).uri(self.url(path));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(text).with_context(|| format!("{} with this key cannot be asked", self.base))?;
        let response = self
            .agent
            .run(request)
            .with_context(|| format!("no answer from {}; is `scrim serve` running there? --url says where it is", self.base))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response)) }
    }

    fn read<T: DeserializeOwned>(&self, mut response: Response<ureq::Body>) -> anyhow::Result<T> {
        response.body_mut().read_json().with_context(|| format!("{} answers something else than a Scrim host of this version", self.base))
    }

    fn refused(&self, mut response: Response<ureq::Body>) -> anyhow::Error {
        let status = response.status();
        let Ok(Problem { title, detail, faults }) = response.body_mut().read_json() else {
            return anyhow!("{} answers {status}, not as a Scrim host does; --url says where the host is", self.base);
        };
        let faults: String = faults.iter().map(|Fault { path, message }| format!("\n  {path}: {message}")).collect();
        let hint = match (status.as_u16(), &self.key) {
            (401, None) => "; give one with --key or SCRIM_KEY",
            (401, Some(_)) => "; see --key and SCRIM_KEY",
            _ => "",
        };
        anyhow!("the host says {} {title}: {detail}{hint}{faults}", status.as_u16())
    }
}

/// Text as one part of a path: what would end it or mean something else is written as `%XX`.
fn segment(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~@".contains(byte);
    text.as_bytes().iter().map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part_of_the_path() {
        let args = HostArgs { url: "http://127.0.0.1:1/".to_owned(), key: None };
        let Ok(client) = Client::new(&args) else { panic!("a good url") };
        assert_eq!(
            client.url(&["rooms", "../plugins?x=ü", "a-b_c.d@1"]),
            "http://127.0.0.1:1/v1/rooms/..%2Fplugins%3Fx%3D%C3%BC/a-b_c.d@1"
        );
        let args = HostArgs { url: "127.0.0.1:1".to_owned(), key: None };
        assert!(matches!(Client::new(&args), Err(Failure::Usage(_))));
    }
}
