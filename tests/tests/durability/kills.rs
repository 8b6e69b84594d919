//! A host is killed again and again while writers work; every write that it acknowledged is there when it comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use scrim_host::plugin::types::Slot;
use scrim_tests::guest::Guest;
use scrim_tests::served::Served;
use serde_json::{Value, json};

use super::{detection, face, log};

/// `SCRIM_KILLS=50` makes the long run.
const KILLS: usize = 8;
const WRITERS: usize = 4;
/// Each writer has a setting of its own of the room that all change.
const SHARED: &str = "shared";
const OWN: [&str; WRITERS] = ["hold_ms", "delay_ms", "color", "style"];

/// What one writer was told is done. The last write of a kind may have been done without an answer.
#[derive(Default)]
struct Ledger {
    /// Settings by room: acknowledged, and asked for after that.
    rooms: BTreeMap<String, (Value, Option<Value>)>,
    /// Text policies by room, likewise.
    policies: BTreeMap<String, (Value, Option<Value>)>,
    /// Reports by room: acknowledged, and asked for.
    reports: BTreeMap<String, (i64, i64)>,
    plugins: Vec<String>,
    shared: Option<(Value, Option<Value>)>,
    writes: usize,
    count: u64,
}

/// Asks for something; `None` if the host is gone.
fn ask(served: &Served, method: &str, path: &str, body: &Value) -> Result<Option<(u16, Value)>> {
    match served.json(method, path, body) {
        Ok(answer) => Ok(Some((answer.status, answer.json().unwrap_or_default()))),
        Err(_) => Ok(None),
    }
}

impl Ledger {
    /// One write after the other until the host is gone.
    fn write(&mut self, writer: usize, served: &Served, jpeg: &[u8], random: &mut fastrand::Rng) -> Result<()> {
        loop {
            self.count += 1;
            let room = self.rooms.keys().nth(random.usize(..self.rooms.len().max(1))).cloned();
            let went_on = match (random.u8(..12), room) {
                (0 | 1, _) | (_, None) => self.create(writer, served)?,
                (2..=4, Some(room)) => self.patch(served, room)?,
                (5..=6, _) => self.patch_shared(writer, served)?,
                (7..=8, Some(room)) => self.choose(served, room)?,
                (9..=10, Some(room)) => self.report(served, room, jpeg)?,
                (_, Some(_)) => self.upload(writer, served)?,
            };
            if !went_on {
                return Ok(());
            }
        }
    }

    fn create(&mut self, writer: usize, served: &Served) -> Result<bool> {
        let name = format!("w{writer}-{}", self.count);
        let Some((status, answer)) = ask(served, "POST", "/v1/rooms", &json!({ "name": name, "cover": ["FACE_*"] }))? else {
            return Ok(false);
        };
        ensure!(status == 201, "{answer}");
        self.rooms.insert(name, (json!({ "cover": ["FACE_*"] }), None));
        self.writes += 1;
        Ok(true)
    }

    fn patch(&mut self, served: &Served, room: String) -> Result<bool> {
        let settings = self.rooms.get_mut(&room).context("its own room")?;
        let mut wanted = settings.0.clone();
        wanted["hold_ms"] = (self.count % 60_000).into();
        settings.1 = Some(wanted.clone());
        let change = json!({ "hold_ms": wanted["hold_ms"] });
        let Some((status, answer)) = ask(served, "PATCH", &format!("/v1/rooms/{room}"), &change)? else { return Ok(false) };
        ensure!(status == 200 && answer["settings"] == wanted, "{status} {answer}, not {wanted}");
        *settings = (wanted, None);
        self.writes += 1;
        Ok(true)
    }

    /// All writers change one room, each its own setting: none takes another's back.
    fn patch_shared(&mut self, writer: usize, served: &Served) -> Result<bool> {
        let value: Value = match OWN[writer] {
            "hold_ms" => (self.count % 60_000).into(),
            "delay_ms" => (400 + self.count % 5000).into(),
            "color" => format!("#{:06x}", self.count % 0xff_ffff).into(),
            _ => ["solid", "pixelate", "blur"][self.count as usize % 3].into(),
        };
        let acknowledged = self.shared.take().map_or(Value::Null, |(acknowledged, _)| acknowledged);
        self.shared = Some((acknowledged, Some(value.clone())));
        let Some((status, answer)) = ask(served, "PATCH", &format!("/v1/rooms/{SHARED}"), &json!({ OWN[writer]: value }))? else {
            return Ok(false);
        };
        ensure!(status == 200 && answer["settings"][OWN[writer]] == value, "{status} {answer}, not {value}");
        self.shared = Some((value, None));
        self.writes += 1;
        Ok(true)
    }

    fn choose(&mut self, served: &Served, room: String) -> Result<bool> {
        let config = json!({ "deny": [format!("word{}", self.count)] });
        let policy = self.policies.entry(room.clone()).or_insert((Value::Null, None));
        policy.1 = Some(config.clone());
        let body = json!({ "plugin": "profanity-context@2.0.0", "config": config });
        let Some((status, answer)) = ask(served, "PUT", &format!("/v1/rooms/{room}/policy/text"), &body)? else { return Ok(false) };
        ensure!(status == 200 && answer["config"] == config, "{status} {answer}");
        *policy = (config, None);
        self.writes += 1;
        Ok(true)
    }

