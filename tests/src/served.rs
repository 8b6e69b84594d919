//! A real `scrim serve` on a port of its own, as a user starts it, and requests to it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_host::api::auth::{Role, new_key};
use serde_json::Value;

use crate::{built, livekit};

/// How long a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(120);

/// The `scrim` binary that `cargo test --workspace` has built.
///
/// # Errors
/// When it is not there.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().map(|folder| folder.join("scrim")).find(|path| path.is_file());
    found.with_context(|| format!("no scrim binary above {}: run `cargo build --release`", own.display()))
}

/// A configuration with faces covered by NudeNet, and the three shipped policies; `more` is added at its end. What else runs on the machine turns no
/// broadcaster away.
pub fn configuration(data_dir: &Path, more: &str) -> String {
    format!(
        "data_dir = {data_dir:?}\n\
         [detectors.nudity]\nmodel = \"nudenet-320n\"\ncover = [\"FACE_*\"]\n\
         [policy.cascade]\nplugin = \"skin-cascade@2.0.0\"\n\
         [policy.text]\nplugin = \"profanity-context@2.0.0\"\n\
         [policy.threshold]\nplugin = \"adaptive-threshold@1.0.0\"\n\
         [limits]\nload_percent = 100\n{more}\n"
    )
}

/// Puts the shipped plugins into the catalog of a data folder.
///
/// # Errors
/// When one can't be built or added.
pub fn add_plugins(data_dir: &Path) -> Result<()> {
    let config = data_dir.join("add.toml");
    std::fs::write(&config, format!("data_dir = {data_dir:?}\n"))?;
    for (name, version) in
        [("skin-cascade", "1.0.0"), ("skin-cascade", "2.0.0"), ("profanity-context", "2.0.0"), ("adaptive-threshold", "1.0.0")]
    {
        let file = data_dir.join(format!("{name}-{version}.wasm"));
        std::fs::write(&file, built::plugin(name, version)?)?;
        let added = Command::new(binary()?).args(["plugin", "add"]).arg(&file).arg("--config").arg(&config).output()?;
        ensure!(added.status.success(), "{name}@{version}: {}", String::from_utf8_lossy(&added.stderr));
    }
    Ok(())
}

/// A data folder with the shipped plugins, and its configuration's file.
fn prepare(data_dir: &Path, more: &str) -> Result<PathBuf> {
    if !data_dir.join("plugins").is_dir() {
        add_plugins(data_dir)?;
    }
    let config = data_dir.join("scrim.toml");
    std::fs::write(&config, configuration(data_dir, more))?;
    Ok(config)
}

/// A host that serves, until it is dropped.
pub struct Served {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
    pub data_dir: PathBuf,
    /// The bearer key that requests carry.
    pub key: Option<String>,
}

/// An answer: its status, headers and body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// # Errors
    /// When the body is no JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The JSON of an answer with this status.
    ///
    /// # Errors
    /// When it has another.
    pub fn expect(self, status: u16) -> Result<Value> {
        ensure!(self.status == status, "{} instead of {status}: {}", self.status, String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Ok(Value::Null) } else { self.json() }
    }
}

impl Served {
    /// Starts a host in a fresh folder with the shipped plugins; `more` is added to [`configuration`].
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(data_dir: &Path, more: &str) -> Result<Self> {
        Self::start_under(&[], data_dir, more)
    }

