//! The commands that talk to a running host: `scrim rooms`, `policy`, `report`, `plugin record`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use scrim_tests::served::{Served, binary};
use serde_json::{Value, json};

use super::shared::{Running, Shared, catalog_of, face_jpeg, post_picture, problem, room, say, scrim, text, until};

static HOST: Shared = Shared::new();

/// The output of a command that worked.
fn works(host: &Served, arguments: &[&str]) -> Result<String> {
    let url = host.url("");
    let output = scrim(&[arguments, &["--url", &url]].concat())?;
    ensure!(output.status.success(), "{arguments:?}: {:?} {}", output.status, text(&output.stderr));
    Ok(text(&output.stdout))
}

/// What a command that failed said, and its exit code.
fn fails(host: &Served, arguments: &[&str]) -> Result<(i32, String)> {
    let url = host.url("");
    let output = scrim(&[arguments, &["--url", &url]].concat())?;
    ensure!(output.stdout.is_empty(), "{arguments:?}: {}", text(&output.stdout));
    Ok((output.status.code().context("an exit code")?, text(&output.stderr)))
}

/// A table's line that begins with this.
fn line<'a>(table: &'a str, begin: &str) -> Result<Vec<&'a str>> {
    let line = table.lines().find(|line| line.starts_with(begin)).with_context(|| format!("{begin} in\n{table}"))?;
    Ok(line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
}

#[test]
fn rooms_are_listed_with_what_they_cover_and_who_decides() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "listed", json!({ "delay_ms": 600, "cover": ["FACE_*", "FEET_EXPOSED"] }))?;
    room(&host, "blind", json!({ "detectors": [] }))?;
    let table = works(&host, &["rooms"])?;
    ensure!(line(&table, "room ")? == ["room", "live", "delay", "covers", "policies"], "{table}");
    let policies = "cascade=skin-cascade@2.0.0 text=profanity-context@2.0.0 threshold=adaptive-threshold@1.0.0";
    ensure!(line(&table, "listed ")? == ["listed", "no", "600 ms", "nudity: FACE_*, FEET_EXPOSED", policies], "{table}");
    ensure!(line(&table, "blind ")?[3] == "nothing: no detector is enabled", "{table}");
    Ok(())
}

