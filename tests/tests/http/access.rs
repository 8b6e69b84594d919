//! Who may call: `Host`, `Origin`, keys and roles, and the id that every request has.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use scrim_tests::served::{Answer, Served, add_plugins, binary, configuration};
use serde_json::{Value, json};

use super::shared::{Shared, problem, raw, room, scrim, start, text};

static HOST: Shared = Shared::new();

/// A request with these header lines and no body.
fn ask(host: &Served, method: &str, path: &str, headers: &str) -> Result<Answer> {
    raw(host, &format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n"), &[])
}

const UPGRADE: &str =
    "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn upgrade(host: &Served, path: &str, headers: &str) -> Result<Answer> {
    raw(host, &format!("GET {path} HTTP/1.1\r\n{UPGRADE}{headers}\r\n"), &[])
}

#[test]
fn only_its_own_names_and_pages_reach_the_host() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "private", json!({}))?;
    let (address, port) = (host.address.clone(), host.address.rsplit(':').next().context("a port")?.to_owned());
    let paths = ["/v1/rooms", "/health", "/metrics", "/", "/openapi.json", "/nothing"];
    for headers in ["host: evil.example\r\n".to_owned(), format!("host: evil.example:{port}\r\n"), "host: 127.0.0.1\r\n".to_owned()] {
        for path in paths {
            problem(ask(&host, "GET", path, &headers)?, 403).with_context(|| format!("{path} with {headers}"))?;
        }
        problem(upgrade(&host, "/v1/rooms/private/stream", &headers)?, 403)?;
    }
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", &format!("ftp://{address}")] {
        let headers = format!("host: {address}\r\norigin: {origin}\r\n");
        for path in paths {
            problem(ask(&host, "GET", path, &headers)?, 403).with_context(|| format!("{path} with {headers}"))?;
        }
        problem(ask(&host, "DELETE", "/v1/rooms/private", &headers)?, 403)?;
        problem(upgrade(&host, "/v1/rooms/private/stream?watch=true", &headers)?, 403)?;
        problem(upgrade(&host, "/v1/rooms/private/stream", &headers)?, 403)?;
    }
    for headers in [format!("host: LOCALHOST:{port}\r\n"), format!("host: {address}\r\norigin: http://localhost:{port}\r\n")] {
        ensure!(ask(&host, "GET", "/v1/rooms", &headers)?.status == 200, "{headers}");
        ensure!(upgrade(&host, "/v1/rooms/private/stream?watch=true", &headers)?.status == 101, "{headers}");
    }
    host.get("/v1/rooms/private")?.expect(200)?;
    Ok(())
}

#[test]
fn pages_of_allowed_origins_may_call_and_read() -> Result<()> {
    let host = start("[serve]\nallowed_origins = [\"https://console.example\"]\nallowed_hosts = [\"scrim.example\"]\n")?;
    let address = &host.address;
    let preflight = "access-control-request-method: PATCH\r\naccess-control-request-headers: if-match,content-type\r\n";
    let answer = ask(&host, "OPTIONS", "/v1/rooms/x", &format!("host: {address}\r\norigin: https://console.example\r\n{preflight}"))?;
    ensure!(answer.status == 200 && answer.header("access-control-allow-origin") == Some("https://console.example"), "{answer:?}");
    let allowed = |name: &str| answer.header(name).unwrap_or_default().to_ascii_lowercase();
    ensure!(allowed("access-control-allow-methods").contains("patch"), "{answer:?}");
    for header in ["authorization", "content-type", "if-match", "last-event-id"] {
        ensure!(allowed("access-control-allow-headers").contains(header), "{header}: {answer:?}");
    }
    let answer = ask(&host, "GET", "/v1/rooms", "host: scrim.example\r\norigin: https://console.example\r\n")?;
    ensure!(answer.status == 200 && answer.header("access-control-allow-origin") == Some("https://console.example"), "{answer:?}");
    let exposed = answer.header("access-control-expose-headers").unwrap_or_default().to_ascii_lowercase();
    ensure!(["etag", "x-scrim-verdict", "x-request-id"].iter().all(|header| exposed.contains(header)), "{answer:?}");
    // No other origin is told that it may, not even in the refusal.
    for origin in ["https://console.example.evil", "http://console.example", "https://evil.example"] {
        let headers = format!("host: {address}\r\norigin: {origin}\r\n");
        for answer in [ask(&host, "OPTIONS", "/v1/rooms/x", &format!("{headers}{preflight}"))?, ask(&host, "GET", "/v1/rooms", &headers)?] {
            ensure!(answer.status == 403 && answer.header("access-control-allow-origin").is_none(), "{origin}: {answer:?}");
        }
    }
    Ok(())
}