    /// As [`Served::start`], with these variables in its environment.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_in(data_dir: &Path, more: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let config = prepare(data_dir, more)?;
        Self::start_with(data_dir, &["--config".as_ref(), config.as_os_str()], variables)
    }

    /// As [`Served::start`], by a program that runs it: `&["env", "--ignore-signal=XFSZ"]`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_under(wrapper: &[&str], data_dir: &Path, more: &str) -> Result<Self> {
        let config = prepare(data_dir, more)?;
        Self::spawn(wrapper, data_dir, &["--config".as_ref(), config.as_os_str()], &[])
    }

    /// As [`Served::start`], with these variables in its environment.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with_variables(data_dir: &Path, more: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let config = prepare(data_dir, more)?;
        Self::start_with(data_dir, &["--config".as_ref(), config.as_os_str()], variables)
    }

    /// As [`Served::start`], with the demo's room fed from a clip.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_demo(data_dir: &Path, clip: &Path) -> Result<Self> {
        let config = prepare(data_dir, "")?;
        Self::start_with(data_dir, &["--config".as_ref(), config.as_os_str(), "--demo".as_ref(), clip.as_os_str()], &[])
    }

    /// As [`Served::start`], for whoever has the key alone.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with_key(data_dir: &Path, name: &str, role: Role) -> Result<Self> {
        let config = prepare(data_dir, "")?;
        let (key, line) = new_key(name, role)?;
        let mut served = Self::start_with(data_dir, &["--config".as_ref(), config.as_os_str()], &[("SCRIM_KEYS", &line)])?;
        served.key = Some(key);
        Ok(served)
    }

    /// As [`Served::start`], for the rooms of a LiveKit server.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_livekit(data_dir: &Path, server: &livekit::Server, more: &str) -> Result<Self> {
        let config = prepare(data_dir, more)?;
        let variables = [("LIVEKIT_URL", &*server.url()), ("LIVEKIT_API_KEY", livekit::KEY), ("LIVEKIT_API_SECRET", livekit::SECRET)];
        Self::start_with(data_dir, &["--config".as_ref(), config.as_os_str()], &variables)
    }

    /// As [`Served::start_livekit`], with the shipped plugins in its catalog and this configuration alone, by a program that runs it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_livekit_with(wrapper: &[&str], data_dir: &Path, server: &livekit::Server, configuration: &str) -> Result<Self> {
        if !data_dir.join("plugins").is_dir() {
            add_plugins(data_dir)?;
        }
        let config = data_dir.join("scrim.toml");
        std::fs::write(&config, format!("data_dir = {data_dir:?}\n{configuration}"))?;
        let variables = [("LIVEKIT_URL", &*server.url()), ("LIVEKIT_API_KEY", livekit::KEY), ("LIVEKIT_API_SECRET", livekit::SECRET)];
        Self::spawn(wrapper, data_dir, &["--config".as_ref(), config.as_os_str()], &variables)
    }

    /// Starts a host with these flags and variables, on a port of its own; its log goes to `serve.log` in the data folder.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with(data_dir: &Path, flags: &[&std::ffi::OsStr], variables: &[(&str, &str)]) -> Result<Self> {
        Self::spawn(&[], data_dir, flags, variables)
    }

    fn spawn(wrapper: &[&str], data_dir: &Path, flags: &[&std::ffi::OsStr], variables: &[(&str, &str)]) -> Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(data_dir.join("serve.log"))?;
        let mut command = match wrapper {
            [] => Command::new(binary()?),
            [program, words @ ..] => {
                let mut command = Command::new(program);
                command.args(words).arg(binary()?);
                command
            }
        };
        command.args(["--log", "info", "serve", "--bind", "127.0.0.1:0"]).args(flags).envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let output = child.stdout.take().context("its output is piped")?;
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens once the address is known.
                let _ = tell.send(line);
            }
        });
        let since = Instant::now();
        while since.elapsed() < START_MAX {
            match told.recv_timeout(Duration::from_millis(200)) {
                Ok(line) => {
                    if let Some(address) = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next()) {
                        return Ok(Self { child, address: address.to_owned(), data_dir: data_dir.to_owned(), key: None });
                    }
                }
                Err(_) => {
                    if let Some(status) = child.try_wait()? {
                        let log = std::fs::read_to_string(data_dir.join("serve.log")).unwrap_or_default();
                        bail!("scrim serve ended with {status}: {}", log.lines().rev().take(5).collect::<Vec<_>>().join("\n"));
                    }
                }
            }
        }
        let _ = child.kill();
        bail!("scrim serve did not say its address within {START_MAX:?}")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    /// When there is no answer at all.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let agent =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60))).build().new_agent();
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = agent.run(request.body(body.to_vec())?)?;
        let headers =
            response.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect();
        let status = response.status().as_u16();
        Ok(Answer { status, headers, body: response.body_mut().with_config().limit(64 << 20).read_to_vec()? })
    }

    /// # Errors
    /// As [`Served::send`].
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], &[])
    }

    /// # Errors
    /// As [`Served::send`].
    pub fn json(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        self.send(method, path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// When it can't be ended.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to drain, and waits for its end.
    ///
    /// # Errors
    /// When it does not end in time, or ends with a fault.
    pub fn terminate(mut self, within: Duration) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let since = Instant::now();
        while since.elapsed() < within {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "it ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("it did not end within {within:?}")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