#[test]
fn a_policy_is_set_and_shown() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "ruled", json!({}))?;
    let table = works(&host, &["policy", "show", "ruled"])?;
    ensure!(line(&table, "text")? == ["text", "profanity-context@2.0.0", "scrim.toml", "idle", "{}"], "{table}");
    let said = works(&host, &["policy", "set", "ruled", "text=profanity-context@2.0.0", "--config-json", r#"{"deny":["kippers"]}"#])?;
    ensure!(said.trim() == "text of room ruled is profanity-context@2.0.0 now", "{said}");
    ensure!(say(&host, "ruled", "kippers")?["flagged"] == true, "in force");
    let table = works(&host, &["policy", "show", "ruled"])?;
    let row = line(&table, "text")?;
    ensure!(row[..4] == ["text", "profanity-context@2.0.0", "this room's own", "profanity-context@2.0.0"], "{table}");
    ensure!(row.last() == Some(&r#"{"deny":["kippers"]}"#), "{table}");

    // What the host refuses is told with all its faults, and what is no command line is not sent.
    let (code, said) = fails(&host, &["policy", "set", "ruled", "text=profanity-context@2.0.0", "--config-json", r#"{"min_severity":7}"#])?;
    ensure!(code == 1 && said.contains("422 Unprocessable Entity") && said.contains("\n  /min_severity: "), "{said}");
    let (code, said) = fails(&host, &["policy", "set", "ruled", "text=no-such@1.0.0"])?;
    ensure!(code == 1 && said.contains("404") && said.contains("no-such@1.0.0"), "{said}");
    let (code, said) = fails(&host, &["policy", "show", "../rooms"])?;
    ensure!(code == 1 && said.contains("there is no room \"../rooms\""), "{said}");
    for bad in [
        &["policy", "set", "ruled", "text"][..],
        &["policy", "set", "ruled", "soup=a@1.0.0"],
        &["policy", "set", "ruled", "text=a"],
        &["policy", "set", "ruled", "text=profanity-context@2.0.0", "--config-json", "[1]"],
    ] {
        ensure!(fails(&host, bad)?.0 == 64, "{bad:?}");
    }
    Ok(())
}

#[test]
fn what_a_room_has_learned_is_shown() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "taught", json!({}))?;
    let nothing = works(&host, &["report", "taught"])?;
    ensure!(nothing == "0 reports\n\nno threshold has been learned\n\nnever live\n", "{nothing}");
    let verdict = post_picture(&host, "taught", "", &face_jpeg()?)?.expect(200)?;
    let found = verdict["detections"].as_array().into_iter().flatten().find(|found| found["event_id"].is_string()).context("a face")?;
    let learned =
        host.json("POST", "/v1/rooms/taught/feedback", &json!({ "event_id": found["event_id"], "correct": false }))?.expect(200)?;
    let table = works(&host, &["report", "taught"])?;
    let threshold = learned["changed"][0]["threshold"].as_f64().context("a threshold")?;
    let row = line(&table, "nudity")?;
    ensure!(table.starts_with("1 reports\n") && Some(row[1]) == found["label"].as_str(), "{table}");
    ensure!((row[3].parse::<f64>()? - threshold).abs() < 2e-3 && row[2].parse::<f64>()? < threshold, "{threshold}: {table}");
    // One report, which said that it was wrong; one detection in the hour counts, and would have without.
    ensure!(row[4..6] == ["0", "1"] && row[7..] == ["1", "0", "0"], "{table}");
    ensure!(table.contains("adaptive-threshold@1.0.0 asked again, the first of"), "{table}");
    Ok(())
}

#[test]
fn no_host_no_key_and_no_scrim_are_told_apart() -> Result<()> {
    let host = HOST.host()?;
    let unbound = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let output = scrim(&["rooms", "--url", &format!("http://{unbound}")])?;
    let said = text(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains("is `scrim serve` running there?"), "{said}");
    let output = scrim(&["rooms", "--url", &host.address])?;
    ensure!(output.status.code() == Some(64) && text(&output.stderr).contains("http://HOST:PORT"), "{}", text(&output.stderr));
    for help in [
        &["rooms", "--help"][..],
        &["policy", "set", "--help"],
        &["policy", "show", "--help"],
        &["report", "--help"],
        &["plugin", "record", "--help"],
    ] {
        let output = scrim(help)?;
        let help = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(output.status.success() && help.contains("--url <URL>") && help.contains("[env: SCRIM_KEY]"), "{help}");
    }
    Ok(())
}

#[test]
fn a_key_is_shown_where_the_host_asks_for_one() -> Result<()> {
    let made = text(&scrim(&["key", "ann", "operator"])?.stdout);
    let after = |word: &str| made.lines().find_map(|line| line.strip_prefix(word)).map(|rest| rest.trim().to_owned()).context("a key");
    let (key, line) = (after("key ")?, after("line ")?);
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("scrim.toml");
    std::fs::write(&config, format!("data_dir = {:?}\n[detectors]\n", folder.path()))?;
    let host = Served::start_with(folder.path(), &["--config".as_ref(), config.as_os_str()], &[("SCRIM_KEYS", &line)])?;
    let (code, said) = fails(&host, &["rooms"])?;
    ensure!(code == 1 && said.contains("401 Unauthorized") && said.contains("--key or SCRIM_KEY"), "{said}");
    ensure!(fails(&host, &["rooms", "--key", "scrim_0"])?.1.contains("nobody has this key"), "another key");
    ensure!(works(&host, &["rooms", "--key", &key])?.starts_with("no rooms"), "by the flag");
    let by_variable = Command::new(binary()?).args(["rooms", "--url", &host.url("")]).env("SCRIM_KEY", &key).output()?;
    ensure!(by_variable.status.success(), "{}", text(&by_variable.stderr));
    Ok(())
}

/// What is said while a recording of this room runs, and the recording replayed.
fn recorded(host: &Running, room: &str, file: &std::path::Path) -> Result<()> {
    let file = file.display().to_string();
    let config = catalog_of(host.folder.path());
    let output = scrim(&["plugin", "test", "profanity-context@2.0.0", "--replay", &file, "--json", "--config", &config])?;
    ensure!(output.status.success(), "{room}: {}{}", text(&output.stdout), text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["steps"].as_u64() > Some(0) && told["differing"] == 0, "{told}");
    Ok(())
}

#[test]
fn a_recording_ends_by_time_or_by_ctrl_c_and_replays() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "tape", json!({}))?;
    let started = |name: &str| -> Result<usize> {
        let events = host.get(&format!("/v1/rooms/{name}/events?limit=1000"))?.expect(200)?;
        Ok(events["events"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|e| e["kind"] == "recording" && e["body"]["event"] == "started")
            .count())
    };
    for (nth, seconds) in [(1, Some("2")), (2, None)] {
        let file = host.folder.path().join(format!("tape-{nth}.rec"));
        let mut command = Command::new(binary()?);
        command.args(["plugin", "record", "tape", "--url", &host.url(""), "-o"]).arg(&file);
        command.args(seconds.into_iter().flat_map(|seconds| ["--seconds", seconds]));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        until("the recording's start", || Ok(started("tape")? == nth))?;
        say(&host, "tape", "what the fuck is this")?;
        if seconds.is_none() {
            // A second recording is refused while one runs.
            let other = host.folder.path().join("other.rec");
            let (code, said) = fails(&host, &["plugin", "record", "tape", "--seconds", "1", "-o", &other.display().to_string()])?;
            ensure!(code == 1 && said.contains("409") && !other.exists(), "{said}");
            ensure!(!file.exists(), "the file appears when it is complete");
            Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
        }
        let output = child.wait_with_output()?;
        let said = text(&output.stdout);
        ensure!(output.status.success() && said.starts_with(&file.display().to_string()), "{said}{}", text(&output.stderr));
        recorded(&host, "tape", &file)?;
        problem(host.send("POST", "/v1/rooms/tape/recordings/stop", &[], &[])?, 409)?;
    }
    // Nothing is begun where the file can't be written.
    let (code, said) = fails(&host, &["plugin", "record", "tape", "--seconds", "1", "-o", "/no/such/folder/x.rec"])?;
    ensure!(code == 64 && said.contains("/no/such/folder/x.rec") && started("tape")? == 2, "{said}");
    Ok(())
}
