//! `/v1/rooms`: made, read, changed, deleted, and everything that is refused.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::shared::{Shared, faults, problem, room};

static HOST: Shared = Shared::new();

#[test]
fn a_room_is_made_listed_changed_and_deleted() -> Result<()> {
    let host = HOST.host()?;
    let made = host.json("POST", "/v1/rooms", &json!({ "name": "studio.1", "delay_ms": 500, "color": "#102030" }))?;
    ensure!(made.header("etag") == Some("\"1\""), "{made:?}");
    let made = made.expect(201)?;
    ensure!(made["settings"] == json!({ "delay_ms": 500, "color": "#102030" }), "{made}");
    let effective = &made["effective"];
    ensure!(
        (&effective["delay_ms"], &effective["hold_ms"], &effective["fail_mode"]) == (&json!(500), &json!(800), &json!("closed")),
        "{made}"
    );
    ensure!(effective["detectors"] == json!({ "nudity": ["FACE_*"] }) && effective["color"] == "#102030", "{made}");
    ensure!(effective["look_max_ms"].as_u64().is_some_and(|look| look < 500), "{made}");
    ensure!(made["live"][0].is_null() && made["warm"] == false && made["revision"] == 1, "{made}");

    let listed = host.get("/v1/rooms")?.expect(200)?;
    ensure!(listed.as_array().context("a list")?.iter().any(|room| room["name"] == "studio.1" && room["id"] == made["id"]), "{listed}");
    let got = host.get("/v1/rooms/studio.1")?;
    ensure!(got.header("etag") == Some("\"1\""), "{got:?}");
    ensure!(got.expect(200)? == made, "as it was answered");

    // Null goes back to the host's, what is absent stays.
    let changed = host.json("PATCH", "/v1/rooms/studio.1", &json!({ "delay_ms": null, "cover": ["FEET_*"], "style": "blur" }))?;
    ensure!(changed.header("etag") == Some("\"2\""), "{changed:?}");
    let changed = changed.expect(200)?;
    ensure!(changed["settings"] == json!({ "color": "#102030", "cover": ["FEET_*"], "style": "blur" }), "{changed}");
    ensure!(changed["effective"]["delay_ms"] == 400 && changed["effective"]["detectors"]["nudity"] == json!(["FEET_*"]), "{changed}");
    ensure!(host.get("/v1/rooms/studio.1")?.expect(200)?["settings"] == changed["settings"], "kept");

    ensure!(host.send("DELETE", "/v1/rooms/studio.1", &[("if-match", "\"1\"")], &[])?.status == 412, "an old revision deletes nothing");
    host.send("DELETE", "/v1/rooms/studio.1", &[("if-match", "\"2\"")], &[])?.expect(204)?;
    problem(host.get("/v1/rooms/studio.1")?, 404)?;
    Ok(())
}

#[test]
fn an_old_revision_changes_nothing_and_is_told_the_new_one() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "revised", json!({}))?;
    let patch = |tag: &str, hold: u32| {
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        host.send("PATCH", "/v1/rooms/revised", &headers, json!({ "hold_ms": hold }).to_string().as_bytes())
    };
    patch("\"1\"", 900)?.expect(200)?;
    let detail = problem(patch("\"1\"", 100)?, 412)?;
    ensure!(detail.contains("revision 2"), "{detail}");
    // What is no tag is told; `*` matches whatever is there; weak tags are read.
    problem(patch("\"abc\"", 100)?, 400)?;
    ensure!(host.get("/v1/rooms/revised")?.expect(200)?["settings"]["hold_ms"] == 900, "nothing was changed");
    patch("*", 901)?.expect(200)?;
    ensure!(patch("W/\"3\"", 902)?.expect(200)?["revision"] == 4, "the fourth");
    Ok(())
}

