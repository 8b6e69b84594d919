//! Policies that are refused: each says what is wrong, and the one in force goes on.

use anyhow::{Result, ensure};
use scrim_host::plugin::types::Slot;
use scrim_tests::built;
use scrim_tests::guest::{Guest, Hook, deed};
use scrim_tests::served::Served;
use serde_json::{Value, json};

use super::shared::{Shared, add, faults, problem, put, room, say};

static HOST: Shared = Shared::new();

/// What is in force: plugin, generation, own revision.
fn in_force(host: &Served, room: &str, slot: &str) -> Result<(Value, Value, Value)> {
    let view = host.get(&format!("/v1/rooms/{room}/policy/{slot}"))?.expect(200)?;
    let now = &view["in_force"];
    ensure!(now["serving"] == true, "{view}");
    Ok((now["plugin"].clone(), now["generation"].clone(), view["revision"].clone()))
}

#[test]
fn what_is_no_policy_for_the_slot_is_refused() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "picky", json!({}))?;
    say(&host, "picky", "good morning")?;
    let before = (in_force(&host, "picky", "cascade")?, in_force(&host, "picky", "text")?);

    let told =
        faults(put(&host, "picky", "text", "profanity-context@2.0.0", json!({ "min_severity": 2, "deny": [1], "shout": true }))?, 422)?;
    ensure!(told.contains(&"/min_severity".to_owned()) && told.contains(&"/deny/0".to_owned()), "{told:?}");
    let told =
        faults(host.json("PUT", "/v1/policy/text", &json!({ "plugin": "profanity-context@2.0.0", "config": { "allow": 3 } }))?, 422)?;
    ensure!(told == ["/allow"], "{told:?}");
    let shadow = json!({ "plugin": "profanity-context@2.0.0", "config": { "min_severity": "high" } });
    ensure!(
        faults(host.json("POST", "/v1/rooms/picky/policy/text/shadow", &shadow)?, 422)? == ["/min_severity"],
        "a shadow is checked too"
    );

    let detail = problem(put(&host, "picky", "cascade", "skin-cascade@9.9.9", json!({}))?, 404)?;
    ensure!(detail.contains("skin-cascade@9.9.9"), "{detail}");
    let detail = problem(put(&host, "picky", "cascade", "profanity-context@2.0.0", json!({}))?, 422)?;
    ensure!(detail.contains("text policy, not a cascade policy"), "{detail}");
    problem(put(&host, "picky", "cascade", "", json!({}))?, 422)?;
    for bad in ["skin-cascade", "../key@1.0.0", "Skin@1.0.0", "skin-cascade@two"] {
        let refused = put(&host, "picky", "cascade", bad, json!({}))?.expect(422)?;
        let fault = &refused["faults"][0];
        ensure!(fault["path"] == "plugin" && fault["message"].as_str().is_some_and(|m| m.contains("NAME@VERSION")), "{bad}: {refused}");
    }
    problem(host.json("PUT", "/v1/rooms/picky/policy/cascade", &json!({ "plugin": "skin-cascade@1.0.0", "config": 3 }))?, 422)?;
    problem(host.json("PUT", "/v1/rooms/picky/policy/cascade", &json!({ "plugins": "skin-cascade@1.0.0" }))?, 422)?;
    ensure!((in_force(&host, "picky", "cascade")?, in_force(&host, "picky", "text")?) == before, "the old ones go on");
    Ok(())
}

