//! A room's events: pages, and live with `Last-Event-ID`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scrim_tests::served::Served;
use serde_json::{Value, json};

use super::shared::{Shared, problem, room, until};

static HOST: Shared = Shared::new();

/// The numbers of a room's events, read in pages of this size.
fn paged(host: &Served, room: &str, limit: usize) -> Result<Vec<i64>> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = host.get(&format!("/v1/rooms/{room}/events?after={after}&limit={limit}"))?.expect(200)?;
        let events = page["events"].as_array().context("events")?;
        ensure!(events.len() <= limit, "{} of {limit}", events.len());
        all.extend(events.iter().filter_map(|event| event["seq"].as_i64()));
        if events.is_empty() {
            return Ok(all);
        }
        ensure!(page["next"].as_i64() == all.last().copied(), "{page}");
        after = page["next"].as_i64().context("a number")?;
    }
}

/// One change of the room: one event.
fn change(host: &Served, room: &str, hold: usize) -> Result<()> {
    host.json("PATCH", &format!("/v1/rooms/{room}"), &json!({ "hold_ms": hold }))?.expect(200).map(drop)
}

/// Reads events as they come, from `last` on, until `enough` says so: number and kind of each.
fn follow(host: &Served, room: &str, last: Option<i64>, enough: impl Fn(&[i64]) -> bool) -> Result<Vec<i64>> {
    let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).build().new_agent();
    let mut request = agent.get(host.url(&format!("/v1/rooms/{room}/events"))).header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let response = request.call()?;
    ensure!(response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream"), "{response:?}");
    let mut seen = Vec::new();
    let (mut id, mut kind) = (None, None);
    for line in BufReader::new(response.into_body().into_reader()).lines() {
        let line = line?;
        if let Some(number) = line.strip_prefix("id: ") {
            id = Some(number.parse::<i64>()?);
        } else if let Some(word) = line.strip_prefix("event: ") {
            kind = Some(word.to_owned());
        } else if let Some(data) = line.strip_prefix("data: ") {
            let event: Value = serde_json::from_str(data)?;
            ensure!(event["seq"].as_i64() == id && event["kind"].as_str() == kind.as_deref(), "{id:?} {kind:?}: {event}");
            seen.push(id.context("an id")?);
            if enough(&seen) {
                break;
            }
        }
    }
    Ok(seen)
}

#[test]
fn pages_have_every_event_once_in_order() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "diary", json!({}))?;
    for hold in 0..40 {
        change(&host, "diary", hold)?;
    }
    let all = paged(&host, "diary", 1000)?;
    ensure!(all == (1..=41).collect::<Vec<_>>(), "{all:?}");
    for limit in [1, 7, 41] {
        ensure!(paged(&host, "diary", limit)? == all, "in pages of {limit}");
    }
    for bad in ["limit=0", "limit=1001", "limit=-1", "after=-1", "after=x", "befor=1"] {
        problem(host.get(&format!("/v1/rooms/diary/events?{bad}"))?, 400).with_context(|| bad.to_owned())?;
    }
    ensure!(host.get("/v1/rooms/diary/events?after=100")?.expect(200)? == json!({ "events": [], "next": 100 }), "after the last");
    Ok(())
}

#[test]
fn a_follower_that_comes_and_goes_misses_nothing_and_hears_nothing_twice() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "news", json!({}))?;
    let total = 400;
    let writing = AtomicBool::new(true);
    let heard = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let written = (0..total).try_for_each(|hold| change(&host, "news", hold));
            writing.store(false, Ordering::Relaxed);
            written
        });
        let since = Instant::now();
        let (mut heard, mut last) = (Vec::new(), 0);
        // Cut off after every few events, and back with the last number.
        while heard.len() < total + 1 && since.elapsed() < Duration::from_secs(60) {
            let some = 1 + heard.len() % 37;
            let seen = follow(&host, "news", Some(last), |seen| seen.len() >= some || seen.last() == Some(&(total as i64 + 1)))?;
            last = *seen.last().context("an event")?;
            heard.extend(seen);
        }
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        anyhow::Ok(heard)
    })?;
    ensure!(
        heard == (1..=total as i64 + 1).collect::<Vec<_>>(),
        "{} heard, {:?}",
        heard.len(),
        heard.windows(2).find(|two| two[1] != two[0] + 1)
    );
    ensure!(!writing.load(Ordering::Relaxed) && paged(&host, "news", 100)? == heard, "as the pages have it");
    Ok(())
}

#[test]
fn a_follower_without_a_number_hears_what_comes_from_now_on() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "fresh", json!({}))?;
    change(&host, "fresh", 1)?;
    let stop = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        // Changes go on until the follower has heard three.
        let writer = scope.spawn(|| {
            for hold in 2.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                change(&host, "fresh", hold % 1000)?;
                std::thread::sleep(Duration::from_millis(20));
            }
            anyhow::Ok(())
        });
        let seen = follow(&host, "fresh", None, |seen| seen.len() >= 3);
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        seen
    })?;
    ensure!(seen[0] > 2 && seen.windows(2).all(|two| two[1] == two[0] + 1), "{seen:?}");
    Ok(())
}

#[test]
fn more_events_than_memory_holds_are_read_from_the_store() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "long", json!({}))?;
    for hold in 0..700 {
        change(&host, "long", hold)?;
    }
    until("all are in the store", || Ok(paged(&host, "long", 1000)?.len() == 701))?;
    let seen = follow(&host, "long", Some(5), |seen| seen.last() == Some(&701))?;
    ensure!(seen == (6..=701).collect::<Vec<_>>(), "{} events", seen.len());
    let page = host.get("/v1/rooms/long/events?after=0&limit=3")?.expect(200)?;
    let ids: BTreeSet<&str> = page["events"].as_array().into_iter().flatten().filter_map(|event| event["id"].as_str()).collect();
    ensure!(ids.len() == 3 && page["next"] == 3, "{page}");
    Ok(())
}
