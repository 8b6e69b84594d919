//! Several machines on one: network namespaces beside the one that a test runs in, joined by wires that can be cut.
//!
//! ```text
//! here: the test and the host ── wire ──► a hub with LiveKit's server ◄── wire ── broadcaster, viewer, each in a place of its own
//! ```
//! A wire that is cut loses every packet, either way, and tells nobody: both ends send to a hardware address that nobody has, which needs no
//! module of the kernel. What always holds: nothing leaves the namespaces, and a place goes with its last process.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::livekit;

/// Nobody's.
const NOWHERE: &str = "02:77:00:00:00:ff";
const START_MAX: Duration = Duration::from_secs(10);

/// A network namespace; there is one for as long as this lives.
pub struct Place {
    holder: Child,
}

impl Place {
    /// One that is joined to nothing.
    ///
    /// # Errors
    /// When the machine allows none.
    pub fn new() -> Result<Arc<Self>> {
        ensure!(
            livekit::is_alone(),
            "networks can only be cut in network namespaces, and this machine allows none: run it as root, or allow user namespaces"
        );
        let own = std::fs::read_link("/proc/self/ns/net")?;
        let holder = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().context("`unshare` could not be run")?;
        let place = Self { holder };
        let (since, its) = (Instant::now(), format!("/proc/{}/ns/net", place.holder.id()));
        while std::fs::read_link(&its).is_ok_and(|namespace| namespace == own) {
            ensure!(since.elapsed() < START_MAX, "no network namespace within {START_MAX:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        execute(place.command("ip".as_ref()).args(["link", "set", "lo", "up"]))?;
        Ok(Arc::new(place))
    }

    /// A program that is to run there.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg(program);
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Between the hub and a place.
pub struct Wire {
    hub: Arc<Place>,
    /// None: here.
    place: Option<Arc<Place>>,
    number: u8,
}

/// An end of a wire: the hub's, or the place's.
#[derive(Clone, Copy)]
enum End {
    Hub,
    Place,
}

impl Wire {
    /// Joins a place, or where the test itself is, to the hub by a wire of this number. The hub is reached under the server's address from
    /// each place; number 0 is the one of here.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn between(hub: &Arc<Place>, place: Option<Arc<Place>>, number: u8) -> Result<Self> {
        let wire = Self { hub: hub.clone(), place, number };
        if wire.place.is_none() {
            // The test's own interface has the server's address.
            execute(Command::new("ip").args(["link", "del", livekit::OWN]))?;
        }
        let (near, far) = (wire.device(End::Hub), wire.device(End::Place));
        let ends =
            [&near, "address", &wire.hardware(End::Hub), "type", "veth", "peer", "name", &far, "address", &wire.hardware(End::Place)];
        execute(Command::new("ip").args(["link", "add"]).args(ends))?;
        execute(Command::new("ip").args(["link", "set", &near, "netns", &wire.hub.holder.id().to_string()]))?;
        if let Some(place) = &wire.place {
            execute(Command::new("ip").args(["link", "set", &far, "netns", &place.holder.id().to_string()]))?;
        }
        for end in [End::Hub, End::Place] {
            wire.ip(end, &["addr", "add", &format!("{}/24", wire.address(end)), "dev", &wire.device(end)])?;
            wire.ip(end, &["link", "set", &wire.device(end), "up"])?;
        }
        wire.mend()?;
        wire.ip(End::Place, &["route", "add", "10.77.0.0/16", "via", &wire.address(End::Hub)])?;
        Ok(wire)
    }

    /// From now on it loses everything.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn cut(&self) -> Result<()> {
        self.leads_to(|_| NOWHERE.to_owned())
    }

    /// It carries everything again.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn mend(&self) -> Result<()> {
        self.leads_to(|end| self.hardware(end))
    }

    fn leads_to(&self, hardware: impl Fn(End) -> String) -> Result<()> {
        for (end, other) in [(End::Hub, End::Place), (End::Place, End::Hub)] {
            let words =
                ["neigh", "replace", &self.address(other), "lladdr", &hardware(other), "dev", &self.device(end), "nud", "permanent"];
            self.ip(end, &words)?;
        }
        Ok(())
    }

    fn device(&self, end: End) -> String {
        match end {
            End::Hub => format!("hub{}", self.number),
            End::Place => format!("place{}", self.number),
        }
    }

    fn address(&self, end: End) -> String {
        match end {
            End::Hub => format!("10.77.{}.1", self.number),
            End::Place => format!("10.77.{}.2", self.number),
        }
    }

    fn hardware(&self, end: End) -> String {
        match end {
            End::Hub => format!("02:77:00:00:{:02x}:01", self.number),
            End::Place => format!("02:77:00:00:{:02x}:02", self.number),
        }
    }

    fn ip(&self, end: End, words: &[&str]) -> Result<()> {
        let place = match end {
            End::Hub => Some(&self.hub),
            End::Place => self.place.as_ref(),
        };
        execute(place.map_or_else(|| Command::new("ip"), |place| place.command("ip".as_ref())).args(words))
    }
}

fn execute(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} could not be run"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
