//! Disks that are full or read-only, and files that are damaged: at the start a clear refusal, at run time streams that stay covered.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scrim_host::media::wire::Format;
use scrim_host::plugin::types::Slot;
use scrim_tests::coverage::variants::{self, Variant};
use scrim_tests::guest::Guest;
use scrim_tests::publisher::{Clip, Publisher};
use scrim_tests::served::{Served, add_plugins};
use scrim_tests::watched::Watched;
use serde_json::{Value, json};

use super::{SOON, detection, face, wait};

/// More than any of these tests needs, and little to fill.
const DISK: &str = "size=192m";

fn quietly(program: &str, words: &[&str]) -> bool {
    Command::new(program).args(words).stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A file system of its own, for as long as it lives. Only root may.
struct Mount(PathBuf);

impl Mount {
    fn make(folder: &Path) -> Option<Self> {
        quietly("mount", &["-t", "tmpfs", "-o", DISK, "tmpfs", &folder.to_string_lossy()]).then(|| Self(folder.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        quietly("umount", &["-l", &self.0.to_string_lossy()]);
    }
}

/// A room whose stream is watched throughout a fault.
struct Watch<'a> {
    served: &'a Served,
    clip: Arc<Clip>,
    publisher: Publisher,
    watched: Watched,
}

impl<'a> Watch<'a> {
    fn begin(served: &'a Served) -> Result<Self> {
        let frames = variants::frames(&scrim_toolchain::assets::path("carphone.mp4")?, Variant::Plain, 4.0)?;
        let clip = Arc::new(Clip::with_faces(frames, Format::Jpeg)?);
        served.json("POST", "/v1/rooms", &json!({ "name": "studio", "cover": ["FACE_*"] }))?.expect(201)?;
        let publisher = Publisher::connect(served, "studio", "", 0)?;
        publisher.play(&clip, 30.0);
        let mut watch = Self { served, clip, publisher, watched: Watched::from(0) };
        watch.goes_on("before the fault")?;
        Ok(watch)
    }

    /// For a second and a half frames come, covered.
    fn goes_on(&mut self, when: &str) -> Result<()> {
        let before = self.watched.clone();
        let since = Instant::now();
        while self.watched.frames < before.frames + 45 {
            ensure!(since.elapsed() < SOON, "{when}: no frames come");
            std::thread::sleep(Duration::from_millis(50));
            self.watched.see_all(&self.publisher, &self.clip)?;
        }
        let Watched { exposed, repeated, shows_through, passed_unjudged, .. } = self.watched;
        ensure!((exposed, repeated, shows_through, passed_unjudged) == (0, 0, 0, 0), "{when}: {:?}", self.watched);
        ensure!(self.watched.face_frames > before.face_frames, "{when}: the clip shows a face");
        ensure!(self.watched.lost == self.publisher.heard().dropped(), "{when}: frames lost without a word: {:?}", self.watched);
        Ok(())
    }

    /// Writes of every kind, their answers; the first is repeated until the disk takes no more.
    fn writes_fail(&self, event: &Value) -> Result<()> {
        let served = self.served;
        let wide = "x".repeat(40);
        for number in 0.. {
            let config = json!({ "deny": (0..100).map(|word| format!("{wide}{number}-{word}")).collect::<Vec<_>>() });
            let body = json!({ "plugin": "profanity-context@2.0.0", "config": config });
            let answer = served.json("PUT", "/v1/rooms/studio/policy/text", &body)?;
            if answer.status == 503 {
                let said = answer.json()?;
                ensure!(said["detail"].as_str().is_some_and(|detail| detail.contains("store")), "{said}");
                ensure!(answer.header("retry-after").is_some());
                break;
            }
            ensure!(answer.status == 200 && number < 3000, "{}: {:?}", answer.status, answer.json());
        }
        let mut told = Vec::new();
        for (method, path, body) in [
            ("PATCH", "/v1/rooms/studio", json!({ "hold_ms": 900 })),
            ("POST", "/v1/rooms", json!({ "name": "attic" })),
            ("POST", "/v1/rooms/studio/feedback", json!({ "event_id": event, "correct": false })),
        ] {
            let answer = served.json(method, path, &body)?;
            told.push((path, answer.status));
            ensure!(answer.status == 503, "{method} {path}: {} {:?}", answer.status, answer.json());
        }
        // What was not kept is not in force.
        let room = served.get("/v1/rooms/studio")?.expect(200)?;
        ensure!(room["effective"]["hold_ms"] == 800, "{room}");
        ensure!(served.get("/v1/rooms/attic")?.status == 404);
        println!("writes are refused: {told:?}");
        Ok(())
    }

    fn writes_work(&self, event: &Value) -> Result<()> {
        let served = self.served;
        served.json("PATCH", "/v1/rooms/studio", &json!({ "hold_ms": 900 }))?.expect(200)?;
        served.json("POST", "/v1/rooms", &json!({ "name": "attic" }))?.expect(201)?;
        let body = json!({ "plugin": "profanity-context@2.0.0", "config": { "deny": ["pineapple"] } });
        served.json("PUT", "/v1/rooms/studio/policy/text", &body)?.expect(200)?;
        let report = served.json("POST", "/v1/rooms/studio/feedback", &json!({ "event_id": event, "correct": false }))?.expect(200)?;
        ensure!(report["counted"] == true, "it was not journalled during the fault: {report}");
        let guest = Guest::new(Slot::Text, "1.2.3", 0.5).component()?;
        served.send("POST", "/v1/plugins", &[("content-type", "application/wasm")], &guest)?.expect(201).map(drop)
    }

    /// From before a fault to after it.
    fn through(mut self, fault: impl FnOnce() -> Result<()>, remedy: impl FnOnce() -> Result<()>) -> Result<()> {
        let jpeg = face()?;
        let event = detection(self.served, "studio", &jpeg)?.context("the picture shows a face")?;
        let taken = wait(self.served, "/v1/rooms/studio/events?limit=1000", "the event is kept", |_, page| {
            page.to_string().contains(event.as_str().unwrap_or("?"))
        });
        taken?;
        fault()?;
        self.writes_fail(&event)?;
        let health =
            wait(self.served, "/health", "it is degraded", |status, health| status == 503 && health["parts"]["store"]["ok"] == false)?;
        let why = health["parts"]["store"]["detail"].as_str().unwrap_or_default().to_owned();
        println!("health: {why}");
        ensure!(why.len() > 20, "{health}");
        ensure!(self.served.get("/ready")?.status == 200, "rooms are served");
        self.goes_on("during the fault")?;
        remedy()?;
        wait(self.served, "/health", "it is well again", |_, health| health["parts"]["store"]["ok"] == true)?;
        self.writes_work(&event)?;
        self.goes_on("after the fault")
    }
}

/// Writes until nothing more fits.
fn fill(file: &Path) -> Result<()> {
    let mut ballast = std::fs::File::create(file)?;
    for size in [1 << 20, 4096, 1] {
        let block = vec![1; size];
        while std::io::Write::write_all(&mut ballast, &block).is_ok() {}
    }
    Ok(())
}

#[test]
fn a_full_disk_refuses_writes_and_uncovers_nothing() -> Result<()> {
    let home = tempfile::tempdir()?;
    let disk = home.path().join("disk");
    std::fs::create_dir(&disk)?;
    let Some(_mount) = Mount::make(&disk) else {
        println!("no file system may be mounted here: the quota's test is all there is");
        return Ok(());
    };
    let served = Served::start(&disk, "")?;
    let ballast = disk.join("ballast");
    Watch::begin(&served)?.through(|| fill(&ballast), || Ok(std::fs::remove_file(&ballast)?))?;
    served.terminate(SOON)
}

#[test]
fn a_quota_refuses_writes_and_uncovers_nothing() -> Result<()> {
    let home = tempfile::tempdir()?;
    // A process that is told of its quota by a signal would end of it.
    let served = Served::start_under(&["env", "--ignore-signal=XFSZ"], home.path(), "")?;
    let limit = |bytes: &str| {
        ensure!(quietly("prlimit", &["--pid", &served.pid().to_string(), &format!("--fsize={bytes}:unlimited")]), "prlimit");
        Ok(())
    };
    Watch::begin(&served)?.through(|| limit("16384"), || limit("unlimited"))?;
    served.terminate(SOON)
}

#[test]
fn a_read_only_file_refuses_writes_and_uncovers_nothing() -> Result<()> {
    let home = tempfile::tempdir()?;
    let served = Served::start(home.path(), "")?;
    let files = ["scrim.db", "scrim.db-wal"].map(|name| home.path().join(name).to_string_lossy().into_owned());
    let mark = |flag: &str| files.iter().all(|file| quietly("chattr", &[flag, file]));
    if mark("+i") && mark("-i") {
        let marked = |flag: &'static str| {
            ensure!(mark(flag), "chattr {flag}");
            Ok(())
        };
        Watch::begin(&served)?.through(|| marked("+i"), || marked("-i"))?;
    } else {
        println!("a file that is open cannot be made read-only here: only the start is tried");
    }
    served.terminate(SOON)?;

    // At the start: refused, and the file is as it was.
    let database = home.path().join("scrim.db");
    let mut permissions = std::fs::metadata(&database)?.permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&database, permissions)?;
    let why = refused(home.path())?;
    ensure!(why.contains("read-only") && why.contains("writable"), "{why}");
    Ok(())
}

