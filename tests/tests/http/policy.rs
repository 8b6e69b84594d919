//! `/v1/policy` and `/v1/rooms/{room}/policy`: choosing, inheriting, shadowing, going back. What is refused is in `refusals`.

use anyhow::{Context, Result, ensure};
use scrim_host::plugin::types::Slot;
use scrim_tests::guest::Guest;
use scrim_tests::served::Served;
use serde_json::{Value, json};

use super::shared::{Shared, add, problem, put, room, say, start, until};

static HOST: Shared = Shared::new();

fn slot(host: &Served, room: &str, slot: &str) -> Result<Value> {
    host.get(&format!("/v1/rooms/{room}/policy/{slot}"))?.expect(200)
}

fn order(host: &Served, room: &str, order: &str) -> Result<Value> {
    host.send("POST", &format!("/v1/rooms/{room}/policy/{order}"), &[], &[])?.expect(200)
}

/// What each slot has and by whose choice.
fn choices(host: &Served, path: &str) -> Result<Vec<(String, String, String, i64)>> {
    let view = host.get(path)?.expect(200)?;
    let text = |view: &Value, key: &str| view[key].as_str().unwrap_or("-").to_owned();
    let row = |view: &Value| (text(view, "slot"), text(view, "plugin"), text(view, "origin"), view["revision"].as_i64().unwrap_or(-1));
    Ok(view.as_array().context("a list")?.iter().map(row).collect())
}

fn row(slot: &str, plugin: &str, origin: &str, revision: i64) -> (String, String, String, i64) {
    (slot.to_owned(), plugin.to_owned(), origin.to_owned(), revision)
}

#[test]
fn rooms_inherit_the_global_choice_unless_they_chose() -> Result<()> {
    // Its own host: a global choice is everybody's.
    let host = start("")?;
    for name in ["inherits", "chose", "asleep"] {
        room(&host, name, json!({}))?;
    }
    let file = [
        row("cascade", "skin-cascade@2.0.0", "file", 0),
        row("text", "profanity-context@2.0.0", "file", 0),
        row("threshold", "adaptive-threshold@1.0.0", "file", 0),
    ];
    ensure!(choices(&host, "/v1/policy")? == file && choices(&host, "/v1/rooms/inherits/policy")? == file, "the file's to begin with");

    put(&host, "chose", "cascade", "skin-cascade@2.0.0", json!({ "head": 1.0 }))?.expect(200)?;
    say(&host, "inherits", "wakes it up")?;
    let set = host.json("PUT", "/v1/policy/cascade", &json!({ "plugin": "skin-cascade@1.0.0", "config": { "skin_share": 0.2 } }))?;
    ensure!(set.header("etag") == Some("\"1\""), "{set:?}");
    let set = set.expect(200)?;
    ensure!(set["origin"] == "global" && set["config"] == json!({ "skin_share": 0.2 }) && set["in_force"].is_null(), "{set}");

    let view = slot(&host, "inherits", "cascade")?;
    ensure!(view["origin"] == "global" && view["in_force"]["plugin"] == "skin-cascade@1.0.0" && view["revision"] == 0, "{view}");
    let view = slot(&host, "chose", "cascade")?;
    ensure!(view["origin"] == "room" && view["in_force"]["plugin"] == "skin-cascade@2.0.0", "{view}");
    ensure!(slot(&host, "asleep", "cascade")?["in_force"].is_null(), "nobody woke it");
    say(&host, "asleep", "good morning")?;
    ensure!(slot(&host, "asleep", "cascade")?["in_force"]["plugin"] == "skin-cascade@1.0.0", "woken with the global choice");

    // Given up, the room's choice is the global one; given up too, that is the file's.
    let cleared = host.send("DELETE", "/v1/rooms/chose/policy/cascade", &[("if-match", "\"1\"")], &[])?.expect(200)?;
    ensure!(cleared["origin"] == "global" && cleared["in_force"]["plugin"] == "skin-cascade@1.0.0", "{cleared}");
    problem(host.send("DELETE", "/v1/rooms/chose/policy/cascade", &[], &[])?, 404)?;
    problem(host.send("DELETE", "/v1/policy/cascade", &[("if-match", "\"7\"")], &[])?, 412)?;
    host.send("DELETE", "/v1/policy/cascade", &[], &[])?.expect(200)?;
    ensure!(choices(&host, "/v1/policy")? == file, "the file's again");
    for name in ["inherits", "chose", "asleep"] {
        ensure!(slot(&host, name, "cascade")?["in_force"]["plugin"] == "skin-cascade@2.0.0", "{name}");
    }
    problem(host.send("DELETE", "/v1/policy/cascade", &[], &[])?, 404)?;
    Ok(())
}