/// A new key and its line.
fn key(name: &str, role: &str) -> Result<(String, String)> {
    let output = text(&scrim(&["key", name, role])?.stdout);
    let after = |word: &str| output.lines().find_map(|line| line.strip_prefix(word)).map(|rest| rest.trim().to_owned());
    Ok((after("key ").context("a key")?, after("line ").context("a line")?))
}

/// What each operation takes, held against the document: a route that is new has to be added here.
const ROLES: [(&str, &str, &str); 40] = [
    ("get", "/v1/rooms", "viewer"),
    ("post", "/v1/rooms", "admin"),
    ("get", "/v1/rooms/{room}", "viewer"),
    ("patch", "/v1/rooms/{room}", "operator"),
    ("delete", "/v1/rooms/{room}", "admin"),
    ("get", "/v1/rooms/{room}/sessions", "viewer"),
    ("get", "/v1/rooms/{room}/report", "viewer"),
    ("get", "/v1/rooms/{room}/events", "viewer"),
    ("get", "/v1/rooms/{room}/stream", "viewer"),
    ("post", "/v1/rooms/{room}/frames", "publisher"),
    ("post", "/v1/rooms/{room}/messages", "publisher"),
    ("post", "/v1/rooms/{room}/feedback", "operator"),
    ("post", "/v1/rooms/{room}/recordings", "operator"),
    ("post", "/v1/rooms/{room}/recordings/stop", "operator"),
    ("get", "/v1/rooms/{room}/recordings/{id}", "operator"),
    ("get", "/v1/rooms/{room}/policy", "viewer"),
    ("get", "/v1/rooms/{room}/policy/{slot}", "viewer"),
    ("put", "/v1/rooms/{room}/policy/{slot}", "operator"),
    ("delete", "/v1/rooms/{room}/policy/{slot}", "operator"),
    ("post", "/v1/rooms/{room}/policy/{slot}/shadow", "operator"),
    ("post", "/v1/rooms/{room}/policy/{slot}/promote", "operator"),
    ("post", "/v1/rooms/{room}/policy/{slot}/discard", "operator"),
    ("post", "/v1/rooms/{room}/policy/{slot}/rollback", "operator"),
    ("post", "/v1/rooms/{room}/policy/{slot}/kill", "operator"),
    ("get", "/v1/policy", "viewer"),
    ("put", "/v1/policy/{slot}", "admin"),
    ("delete", "/v1/policy/{slot}", "admin"),
    ("get", "/v1/plugins", "viewer"),
    ("post", "/v1/plugins", "admin"),
    ("get", "/v1/plugins/{plugin}", "viewer"),
    ("delete", "/v1/plugins/{plugin}", "admin"),
    ("get", "/v1/demo/raw", "viewer"),
    ("post", "/v1/rooms/{room}/stream/start", "operator"),
    ("post", "/v1/rooms/{room}/stream/stop", "operator"),
    ("post", "/v1/rooms/{room}/tokens", "viewer"),
    ("get", "/v1/rooms/{room}/audience", "viewer"),
    ("post", "/v1/rooms/{room}/mute", "operator"),
    ("post", "/v1/rooms/{room}/chat", "publisher"),
    ("post", "/v1/rooms/{room}/judged", "operator"),
    ("get", "/health", "nobody"),
];

