//! Two hosts before one LiveKit server: a room has one of them, and the other when that is gone; a host that is full gets no further room.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scrim_tests::faults::{BACK_MAX, token};
use scrim_tests::livekit::{SOON, Server, alone};
use scrim_tests::peer::{Peer, Watching};
use scrim_tests::portrait::{self, SIZE};
use scrim_tests::served::Served;
use serde_json::{Value, json};

const DISPATCH: &str = "[livekit]\ndispatch = true\n";
/// After the first broadcaster there is never a place for another. Nothing is looked for.
const SMALL: &str =
    "detectors = {}\n[policy.text]\nplugin = \"profanity-context@2.0.0\"\n[limits]\nload_percent = 1\n[livekit]\ndispatch = true\n";

/// A host that the server knows as a worker.
fn worker(folder: &Path, server: &Server, own: Option<&str>) -> Result<Served> {
    std::fs::create_dir_all(folder)?;
    let host = match own {
        Some(configuration) => Served::start_livekit_with(&[], folder, server, configuration)?,
        None => Served::start_livekit(folder, server, DISPATCH)?,
    };
    let since = Instant::now();
    while part(&host, "livekit-agent")?["ok"] != true {
        ensure!(since.elapsed() < SOON, "the host is no worker: {}", part(&host, "livekit-agent")?);
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(host)
}

/// A line of a host's `/health`.
fn part(host: &Served, name: &str) -> Result<Value> {
    let health = host.get("/health")?.json()?;
    health["parts"].get(name).cloned().with_context(|| format!("{name} in {health}"))
}

/// Where a host says that a room's broadcasters are attended.
fn whereabouts(host: &Served, room: &str) -> Result<String> {
    let audience = host.get(&format!("/v1/rooms/{room}/audience"))?.expect(200)?;
    Ok(audience["host"].as_str().with_context(|| format!("host in {audience}"))?.to_owned())
}

/// Waits until a host says so.
fn becomes(host: &Served, room: &str, wanted: &str) -> Result<()> {
    let since = Instant::now();
    while whereabouts(host, room)? != wanted {
        ensure!(since.elapsed() < SOON, "{room} is {}, not {wanted}", whereabouts(host, room)?);
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn live(host: &Served) -> Result<usize> {
    let room = host.get("/v1/rooms/studio")?.expect(200)?;
    Ok(room["live"].as_array().with_context(|| format!("live in {room}"))?.len())
}

#[test]
fn a_room_has_one_host_and_another_one_when_that_is_gone() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let folders = [folder.path().join("one"), folder.path().join("two")];
    let mut hosts = Vec::new();
    for folder in &folders {
        let host = worker(folder, &server, None)?;
        host.json("POST", "/v1/rooms", &json!({ "name": "studio", "cover": ["FACE_*"] }))?.expect(201)?;
        hosts.push(host);
    }
    let outcome = handed_over(&server, hosts);
    if outcome.is_err() {
        for folder in &folders {
            println!("{}:\n{}", folder.display(), std::fs::read_to_string(folder.join("serve.log")).unwrap_or_default());
        }
    }
    outcome
}

fn handed_over(server: &Server, mut hosts: Vec<Served>) -> Result<()> {
    let face = portrait::face(&portrait::picture(SIZE)?)?;
    ensure!(whereabouts(&hosts[0], "studio")? == "nowhere", "nobody has asked for a host yet");
    let broadcaster = token(&hosts[0], "Bob", "broadcaster")?;
    let mut viewer = Watching::new(Peer::watch(None, &server.url(), &token(&hosts[1], "Vera", "viewer")?, face)?);
    let broadcaster = Peer::broadcast(None, &server.url(), &broadcaster)?;
    let begin = Instant::now();
    viewer.look_until("the first pictures", BACK_MAX, |viewer| viewer.is_well(begin, SIZE.0))?;
    if whereabouts(&hosts[1], "studio")? == "here" {
        hosts.swap(0, 1);
    }
    let (second, first) = (hosts.pop().context("two hosts")?, hosts.pop().context("two hosts")?);
    becomes(&first, "studio", "here")?;
    becomes(&second, "studio", "elsewhere")?;
    ensure!(live(&first)? > 0 && live(&second)? == 0, "one host attends the broadcaster, the other does not");
    let mute = json!({ "identity": "broadcaster~0", "from": 1, "to": 2 });
    let refused = second.json("POST", "/v1/rooms/studio/mute", &mute)?.expect(404)?;
    ensure!(refused["detail"].as_str().is_some_and(|detail| detail.contains("another host has it")), "{refused}");

    // The server moves nothing when a worker dies: the other host notices when the agent is gone.
    let folder = first.data_dir.clone();
    first.kill()?;
    let died = Instant::now();
    let back = viewer.look_until("the room's other host", BACK_MAX, |viewer| viewer.is_well(died + Duration::from_secs(5), SIZE.0))?;
    println!("the other host has the room {back:?} after the first died");
    becomes(&second, "studio", "here")?;

    // A host that drains hands over at once.
    let first = worker(&folder, server, None)?;
    becomes(&first, "studio", "elsewhere")?;
    let told = Instant::now();
    second.terminate(Duration::from_secs(20))?;
    let gone = told.elapsed();
    let since = Instant::now();
    let back = viewer.look_until("the first host again", BACK_MAX, |viewer| viewer.is_well(since, SIZE.0))?;
    println!("the host has drained after {gone:?}; covered pictures of the next are there {back:?} later");
    becomes(&first, "studio", "here")?;
    drop(broadcaster);
    first.terminate(Duration::from_secs(20))
}

#[test]
fn a_full_host_gets_no_further_room_and_where_all_are_full_nobody_gets_a_token() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let [one, two] = [worker(&folder.path().join("one"), &server, Some(SMALL))?, worker(&folder.path().join("two"), &server, Some(SMALL))?];
    for host in [&one, &two] {
        for room in ["red", "green", "blue"] {
            host.json("POST", "/v1/rooms", &json!({ "name": room }))?.expect(201)?;
        }
    }
    let ask = |host: &Served, room: &str, name: &str| {
        host.json("POST", &format!("/v1/rooms/{room}/tokens"), &json!({ "name": name, "role": "broadcaster" }))
    };
    // Each is asked of the same host, and each host takes one: a place is kept for whoever has a token.
    let places = |room: &str| Ok::<_, anyhow::Error>([whereabouts(&one, room)?, whereabouts(&two, room)?]);
    let mut had = Vec::new();
    for room in ["red", "green"] {
        ask(&one, room, "Ann")?.expect(201)?;
        let since = Instant::now();
        let at = loop {
            match places(room)? {
                [at_one, at_two] if at_one == "here" && at_two == "elsewhere" => break 1,
                [at_one, at_two] if at_one == "elsewhere" && at_two == "here" => break 2,
                others => ensure!(since.elapsed() < SOON, "{room} is at {others:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        had.push(at);
    }
    had.sort_unstable();
    println!("the hosts of two rooms: {had:?}");
    // Each has kept a place for whom it was asked for, who has 10 s to come.
    ensure!(had == [1, 2], "a full host was given a second room");
    let refused = ask(&two, "blue", "Cid")?.expect(503)?;
    ensure!(refused["detail"].as_str().is_some_and(|detail| detail.contains("no host has taken it")), "{refused}");
    Ok(())
}