/// Starts it, which must fail with a reason that names the file, and leave the file alone.
fn refused(data_dir: &Path) -> Result<String> {
    let database = data_dir.join("scrim.db");
    let before = std::fs::read(&database)?;
    let why = match Served::start(data_dir, "") {
        Ok(_) => anyhow::bail!("it starts"),
        Err(error) => error.to_string(),
    };
    println!("refused: {why}");
    ensure!(std::fs::read(&database)? == before, "the file was changed");
    ensure!(why.contains("exit status") && !why.contains("exit status: 0"), "{why}");
    ensure!(why.contains("scrim.db"), "it does not name the file: {why}");
    Ok(why)
}

#[test]
fn a_damaged_file_is_refused_at_the_start_and_uncovers_nothing_at_run_time() -> Result<()> {
    let home = tempfile::tempdir()?;
    let database = home.path().join("scrim.db");
    let served = Served::start(home.path(), "")?;
    for number in 0..40 {
        served.json("POST", "/v1/rooms", &json!({ "name": format!("room-{number}") }))?.expect(201)?;
    }
    served.terminate(SOON)?;
    let served = Served::start(home.path(), "")?;
    let mut watch = Watch::begin(&served)?;
    // All but the first page, as a disk that fails would leave it. What is in memory may still serve.
    let sound = std::fs::read(&database)?;
    let mut damaged = sound.clone();
    damaged.iter_mut().skip(4096).for_each(|byte| *byte = 0xa5);
    overwrite(&database, &damaged)?;
    let mut answers = std::collections::BTreeMap::<u16, usize>::new();
    for number in 0..60 {
        for (method, path, body) in [
            ("GET", format!("/v1/rooms/room-{}/sessions", number % 40), Value::Null),
            ("GET", format!("/v1/rooms/room-{}/report", number % 40), Value::Null),
            ("PATCH", format!("/v1/rooms/room-{}", number % 40), json!({ "hold_ms": number })),
            ("POST", "/v1/rooms".to_owned(), json!({ "name": format!("late-{number}") })),
        ] {
            let answer = if method == "GET" { served.get(&path)? } else { served.json(method, &path, &body)? };
            let fits = matches!(answer.status, 200 | 201 | 503);
            ensure!(fits, "{method} {path}: {} {:?}", answer.status, answer.json());
            *answers.entry(answer.status).or_default() += 1;
        }
    }
    println!("with a damaged file: {answers:?}");
    watch.goes_on("with a damaged file")?;
    drop(watch);
    served.kill()?;

    overwrite(&database, &damaged)?;
    // The log's sound pages would be taken for the file's.
    for beside in ["scrim.db-wal", "scrim.db-shm"] {
        std::fs::remove_file(home.path().join(beside)).ok();
    }
    let why = refused(home.path())?;
    ensure!(why.contains("put a copy back"), "{why}");
    // As it says: a copy is put back.
    std::fs::write(&database, &sound)?;
    let served = Served::start(home.path(), "")?;
    served.get("/v1/rooms/room-7")?.expect(200)?;
    served.json("POST", "/v1/rooms", &json!({ "name": "fresh" }))?.expect(201)?;
    served.terminate(SOON)
}

/// In place, so that whoever has the file open sees it.
fn overwrite(file: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = std::fs::File::options().write(true).open(file)?;
    Ok(std::io::Write::write_all(&mut file, bytes)?)
}

#[test]
fn a_file_that_is_no_store_is_refused() -> Result<()> {
    let home = tempfile::tempdir()?;
    add_plugins(home.path())?;
    std::fs::write(home.path().join("scrim.db"), "not a database, but long enough to be taken for one. ".repeat(100))?;
    let why = refused(home.path())?;
    ensure!(why.contains("database"), "{why}");
    Ok(())
}