const RANKS: [&str; 4] = ["viewer", "publisher", "operator", "admin"];

#[test]
fn every_route_needs_a_key_and_the_role_that_it_takes() -> Result<()> {
    let keys: Vec<(String, String)> = RANKS.iter().map(|role| key(&format!("the-{role}"), role)).collect::<Result<_>>()?;
    let lines: Vec<&str> = keys.iter().map(|(_, line)| line.as_str()).collect();
    let folder = tempfile::tempdir()?;
    add_plugins(folder.path())?;
    let (config, file) = (folder.path().join("scrim.toml"), folder.path().join("keys"));
    std::fs::write(&file, format!("# ours\n{}\n", lines[..3].join("\n")))?;
    std::fs::write(&config, configuration(folder.path(), &format!("[serve]\nkeys_file = {file:?}\n")))?;
    // One line by the environment, the others by the file.
    let mut host = Served::start_with(folder.path(), &["--config".as_ref(), config.as_os_str()], &[("SCRIM_KEYS", lines[3])])?;

    let document = host.get("/openapi.json")?.expect(200)?;
    let mut routes = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().context("paths")? {
        for (method, operation) in operations.as_object().context("operations")? {
            routes.insert((method.clone(), path.clone()), operation["security"].clone());
        }
    }
    ensure!(routes.len() > 30, "{} routes", routes.len());
    for ((method, path), security) in &routes {
        let concrete = path
            .replace("{room}", "nowhere")
            .replace("{slot}", "text")
            .replace("{plugin}", "no@1.0.0")
            .replace("{id}", "0199aaaa-0000-7000-8000-000000000000");
        let ask = |host: &Served, key: Option<&str>| {
            let authorization = key.map(|key| format!("Bearer {key}"));
            let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
            host.send(&method.to_uppercase(), &concrete, &[&headers[..], &[("content-type", "application/json")]].concat(), b"{}")
        };
        let known = ROLES.iter().find(|(m, p, _)| m == method && p == path).map(|(_, _, role)| *role);
        if !path.starts_with("/v1") {
            // Without a LiveKit server there is nothing to hear; what it would tell carries a signature of its own.
            let status = ask(&host, None)?.status;
            ensure!(
                security.is_null() && (status < 400 || path == "/livekit/webhook" && status == 503),
                "{method} {path} is open: {status}"
            );
            continue;
        }
        let takes = known.with_context(|| format!("{method} {path}: which role?"))?;
        ensure!(security == &json!([{ "key": [] }]), "{method} {path} says so: {security}");
        for bad in [None, Some("scrim_0"), Some("")] {
            let answer = ask(&host, bad)?;
            ensure!(answer.header("www-authenticate") == Some("Bearer"), "{method} {path}: {answer:?}");
            problem(answer, 401).with_context(|| format!("{method} {path} with {bad:?}"))?;
        }
        let least = RANKS.iter().position(|role| *role == takes).context("a role")?;
        for (rank, (key, _)) in keys.iter().enumerate() {
            let answer = ask(&host, Some(key))?;
            let (status, said) = (answer.status, text(&answer.body));
            ensure!(status != 401, "{method} {path} as {}: {said}", RANKS[rank]);
            let refused = status == 403 && said.contains(&format!("takes the role {takes}")) && said.contains(RANKS[rank]);
            ensure!(if rank < least { refused } else { status != 403 }, "{method} {path} as {}: {status} {said}", RANKS[rank]);
        }
    }
    let unused = ROLES.iter().find(|(method, path, _)| !routes.contains_key(&(method.to_string(), path.to_string())));
    ensure!(unused.is_none(), "there is no {unused:?}");

    // A viewer watches and does not publish; a browser's key comes as a subprotocol.
    host.key = Some(keys[3].0.clone());
    room(&host, "lobby", json!({}))?;
    let own = format!("host: {}\r\n", host.address);
    let with = |key: &str| format!("{own}sec-websocket-protocol: scrim, bearer.{key}\r\n");
    problem(upgrade(&host, "/v1/rooms/lobby/stream?watch=true", &own)?, 401)?;
    problem(upgrade(&host, "/v1/rooms/lobby/stream?watch=true", &with("scrim_0"))?, 401)?;
    let watching = upgrade(&host, "/v1/rooms/lobby/stream?watch=true", &with(&keys[0].0))?;
    ensure!(watching.status == 101 && watching.header("sec-websocket-protocol") == Some("scrim"), "{watching:?}");
    let detail = problem(upgrade(&host, "/v1/rooms/lobby/stream", &with(&keys[0].0))?, 403)?;
    ensure!(detail.contains("watch=true"), "{detail}");
    ensure!(upgrade(&host, "/v1/rooms/lobby/stream", &with(&keys[1].0))?.status == 101, "a publisher publishes");
    // Keys are nowhere but with those who have them.
    let log = std::fs::read_to_string(folder.path().join("serve.log"))?;
    ensure!(!keys.iter().any(|(key, _)| log.contains(&key[6..])), "a key in the log");
    Ok(())
}