#[test]
fn of_patches_at_the_same_time_none_is_lost() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "busy", json!({}))?;
    let changes = [json!({ "hold_ms": 700 }), json!({ "style": "blur" }), json!({ "fail_mode": "open" }), json!({ "color": "#ffffff" })];
    std::thread::scope(|scope| {
        let sent: Vec<_> = changes.iter().map(|change| scope.spawn(|| host.json("PATCH", "/v1/rooms/busy", change)?.expect(200))).collect();
        sent.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a request panicked"))?.map(drop))
    })?;
    let room = host.get("/v1/rooms/busy")?.expect(200)?;
    ensure!(room["settings"] == json!({ "hold_ms": 700, "style": "blur", "fail_mode": "open", "color": "#ffffff" }), "{room}");
    ensure!(room["revision"] == 5, "{room}");
    Ok(())
}

#[test]
fn a_name_is_taken_once_and_has_a_shape() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "taken", json!({}))?;
    let detail = problem(host.json("POST", "/v1/rooms", &json!({ "name": "taken" }))?, 409)?;
    ensure!(detail.contains("taken"), "{detail}");
    for bad in ["", ".hidden", "-x", "a b", "a/b", "ü", "../x", "x\u{0}", &"x".repeat(65)] {
        ensure!(faults(host.json("POST", "/v1/rooms", &json!({ "name": bad }))?, 422)? == ["name"], "{bad:?}");
    }
    room(&host, &"x".repeat(64), json!({}))?;
    Ok(())
}

#[test]
fn bad_settings_are_told_all_at_once_by_path() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "strict", json!({}))?;
    let cases: [(Value, &[&str]); 7] = [
        (json!({ "delay_ms": 5, "hold_ms": 70_000, "color": "red" }), &["color", "delay_ms", "hold_ms"]),
        (json!({ "fail_mode": "ajar", "style": "fog", "sampler": "fixed:0" }), &["fail_mode", "sampler", "style"]),
        (json!({ "delay_ms": "500" }), &["delay_ms"]),
        (json!({ "delay_ms": -1, "cover": "FACE_*", "hold_ms": 1.5 }), &["cover", "delay_ms", "hold_ms"]),
        (json!({ "colour": "#000000", "fail_mode": 1 }), &["(the whole body)", "fail_mode"]),
        (json!({ "cover": [] }), &["cover"]),
        (json!({ "look_max_ms": 0 }), &["look_max_ms"]),
    ];
    for (settings, paths) in cases {
        let mut told = faults(host.json("PATCH", "/v1/rooms/strict", &settings)?, 422)?;
        told.sort();
        ensure!(told == paths, "{settings}: {told:?}");
        let mut new = settings.clone();
        new["name"] = "never".into();
        let mut told = faults(host.json("POST", "/v1/rooms", &new)?, 422)?;
        told.sort();
        ensure!(told == paths, "{new}: {told:?}");
    }
    let body = host.json("POST", "/v1/rooms", &json!({ "nam": "x" }))?.expect(422)?.to_string();
    ensure!(body.contains("nam") && body.contains("required"), "an unknown key, and no name: {body}");
    ensure!(faults(host.json("POST", "/v1/rooms", &json!({ "name": 3 }))?, 422)? == ["name"], "a name is a string");
    problem(host.get("/v1/rooms/never")?, 404)?;
    ensure!(host.get("/v1/rooms/strict")?.expect(200)?["revision"] == 1, "nothing was changed");
    Ok(())
}