    fn report(&mut self, served: &Served, room: String, jpeg: &[u8]) -> Result<bool> {
        let Ok(Some(event)) = detection(served, &room, jpeg) else {
            // Gone, or too busy for a look in time: then the next write tells.
            return Ok(served.get("/ready").is_ok());
        };
        let (counted, asked) = self.reports.entry(room.clone()).or_default();
        *asked += 1;
        let body = json!({ "event_id": event, "correct": !self.count.is_multiple_of(3) });
        let Some((status, answer)) = ask(served, "POST", &format!("/v1/rooms/{room}/feedback"), &body)? else { return Ok(false) };
        ensure!(status == 200 && answer["counted"] == true, "{status} {answer}");
        *counted += 1;
        self.writes += 1;
        Ok(true)
    }

    fn upload(&mut self, writer: usize, served: &Served) -> Result<bool> {
        let slot = Slot::ALL[writer % 3];
        let guest = Guest::new(slot, &format!("1.{writer}.{}", self.count), 0.5);
        let component = guest.component()?;
        let Ok(answer) = served.send("POST", "/v1/plugins", &[("content-type", "application/wasm")], &component) else {
            return Ok(false);
        };
        let answer = answer.expect(201)?;
        self.plugins.push(answer["plugin"].as_str().context("a plugin has a name")?.to_owned());
        self.writes += 1;
        Ok(true)
    }

    /// Everything that was acknowledged is there. What was done without an answer becomes what is known.
    fn verify(&mut self, writer: usize, served: &Served) -> Result<()> {
        let get = |path: &str| served.get(path)?.expect(200).with_context(|| path.to_owned());
        let settle = |kept: &mut (Value, Option<Value>), found: Value, what: &str| {
            let (acknowledged, asked) = &*kept;
            ensure!(
                found == *acknowledged || Some(&found) == asked.as_ref(),
                "{what}: {found}, acknowledged {acknowledged}, asked {asked:?}"
            );
            *kept = (found, None);
            Ok(())
        };
        for (room, settings) in &mut self.rooms {
            settle(settings, get(&format!("/v1/rooms/{room}"))?["settings"].clone(), room)?;
        }
        for (room, policy) in &mut self.policies {
            let found = get(&format!("/v1/rooms/{room}/policy/text"))?;
            let own = if found["origin"] == "room" { found["config"].clone() } else { Value::Null };
            settle(policy, own, room)?;
        }
        for (room, (counted, asked)) in &mut self.reports {
            let found = get(&format!("/v1/rooms/{room}/report"))?["reports"].as_i64().unwrap_or_default();
            ensure!((*counted..=*asked).contains(&found), "{room}: {found} reports, {counted} acknowledged of {asked}");
            (*counted, *asked) = (found, found);
        }
        for plugin in &self.plugins {
            get(&format!("/v1/plugins/{plugin}"))?;
        }
        if let Some(shared) = &mut self.shared {
            settle(shared, get(&format!("/v1/rooms/{SHARED}"))?["settings"][OWN[writer]].clone(), OWN[writer])?;
        }
        Ok(())
    }
}

#[test]
fn what_was_acknowledged_survives_kills() -> Result<()> {
    let kills = std::env::var("SCRIM_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(KILLS);
    let (home, jpeg) = (tempfile::tempdir()?, face()?);
    let mut random = fastrand::Rng::with_seed(7);
    let mut ledgers: Vec<Ledger> = (0..WRITERS).map(|_| Ledger::default()).collect();
    for kill in 1..=kills {
        let served = Served::start(home.path(), "").with_context(|| format!("after kill {}: {}", kill - 1, log(home.path())))?;
        if kill == 1 {
            served.json("POST", "/v1/rooms", &json!({ "name": SHARED }))?.expect(201)?;
        }
        for (writer, ledger) in ledgers.iter_mut().enumerate() {
            ledger.verify(writer, &served).with_context(|| format!("writer {writer}, after kill {}", kill - 1))?;
        }
        let load = Duration::from_millis(random.u64(300..1200));
        let (pid, jpeg) = (served.pid(), &jpeg);
        std::thread::scope(|scope| -> Result<()> {
            let writers: Vec<_> = ledgers
                .iter_mut()
                .enumerate()
                .map(|(writer, ledger)| {
                    let (mut random, served) = (fastrand::Rng::with_seed((kill * WRITERS + writer) as u64), &served);
                    scope.spawn(move || ledger.write(writer, served, jpeg, &mut random))
                })
                .collect();
            std::thread::sleep(load);
            let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            for writer in writers {
                writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
            }
            ensure!(killed?.success(), "kill {pid}");
            Ok(())
        })
        .with_context(|| format!("under load, before kill {kill}: {}", log(home.path())))?;
        drop(served);
    }
    let served = Served::start(home.path(), "")?;
    for (writer, ledger) in ledgers.iter_mut().enumerate() {
        ledger.verify(writer, &served).with_context(|| format!("writer {writer}, after kill {kills}"))?;
    }
    let writes: usize = ledgers.iter().map(|ledger| ledger.writes).sum();
    let rooms: usize = ledgers.iter().map(|ledger| ledger.rooms.len()).sum();
    let reports: i64 = ledgers.iter().flat_map(|ledger| ledger.reports.values()).map(|(counted, _)| counted).sum();
    let plugins: usize = ledgers.iter().map(|ledger| ledger.plugins.len()).sum();
    println!("{kills} kills: {writes} acknowledged writes, all there; {rooms} rooms, {reports} reports, {plugins} plugins");
    ensure!(writes > kills * WRITERS, "{writes} writes are too few to tell");
    served.terminate(super::SOON)
}