#[test]
fn the_revision_of_a_choice_is_its_etag() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "tagged", json!({}))?;
    let path = "/v1/rooms/tagged/policy/cascade";
    let got = host.get(path)?;
    ensure!(got.header("etag") == Some("\"0\"") && got.expect(200)?["revision"] == 0, "nothing was chosen here");
    let put = |tag: &str, plugin: &str| {
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        host.send("PUT", path, &headers, json!({ "plugin": plugin }).to_string().as_bytes())
    };
    ensure!(put("\"0\"", "skin-cascade@1.0.0")?.header("etag") == Some("\"1\""), "the first choice");
    let detail = problem(put("\"0\"", "skin-cascade@2.0.0")?, 412)?;
    ensure!(detail.contains("revision 1"), "{detail}");
    ensure!(slot(&host, "tagged", "cascade")?["in_force"]["plugin"] == "skin-cascade@1.0.0", "nothing was swapped");
    let view = host.get(path)?;
    ensure!(view.header("etag") == Some("\"1\"") && view.expect(200)?["revision"] == 1, "the one it was answered with");
    Ok(())
}

#[test]
fn of_choices_at_the_same_time_exactly_one_wins() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "contested", json!({}))?;
    for round in 0..3 {
        let tag = format!("\"{round}\"");
        let versions = ["skin-cascade@1.0.0", "skin-cascade@2.0.0", "skin-cascade@1.0.0", "skin-cascade@2.0.0"];
        let put = |plugin: &str| {
            let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
            host.send("PUT", "/v1/rooms/contested/policy/cascade", &headers, json!({ "plugin": plugin }).to_string().as_bytes())
        };
        let answers = std::thread::scope(|scope| {
            let sent: Vec<_> = versions.iter().map(|plugin| scope.spawn(|| put(plugin))).collect();
            sent.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a request panicked"))?).collect::<Result<Vec<_>>>()
        })?;
        let won: Vec<&str> = versions.iter().zip(&answers).filter(|(_, answer)| answer.status == 200).map(|(plugin, _)| *plugin).collect();
        ensure!(won.len() == 1 && answers.iter().filter(|answer| answer.status == 412).count() == 3, "{won:?}");
        let view = slot(&host, "contested", "cascade")?;
        ensure!(view["in_force"]["plugin"] == won[0] && view["plugin"] == won[0] && view["revision"] == round + 1, "{view}");
    }
    Ok(())
}