#[test]
fn without_keys_it_listens_to_this_machine_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let serve = |bind: &str, keys: &str| {
        let mut command = Command::new(binary()?);
        command.args(["serve", "--bind", bind, "--data-dir"]).arg(folder.path());
        anyhow::Ok(command.env("SCRIM_KEYS", keys).output()?)
    };
    for bind in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let output = serve(bind, "")?;
        let said = text(&output.stderr);
        ensure!(output.status.code() == Some(64) && said.contains("scrim key"), "{bind}: {:?} {said}", output.status);
    }
    let output = serve("127.0.0.1:0", "ann boss 00")?;
    ensure!(output.status.code() == Some(64) && text(&output.stderr).contains("no role"), "{}", text(&output.stderr));
    ensure!(!folder.path().join("scrim.db").exists(), "nothing was begun");
    Ok(())
}

#[test]
fn every_request_has_an_id_that_the_log_knows() -> Result<()> {
    let host = HOST.host()?;
    let id = |given: &str| {
        let answer = host.send("GET", "/v1/rooms", &[("x-request-id", given)], &[])?;
        answer.header("x-request-id").map(str::to_owned).context("an id")
    };
    ensure!(id("from-the-console-7")? == "from-the-console-7", "echoed");
    let made: Vec<String> = ["", "a b", "x".repeat(129).as_str()].iter().map(|bad| id(bad)).collect::<Result<_>>()?;
    ensure!(made.iter().all(|made| made.len() == 36) && made[0] != made[1], "{made:?}");
    // Refusals have one too.
    let refused = ask(&host, "GET", "/v1/rooms", "host: evil.example\r\nx-request-id: refused-1\r\n")?;
    ensure!(refused.header("x-request-id") == Some("refused-1") && refused.status == 403, "{refused:?}");
    let missing = host.send("GET", "/nothing", &[("x-request-id", "missing-1")], &[])?;
    ensure!(missing.header("x-request-id") == Some("missing-1"), "{missing:?}");

    let log = std::fs::read_to_string(host.data_dir.join("serve.log"))?;
    let line_of = |id: &str| -> Result<Value> {
        let line = log.lines().find(|line| line.contains(id)).with_context(|| format!("{id} in the log"))?;
        Ok(serde_json::from_str(line)?)
    };
    for (id, status) in [("from-the-console-7", 200), (made[1].as_str(), 200), ("refused-1", 403), ("missing-1", 404)] {
        let line = line_of(id)?;
        ensure!(line["status"] == status && line["span"]["id"] == id && line["span"]["method"] == "GET", "{line}");
    }
    Ok(())
}
