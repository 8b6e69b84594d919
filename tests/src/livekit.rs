//! A real LiveKit server in a network of its own, for the tests of rooms.
//!
//! libwebrtc gathers no candidates on loopback, so media needs another interface. [`alone`] runs a test again in a network namespace with a pair
//! of virtual ones; where a machine allows no namespace, the test runs on the machine's own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use livekit_api::access_token::{AccessToken, VideoGrants};
use scrim_livekit::{Event, Library, Room};

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "SCRIM_TEST_NETWORK";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const PORT: u16 = 7880;
const START_MAX: Duration = Duration::from_secs(30);
pub const KEY: &str = "scrim-test";
pub const SECRET: &str = "a secret for tests alone, and long enough";

/// Runs the test that calls this in a network of its own. True: it has been run there, and passed; the caller has nothing left to do.
///
/// # Errors
/// When it failed there.
pub fn alone() -> Result<bool> {
    let name = std::thread::current().name().context("a test's thread has its name")?.to_owned();
    let arguments = [&*name, "--exact", "--nocapture", "--test-threads", "1"].map(str::to_owned);
    let Some(output) = inside(&arguments)? else { return Ok(false) };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    ensure!(output.status.success() && said.contains("1 passed"), "{name} failed in its own network: {}", output.status);
    Ok(true)
}

/// Runs this program again, with these arguments, in a network of its own: what came of it. None: it runs there already, or this machine allows no
/// such network, and the caller goes on.
///
/// # Errors
/// When it can't be run.
pub fn inside(arguments: &[String]) -> Result<Option<Output>> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let flags: &[&str] = if root { &["--net"] } else { &["--map-root-user", "--net"] };
    if !Command::new("unshare").args(flags).arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("this machine allows no network namespace: the test runs on its own interface");
        return Ok(None);
    }
    let script = format!(
        "ip link set lo up && ip link add scrim0 type veth peer name scrim1 && ip addr add {ADDRESS}/24 dev scrim0 \
         && ip link set scrim0 up && ip link set scrim1 up && exec \"$@\""
    );
    let output = Command::new("unshare")
        .args(flags)
        .args(["sh", "-c", &script, "sh"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .env(INSIDE, "1")
        .output()?;
    Ok(Some(output))
}

/// Where a server of these tests is reached, started or not.
///
/// # Errors
/// When this machine has no interface that media could go over.
pub fn url() -> Result<String> {
    Ok(format!("ws://{}:{PORT}", address()?))
}

/// The address that media can go over.
fn address() -> Result<Ipv4Addr> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(ADDRESS);
    }
    // Nothing is sent: connecting a datagram socket only picks the way out.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).context("this machine has no interface but loopback")?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => unreachable!("the socket is of IPv4"),
    }
}

/// LiveKit's client library, as set-up fetched it.
///
/// # Errors
/// When it has not.
pub fn library() -> Result<&'static Library> {
    Ok(Library::load(&scrim_toolchain::assets::path("liblivekit_ffi.so")?)?)
}

/// A server, until it is dropped.
pub struct Server {
    child: Child,
    folder: PathBuf,
    address: Ipv4Addr,
}

impl Server {
    /// # Errors
    /// When it does not start.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, "")
    }

    /// As [`Server::start`], with a webhook.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with_webhook(folder: &Path, url: &str) -> Result<Self> {
        Self::start_with(folder, &format!("webhook:\n  api_key: {KEY}\n  urls: [{url:?}]\n"))
    }

    fn start_with(folder: &Path, more: &str) -> Result<Self> {
        let address = address()?;
        let config = format!(
            "port: {PORT}\nbind_addresses: [\"127.0.0.1\", \"{address}\"]\nrtc:\n  tcp_port: 7881\n  udp_port: 7882\n  use_external_ip: false\n  \
             node_ip: {address}\nkeys:\n  {KEY}: {SECRET:?}\nlogging:\n  level: info\n{more}"
        );
        let path = folder.join("livekit.yaml");
        std::fs::write(&path, config)?;
        let server = Self { child: spawn(folder)?, folder: folder.to_owned(), address };
        server.listens()?;
        Ok(server)
    }

    fn listens(&self) -> Result<()> {
        let since = Instant::now();
        while TcpStream::connect_timeout(&SocketAddr::from((self.address, PORT)), Duration::from_secs(1)).is_err() {
            ensure!(since.elapsed() < START_MAX, "the server does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends it as a crash would, and starts it again: nobody is in its rooms.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(mut self) -> Result<Self> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(&self.folder)?;
        self.listens()?;
        Ok(self)
    }

    pub fn url(&self) -> String {
        format!("ws://{}:{PORT}", self.address)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("livekit.log")).unwrap_or_default()
    }
}

fn spawn(folder: &Path) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("livekit.log"))?;
    let program = scrim_toolchain::assets::folder()?.join("livekit-server");
    Command::new(&program)
        .arg("--config")
        .arg(folder.join("livekit.yaml"))
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{} cannot be started; `cargo xtask test` builds it", program.display()))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A token for a room.
///
/// # Errors
/// When it can't be signed.
pub fn token(room: &str, identity: &str, publishes: bool, subscribes: bool) -> Result<String> {
    let grants = VideoGrants {
        room_join: true,
        room: room.to_owned(),
        can_publish: Some(publishes),
        can_subscribe: Some(subscribes),
        ..VideoGrants::default()
    };
    Ok(AccessToken::with_api_key(KEY, SECRET).with_identity(identity).with_grants(grants).to_jwt()?)
}

/// A token with what a test makes of it.
///
/// # Errors
/// When it can't be signed.
pub fn token_with(room: &str, identity: &str, more: impl FnOnce(AccessToken) -> AccessToken) -> Result<String> {
    let grants = VideoGrants {
        room_join: true,
        room: room.to_owned(),
        can_publish: Some(true),
        can_subscribe: Some(true),
        can_publish_data: Some(true),
        ..VideoGrants::default()
    };
    Ok(more(AccessToken::with_api_key(KEY, SECRET).with_identity(identity).with_grants(grants)).to_jwt()?)
}

/// How long a test waits for what must come.
pub const SOON: Duration = Duration::from_secs(20);

/// Runs a test in a network of its own, against a server of its own.
///
/// # Errors
/// When it fails.
pub fn against_a_server<F: Future<Output = Result<()>>>(test: impl FnOnce(Server, &'static Library) -> F) -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (server, library) = (Server::start(folder.path())?, library()?);
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(test(server, library))
}

/// The first event of a room that is what is looked for.
///
/// # Errors
/// When the room is over before, or it does not come soon.
pub async fn wait_for<T>(room: &mut Room, what: &str, mut found: impl FnMut(Event) -> Option<T>) -> Result<T> {
    let first = async {
        while let Some(event) = room.next().await {
            if let Event::Over { reason } = &event {
                println!("the room is over: {reason}");
            }
            if let Some(found) = found(event) {
                return Ok(found);
            }
        }
        bail!("the room was over before {what}")
    };
    tokio::time::timeout(SOON, first).await.unwrap_or_else(|_| bail!("{what}: not within {SOON:?}"))
}