#[test]
fn a_shadow_is_counted_then_promoted_or_discarded() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "stage", json!({}))?;
    // Finds something in every first word; the one in force only in bad ones.
    add(&host, &Guest::new(Slot::Text, "3.1.0", 0.9).named("stern").component()?)?.expect(201)?;
    problem(host.send("POST", "/v1/rooms/stage/policy/text/promote", &[], &[])?, 409)?;
    problem(host.send("POST", "/v1/rooms/stage/policy/text/discard", &[], &[])?, 409)?;
    let shadow = || host.json("POST", "/v1/rooms/stage/policy/text/shadow", &json!({ "plugin": "stern@3.1.0" }))?.expect(200);
    let view = shadow()?;
    ensure!(view["in_force"]["shadow"]["plugin"] == "stern@3.1.0" && view["plugin"] == "profanity-context@2.0.0", "{view}");
    for text in ["what a lovely show", "hello there"] {
        ensure!(say(&host, "stage", text)?["flagged"] == false, "a shadow decides nothing");
    }
    until("two differences", || Ok(slot(&host, "stage", "text")?["in_force"]["shadow"]["differed"] == 2))?;
    let view = order(&host, "stage", "text/discard")?;
    ensure!(view["in_force"]["shadow"].is_null() && view["in_force"]["plugin"] == "profanity-context@2.0.0", "{view}");

    shadow()?;
    say(&host, "stage", "once more")?;
    until("a difference", || Ok(slot(&host, "stage", "text")?["in_force"]["shadow"]["differed"] == 1))?;
    let view = order(&host, "stage", "text/promote")?;
    ensure!(view["plugin"] == "stern@3.1.0" && view["origin"] == "room" && view["revision"] == 1, "{view}");
    ensure!(view["in_force"]["plugin"] == "stern@3.1.0" && view["in_force"]["shadow"].is_null(), "{view}");
    ensure!(say(&host, "stage", "lovely")?["flagged"] == true, "promoted, it decides");

    let view = order(&host, "stage", "text/rollback")?;
    ensure!(view["in_force"]["plugin"] == "profanity-context@2.0.0" && view["plugin"] == "profanity-context@2.0.0", "{view}");
    ensure!(view["revision"] == 2 && say(&host, "stage", "lovely")?["flagged"] == false, "{view}");
    let events = host.get("/v1/rooms/stage/events?limit=1000")?.expect(200)?.to_string();
    for kind in ["shadow_started", "shadow_ended", "committed", "rolled_back"] {
        ensure!(events.contains(&format!("\"event\":\"{kind}\"")), "{kind} in {events}");
    }
    Ok(())
}

#[test]
fn a_rollback_needs_something_to_go_back_to() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "first", json!({}))?;
    let detail = problem(host.send("POST", "/v1/rooms/first/policy/cascade/rollback", &[], &[])?, 409)?;
    ensure!(detail.starts_with("refused (rollback)"), "{detail}");
    ensure!(slot(&host, "first", "cascade")?["in_force"]["plugin"] == "skin-cascade@2.0.0", "as before");
    put(&host, "first", "cascade", "skin-cascade@1.0.0", json!({}))?.expect(200)?;
    ensure!(slot(&host, "first", "cascade")?["in_force"]["previous"] == "skin-cascade@2.0.0", "the file's choice is where it goes back to");
    let answer = host.send("POST", "/v1/rooms/first/policy/cascade/rollback", &[("if-match", "\"5\"")], &[])?;
    problem(answer, 412)?;
    ensure!(order(&host, "first", "cascade/rollback")?["in_force"]["plugin"] == "skin-cascade@2.0.0", "gone back");
    Ok(())
}

#[test]
fn a_killed_plugin_starts_again_and_too_many_faults_bring_the_one_before_back() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "hurt", json!({}))?;
    put(&host, "hurt", "text", "profanity-context@2.0.0", json!({ "deny": ["anchovies"] }))?.expect(200)?;
    ensure!(say(&host, "hurt", "anchovies")?["flagged"] == true, "as configured");
    order(&host, "hurt", "text/kill")?;
    until("a restart", || {
        let view = slot(&host, "hurt", "text")?;
        Ok(view["in_force"]["restarts"] == 1 && view["in_force"]["faults"] == 1 && view["in_force"]["serving"] == true)
    })?;
    ensure!(say(&host, "hurt", "anchovies")?["flagged"] == true, "started again with its settings");

    // The host lets three faults pass in a minute; then the version before is in force, and is the room's choice.
    add(&host, &Guest::new(Slot::Text, "1.0.0", 0.5).named("fragile").component()?)?.expect(201)?;
    put(&host, "hurt", "text", "fragile@1.0.0", json!({}))?.expect(200)?;
    for _ in 0..3 {
        order(&host, "hurt", "text/kill")?;
    }
    until("the version before", || {
        let view = slot(&host, "hurt", "text")?;
        Ok(view["in_force"]["plugin"] == "profanity-context@2.0.0" && view["plugin"] == "profanity-context@2.0.0")
    })?;
    ensure!(say(&host, "hurt", "anchovies")?["flagged"] == true, "with the settings that it had");
    let view = slot(&host, "hurt", "text")?;
    ensure!(view["config"] == json!({ "deny": ["anchovies"] }) && view["revision"] == 3, "{view}");
    Ok(())
}
