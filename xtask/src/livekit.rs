//! `cargo xtask demo --livekit`: a LiveKit server of the demo's own, or the one that the environment names; the host that moderates its room;
//! and the addresses of the two pages. Ctrl-C lets the host drain, and then ends the server.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_toolchain::{assets, clip};
use tokio::process::{Child, Command};

use crate::run::{built, root};

/// Where the demo's server listens: signals, media over TCP, media over UDP.
const PORTS: [u16; 3] = [7880, 7881, 7882];
/// What names a server that is there already.
const VARIABLES: [&str; 3] = ["LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"];
const START_MAX: Duration = Duration::from_secs(30);
/// The host's own drain ends before.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// The server whose room is moderated.
pub enum Server {
    /// The demo starts it: the address that media goes over, and an API key and secret for this run alone.
    Own { address: Ipv4Addr, key: String, secret: String },
    /// It is there already; the host reads the same variables.
    Given { url: String },
}

impl Server {
    /// Found out before minutes of set-up.
    ///
    /// # Errors
    /// When the environment names half a server, or there is no way for media or no port for one of the demo's own.
    pub fn choose(address: Option<Ipv4Addr>) -> Result<Self> {
        let set = VARIABLES.map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        match set {
            [Some(url), Some(_), Some(_)] => return Ok(Self::Given { url }),
            [None, None, None] => {}
            _ => {
                let missing: Vec<&str> =
                    VARIABLES.into_iter().zip(&set).filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
                bail!("a LiveKit server is named by {} together: set {} too, or none of them", VARIABLES.join(", "), missing.join(" and "));
            }
        }
        let address = address.map_or_else(way_out, Ok)?;
        for port in PORTS {
            std::net::TcpListener::bind((address, port)).map(drop).with_context(|| {
                format!(
                    "{address}:{port} cannot be listened on, which the demo's LiveKit server needs; end what listens there, or name a server \
                     that is there already by {}",
                    VARIABLES.join(", ")
                )
            })?;
        }
        Ok(Self::Own { address, key: format!("demo-{}", random(4)?), secret: random(32)? })
    }

    /// As `[livekit]` of the host's configuration.
    pub fn settings(&self) -> String {
        match self {
            // Browsers of this machine alone reach the pages; the server hears them on loopback, and media finds the other address by itself.
            Self::Own { .. } => format!("[livekit]\nurl = \"ws://127.0.0.1:{}\"\n", PORTS[0]),
            Self::Given { .. } => String::new(),
        }
    }
}

/// An address that others would reach this machine by: WebRTC gathers no candidates on loopback.
fn way_out() -> Result<Ipv4Addr> {
    const NONE: &str = "media needs a network interface besides loopback, and none was found: name its IPv4 address with `--address`, or make one: \
                        ip link add scrim0 type veth peer name scrim1 && ip addr add 10.77.0.1/24 dev scrim0 && ip link set scrim0 up && \
                        ip link set scrim1 up, and `--address 10.77.0.1`";
    // Nothing is sent: connecting a datagram socket only picks the way out.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context(NONE)?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).context(NONE)?;
    match socket.local_addr().context(NONE)?.ip() {
        IpAddr::V4(address) if !address.is_loopback() => Ok(address),
        _ => bail!(NONE),
    }
}

