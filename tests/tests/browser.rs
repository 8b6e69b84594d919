//! The page of a real `scrim serve`, opened in a real browser: `tests/browser/*.mjs` look at it and press its buttons.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use scrim_host::api::auth::Role;
use scrim_tests::blesses;
use scrim_tests::browser::{browse, root};
use scrim_tests::served::Served;
use scrim_toolchain::clip;
use serde_json::json;

/// One browser at a time: two would take each other's frames/s.
static ONE: Mutex<()> = Mutex::new(());

#[test]
fn the_page_shows_what_viewers_see_and_every_button_does_what_it_says() -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir()?;
    let (footage, picture) = (folder.path().join("demo.mp4"), folder.path().join("live.png"));
    clip::make(&footage)?;
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir)?;
    let served = Served::start_demo(&data_dir, &footage)?;
    browse("page.mjs", &[&served.url("/"), picture.to_str().context("a path in UTF-8")?])?;
    let report = served.get("/v1/rooms/demo/report")?.expect(200)?;
    ensure!(report["reports"] == 1, "one report was made, the journal has {}", report["reports"]);
    served.terminate(Duration::from_secs(20))?;
    if blesses() {
        std::fs::copy(&picture, root().join("docs/live.png"))?;
    }
    Ok(())
}

#[test]
fn without_a_demo_the_page_asks_for_the_key_and_lets_a_room_be_watched() -> Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir()?;
    let served = Served::start_with_key(folder.path(), "olga", Role::Admin)?;
    served.json("POST", "/v1/rooms", &json!({ "name": "studio" }))?.expect(201)?;
    browse("rooms.mjs", &[&served.url("/"), served.key.as_deref().context("it has a key")?])
}