#[test]
fn a_guest_that_misbehaves_when_it_is_tried_never_takes_over() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "guarded", json!({}))?;
    put(&host, "guarded", "cascade", "skin-cascade@1.0.0", json!({}))?.expect(200)?;
    let before = in_force(&host, "guarded", "cascade")?;
    // Written with the SDK; their settings say how they misbehave.
    add(&host, &built::guest("cascade")?)?.expect(201)?;
    let limits: &[&str] = &["memory", "CPU time"];
    for (how, stage, said) in [
        ("trap-configure", "configure", &["trap"][..]),
        ("loop-configure", "configure", &["CPU time"]),
        ("refuse", "configure", &["refused on purpose"]),
        ("trap", "smoke", &["trap"]),
        ("loop", "smoke", &["CPU time"]),
        // Whichever it meets first: touching new memory takes time, and more of it on a busy machine.
        ("hog", "smoke", limits),
        ("huge", "smoke", &[""]),
        ("obese", "", &[""]),
    ] {
        let detail = problem(put(&host, "guarded", "cascade", "steady@1.0.0", json!({ "how": how }))?, 422)?;
        ensure!(detail.contains(&format!("refused ({stage}")) && said.iter().any(|said| detail.contains(said)), "{how}: {detail}");
        ensure!(in_force(&host, "guarded", "cascade")? == before, "{how}");
    }
    // Without any compiler of guests, in the other two slots.
    for (slot, name) in [(Slot::Text, "text"), (Slot::Threshold, "threshold")] {
        let before = in_force(&host, "guarded", name)?;
        let guest = Guest::new(slot, "1.0.0", 0.5).named(&format!("trap-{name}")).doing(Hook::Configure, deed::TRAP);
        add(&host, &guest.component()?)?.expect(201)?;
        let detail = problem(put(&host, "guarded", name, &format!("trap-{name}@1.0.0"), json!({}))?, 422)?;
        ensure!(detail.contains("refused (configure)"), "{detail}");
        ensure!(in_force(&host, "guarded", name)? == before, "{name}");
    }
    let events = host.get("/v1/rooms/guarded/events?limit=1000")?.expect(200)?;
    let refused = events["events"].as_array().into_iter().flatten().filter(|event| event["body"]["event"] == "refused");
    ensure!(refused.count() == 10, "each refusal is an event: {events}");
    Ok(())
}

#[test]
fn a_state_that_the_next_version_cannot_read_keeps_the_old_one() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "stateful", json!({}))?;
    for guest in ["cascade", "next", "unreadable"] {
        let added = add(&host, &built::guest(guest)?)?;
        ensure!(added.status == 201, "{guest}: {added:?}");
    }
    put(&host, "stateful", "cascade", "steady@1.0.0", json!({}))?.expect(200)?;
    let before = in_force(&host, "stateful", "cascade")?;
    let detail = problem(put(&host, "stateful", "cascade", "steady@3.0.0", json!({}))?, 422)?;
    ensure!(detail.contains("refused (restore)"), "{detail}");
    ensure!(in_force(&host, "stateful", "cascade")? == before, "the old one goes on");
    put(&host, "stateful", "cascade", "steady@2.0.0", json!({}))?.expect(200)?;
    ensure!(in_force(&host, "stateful", "cascade")?.0 == "steady@2.0.0", "one that reads the state takes over");
    Ok(())
}

#[test]
fn a_catalog_that_was_tampered_with_gives_no_policy() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "cheated", json!({}))?;
    say(&host, "cheated", "good morning")?;
    let before = in_force(&host, "cheated", "cascade")?;
    // A name that means the bytes of another plugin, as somebody with access to the disk could write it.
    let names = host.data_dir.join("plugins/names");
    std::fs::copy(names.join("profanity-context@2.0.0"), names.join("honest@1.0.0"))?;
    let detail = problem(put(&host, "cheated", "cascade", "honest@1.0.0", json!({}))?, 422)?;
    ensure!(detail.contains("honest@1.0.0") && detail.contains("profanity-context@2.0.0"), "{detail}");
    // Bytes that are no longer those of the digest.
    let name = Guest::new(Slot::Cascade, "1.0.0", 0.5).named("rotten");
    let added = add(&host, &name.component()?)?.expect(201)?;
    let blob = host.data_dir.join("plugins/blobs").join(format!("{}.wasm", added["digest"].as_str().unwrap_or_default()));
    let mut bytes = std::fs::read(&blob)?;
    bytes.push(0);
    std::fs::write(&blob, bytes)?;
    let detail = problem(put(&host, "cheated", "cascade", "rotten@1.0.0", json!({}))?, 503)?;
    ensure!(detail.contains("no longer have their digest"), "{detail}");
    ensure!(in_force(&host, "cheated", "cascade")? == before, "the old one goes on");
    Ok(())
}