fn random(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no randomness for a secret: {error}"))?;
    Ok(random.iter().fold(String::new(), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Runs the server, if it is the demo's own, and the host until either ends or the user says so.
///
/// # Errors
/// When one of them does not start, or ends by itself.
pub fn serve(server: &Server, data: &Path, config: &Path, clip: &Path, page: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime does not start")?;
    runtime.block_on(run(server, data, config, clip, page))
}

async fn run(server: &Server, data: &Path, config: &Path, clip: &Path, page: SocketAddr) -> Result<()> {
    let mut stop = std::pin::pin!(stop_signal()?);
    let mut host = Command::from(built("scrim"));
    host.arg("serve").arg("--broadcast-clip").arg(clip).arg("--config").arg(config).current_dir(root());
    host.env("PATH", clip::program_path()?).kill_on_drop(true);
    let (mut own, url) = match server {
        Server::Own { address, key, secret } => {
            host.envs([("LIVEKIT_API_KEY", key), ("LIVEKIT_API_SECRET", secret)]);
            (Some(start(data, *address, key, secret, page)?), format!("ws://127.0.0.1:{}", PORTS[0]))
        }
        Server::Given { url } => (None, url.clone()),
    };
    let mut host = apart(&mut host).spawn().context("the host could not be started")?;
    println!("broadcast  http://{page}/broadcast  (a camera, a screen, a microphone; where there is none, the demo's clip)");
    println!("watch      http://{page}/watch");
    println!("policies   http://{page}/?room=demo");
    println!("LiveKit    {url}");
    match server {
        Server::Own { .. } => println!("logs       the host's below, LiveKit's in {}", data.join("livekit.log").display()),
        Server::Given { .. } => println!("webhook    put http://{page}/livekit/webhook, by a way that server has, into its webhook.urls"),
    }
    println!("Ctrl-C drains and ends it.");
    let gone = async |own: &mut Option<Child>| match own {
        Some(own) => own.wait().await,
        None => std::future::pending().await,
    };
    let ended = tokio::select! {
        () = &mut stop => None,
        status = host.wait() => Some(("the host", status)),
        status = gone(&mut own) => Some(("the LiveKit server", status)),
    };
    // The host first: what was captured still has a way out.
    let drained = drain(&mut host).await;
    if let Some(own) = &mut own {
        // It may have ended.
        let _ = own.start_kill();
        let _ = own.wait().await;
    }
    match ended {
        Some((who, status)) => bail!("{who} ended by itself with {}", status.context("its status is not known")?),
        None => {
            let status = drained?;
            ensure!(status.success(), "the host ended with {status}");
            Ok(())
        }
    }
}

fn start(data: &Path, address: Ipv4Addr, key: &str, secret: &str, page: SocketAddr) -> Result<Child> {
    let [signals, tcp, udp] = PORTS;
    let text = format!(
        "port: {signals}\nbind_addresses: [\"127.0.0.1\", \"{address}\"]\n\
         rtc:\n  tcp_port: {tcp}\n  udp_port: {udp}\n  use_external_ip: false\n  node_ip: {address}\n\
         keys:\n  {key}: {secret}\n\
         webhook:\n  api_key: {key}\n  urls: [\"http://{page}/livekit/webhook\"]\n\
         logging:\n  level: info\n"
    );
    let file = data.join("livekit.yaml");
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    let path = data.join("livekit.log");
    let log = std::fs::File::create(&path).with_context(|| format!("writing {}", path.display()))?;
    let program = assets::folder()?.join(assets::LIVEKIT_SERVER);
    let mut command = Command::new(&program);
    command.arg("--config").arg(&file).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    let mut child = apart(&mut command).spawn().with_context(|| format!("{} could not be started", program.display()))?;
    let since = Instant::now();
    while TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, signals)), Duration::from_secs(1)).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("the LiveKit server ended with {status}; {} says why", path.display());
        }
        ensure!(since.elapsed() < START_MAX, "the LiveKit server does not listen after {START_MAX:?}; {} says why", path.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(child)
}

/// Out of the terminal's reach, so that Ctrl-C ends the two in their order.
fn apart(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null());
    #[cfg(unix)]
    command.process_group(0);
    command
}

async fn drain(host: &mut Child) -> Result<ExitStatus> {
    if let Some(status) = host.try_wait()? {
        return Ok(status);
    }
    #[cfg(unix)]
    if let Some(process) = host.id() {
        Command::new("kill").args(["-TERM", &process.to_string()]).status().await.context("`kill` could not be run")?;
        match tokio::time::timeout(DRAIN_MAX, host.wait()).await {
            Ok(status) => return Ok(status?),
            Err(_) => eprintln!("the host did not drain within {DRAIN_MAX:?}"),
        }
    }
    host.start_kill()?;
    Ok(host.wait().await?)
}

/// Resolves at Ctrl-C, and at what else ends a program politely.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let hear = |kind| signal(kind).context("signals cannot be heard");
        let (mut interrupt, mut terminate) = (hear(SignalKind::interrupt())?, hear(SignalKind::terminate())?);
        let mut hangup = hear(SignalKind::hangup())?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        // Where it can't be heard it ends this process by itself.
        let _ = tokio::signal::ctrl_c().await;
    })
}