#[test]
fn what_cannot_work_on_this_host_is_told_with_what_would() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "tight", json!({}))?;
    // A look does not fit into 67 ms. The delay that the answer names works, one less does not.
    let detail = host.json("PATCH", "/v1/rooms/tight", &json!({ "delay_ms": 67 }))?.expect(409)?.to_string();
    let least: u32 = detail
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .find(|&ms| (68..400).contains(&ms))
        .with_context(|| format!("the least delay in {detail}"))?;
    host.json("PATCH", "/v1/rooms/tight", &json!({ "delay_ms": least }))?.expect(200)?;
    host.json("PATCH", "/v1/rooms/tight", &json!({ "delay_ms": least - 1 }))?.expect(409)?;
    // Two looks further apart than the delay allows.
    problem(host.json("PATCH", "/v1/rooms/tight", &json!({ "delay_ms": 400, "look_max_ms": 400 }))?, 409)?;

    let detail = problem(host.json("PATCH", "/v1/rooms/tight", &json!({ "cover": ["FACE_*", "HAND_*"] }))?, 409)?;
    ensure!(detail.contains("HAND_*") && detail.contains("FACE_FEMALE") && detail.contains("FEET_EXPOSED"), "{detail}");
    let body = host.json("PATCH", "/v1/rooms/tight", &json!({ "detectors": ["nudity", "weapons"] }))?.expect(409)?;
    ensure!(body["faults"][0]["path"] == "detectors[1]" && body.to_string().contains("known here: nudity"), "{body}");
    // No detector is a choice: everything passes.
    let open = host.json("PATCH", "/v1/rooms/tight", &json!({ "detectors": [] }))?.expect(200)?;
    ensure!(open["effective"]["detectors"] == json!({}) && open["effective"]["look_max_ms"].is_null(), "{open}");
    Ok(())
}

#[test]
fn what_is_not_there_is_not_found_and_what_cannot_be_read_is_refused() -> Result<()> {
    let host = HOST.host()?;
    for (method, path) in [
        ("GET", "/v1/rooms/nowhere"),
        ("PATCH", "/v1/rooms/nowhere"),
        ("DELETE", "/v1/rooms/nowhere"),
        ("GET", "/v1/rooms/nowhere/policy"),
        ("GET", "/v1/rooms/nowhere/sessions"),
        ("GET", "/v1/rooms/nowhere/report"),
        ("GET", "/v1/rooms/nowhere/events"),
        ("POST", "/v1/rooms/nowhere/recordings"),
    ] {
        let detail = problem(host.json(method, path, &json!({}))?, 404)?;
        ensure!(detail.contains("\"nowhere\""), "{path}: {detail}");
    }
    let detail = problem(host.get("/v1/nothing")?, 404)?;
    ensure!(detail.contains("/docs"), "{detail}");
    problem(host.send("PUT", "/v1/rooms", &[], &[])?, 405)?;
    problem(host.send("POST", "/v1/rooms", &[("content-type", "application/json")], b"{\"name\":")?, 400)?;
    problem(host.send("POST", "/v1/rooms", &[("content-type", "text/plain")], b"{}")?, 415)?;
    problem(host.get("/v1/rooms/nowhere/policy/soup")?, 404)?;
    Ok(())
}

#[test]
fn a_room_made_anew_has_nothing_of_the_old_one() -> Result<()> {
    let host = HOST.host()?;
    let kinds = || -> Result<Vec<String>> {
        let page = host.get("/v1/rooms/phoenix/events")?.expect(200)?;
        Ok(page["events"].as_array().context("events")?.iter().map(|event| event["body"]["event"].to_string()).collect())
    };
    for _ in 0..3 {
        let made = room(&host, "phoenix", json!({}))?;
        host.json("PATCH", "/v1/rooms/phoenix", &json!({ "hold_ms": 900 }))?.expect(200)?;
        let recording = host.send("POST", "/v1/rooms/phoenix/recordings", &[], &[])?.expect(201)?;
        let folder = host.data_dir.join("recordings").join(made["id"].as_str().context("an id")?);
        ensure!(folder.join(format!("{}.rec", recording["id"].as_str().context("an id")?)).is_file(), "{}", folder.display());
        ensure!(kinds()?.first().map(String::as_str) == Some("\"created\""), "{:?}", kinds()?);
        host.send("DELETE", "/v1/rooms/phoenix", &[], &[])?.expect(204)?;
        ensure!(!folder.exists(), "its recordings are deleted too");
    }
    // The events of deleted rooms hold up nobody else's: what happens now still reaches the store.
    room(&host, "after", json!({}))?;
    host.send("DELETE", "/v1/rooms/after", &[], &[])?.expect(204)?;
    room(&host, "phoenix", json!({}))?;
    std::thread::sleep(std::time::Duration::from_millis(600));
    let log = std::fs::read_to_string(host.data_dir.join("serve.log"))?;
    ensure!(!log.contains("events not kept"), "{log}");
    Ok(())
}
