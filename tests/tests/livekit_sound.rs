//! Sound through a real `scrim serve` in front of a real LiveKit server: it leaves sample for sample as it came, no further than a judge has heard it
//! where the room wants one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scrim_livekit::AudioStream;
use scrim_tests::livekit::{SOON, alone};
use scrim_tests::sound::{LISTENER, Microphone, PUBLISHER, RATE, Stage, exact, loudness, once_of_three, subscribed, tone, unix_us};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Mean of the tone's absolute samples is about 5000, of the one that stands for what is muted 2000.
const LOUD: f32 = 2800.0;
const QUIET: f32 = 300.0;

#[test]
fn every_sample_leaves_as_it_came() -> Result<()> {
    if alone()? { Ok(()) } else { once_of_three(|| exact(30)) }
}

/// A program outside that hears the raw sound and says how far it has, while it is on.
struct Judge {
    on: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Judge {
    async fn start(stage: &Arc<Stage>, identity: &str) -> Result<Self> {
        let mut room = stage.moderator().await?;
        let remote = subscribed(&mut room, false).await?;
        let mut raw = AudioStream::of(&room, remote, RATE as u32, 1)?;
        let on = Arc::new(AtomicBool::new(false));
        let (told, stage, identity) = (on.clone(), stage.clone(), identity.to_owned());
        let task = tokio::spawn(async move {
            let _stays = room;
            let mut said = Instant::now();
            while let Some(sound) = raw.next().await {
                if said.elapsed() < Duration::from_millis(40) || !told.load(Ordering::Relaxed) {
                    continue;
                }
                said = Instant::now();
                // As docs/livekit.md has it.
                let until = unix_us() - i64::try_from(sound.arrived.elapsed().as_micros())? - 100_000;
                let (stage, body) = (stage.clone(), json!({ "identity": identity, "until": until }));
                tokio::task::spawn_blocking(move || stage.host.json("POST", "/v1/rooms/studio/judged", &body)?.expect(204)).await??;
            }
            Ok(())
        });
        Ok(Self { on, task })
    }

    fn set(&self, on: bool) -> Result<()> {
        ensure!(!self.task.is_finished(), "the judge itself has failed");
        self.on.store(on, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens until so many chunks in a row are as wanted: how long that took, up to the first of them.
async fn until(sound: &mut AudioStream, what: &str, row: usize, mut wanted: impl FnMut(f32) -> bool) -> Result<Duration> {
    let (begin, mut first, mut count) = (Instant::now(), Duration::ZERO, 0);
    while count < row {
        let chunk = timeout(SOON, sound.next()).await?.context("sound goes on")?;
        if !wanted(loudness(&chunk.samples)) {
            count = 0;
        } else if count == 0 {
            (first, count) = (begin.elapsed(), 1);
        } else {
            count += 1;
        }
        ensure!(begin.elapsed() < SOON, "{what}: not within {SOON:?}");
    }
    Ok(first)
}

/// The share of the chunks of some time that are as wanted.
async fn share(sound: &mut AudioStream, time: Duration, wanted: impl Fn(f32) -> bool) -> Result<f32> {
    let (begin, mut all, mut good) = (Instant::now(), 0, 0);
    while begin.elapsed() < time {
        let chunk = timeout(SOON, sound.next()).await?.context("sound goes on")?;
        all += 1;
        good += u32::from(wanted(loudness(&chunk.samples)));
    }
    Ok(good as f32 / all.max(1) as f32)
}

#[test]
fn judged_sound_leaves_as_far_as_a_judge_has_heard_it() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    Stage::start(json!({ "sound": "judged", "delay_ms": 600 }))?.run(|stage| async move {
        let host = &stage.host;
        let mut viewer = stage.join(&stage.token("Vera", "viewer")?, LISTENER).await?;
        let minted = stage.token("Bob", "broadcaster")?;
        let identity = minted["identity"].as_str().context("an identity")?;
        let broadcaster = stage.join(&minted, PUBLISHER).await?;
        let _microphone = Microphone::start(&broadcaster, |number| tone(number, 440.0, 8000.0)).await?;
        let remote = subscribed(&mut viewer, false).await?;
        let mut sound = AudioStream::of(&viewer, remote, RATE as u32, 1)?;
        let health = |name: &str| Ok::<_, anyhow::Error>(host.get("/health")?.json()?["parts"][name].clone());

        // Nobody has judged: nothing is heard, and the host says so.
        let silent = share(&mut sound, Duration::from_secs(3), |level| level < QUIET).await?;
        ensure!(silent == 1.0, "{} of the unjudged sound is heard", 1.0 - silent);
        ensure!(health("room.studio.sound")?["ok"] == false && health("sound")?["ok"] == false, "{}", health("sound")?);

        let judge = Judge::start(&stage, identity).await?;
        judge.set(true)?;
        let heard = until(&mut sound, "the judged sound", 50, |level| level > LOUD).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        ensure!(health("sound")?["ok"] == true && health("room.studio.sound")?.is_null(), "{}", health("sound")?);

        // It stops: what it had heard still goes, no more. It goes on: so does the sound.
        until(&mut sound, "the sound before it stops", 20, |level| level > LOUD).await?;
        judge.set(false)?;
        let gone = until(&mut sound, "the silence", 50, |level| level < QUIET).await?;
        let silent = share(&mut sound, Duration::from_secs(1), |level| level < QUIET).await?;
        ensure!(silent == 1.0, "{} is heard though the judge is gone", 1.0 - silent);
        // Nor is what has not come, whatever a judge says of it: of the second that it claims, what the delay line holds is all that is heard.
        let claim = json!({ "identity": identity, "until": unix_us() + 900_000 });
        host.json("POST", "/v1/rooms/studio/judged", &claim)?.expect(204)?;
        let heard_of_it = 3.0 * share(&mut sound, Duration::from_secs(3), |level| level > LOUD).await?;
        ensure!((0.2..0.9).contains(&heard_of_it), "{heard_of_it} s are heard of what a judge claims ahead of time");
        judge.set(true)?;
        let back = until(&mut sound, "the sound again", 50, |level| level > LOUD).await?;
        println!("heard {heard:?} after the judge came, silent {gone:?} after it stopped, back after {back:?}");
        ensure!(gone < Duration::from_secs(2), "silent only {gone:?} after the judge stopped");

        // A room that fails open goes on, with the mutes.
        host.json("PATCH", "/v1/rooms/studio", &json!({ "fail_mode": "open" }))?.expect(200)?;
        judge.set(false)?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        while timeout(Duration::from_millis(1), sound.next()).await.is_ok() {}
        let loud = share(&mut sound, Duration::from_secs(2), |level| level > LOUD).await?;
        ensure!(loud > 0.9, "{loud} of the sound passes a room that fails open");
        ensure!(health("room.studio.sound")?["ok"] == false, "a late judge is not told of");
        let now = unix_us();
        let muted = json!({ "identity": identity, "until": 0, "mutes": [{ "from": now, "to": now + 700_000 }] });
        host.json("POST", "/v1/rooms/studio/judged", &muted)?.expect(204)?;
        until(&mut sound, "the mute", 50, |level| level < QUIET).await?;
        until(&mut sound, "its end", 20, |level| level > LOUD).await?;

        // A tone in the place of silence.
        host.json("PATCH", "/v1/rooms/studio", &json!({ "fail_mode": "closed", "mute_with": "tone" }))?.expect(200)?;
        until(&mut sound, "the tone", 50, |level| (1500.0..LOUD).contains(&level)).await?;

        for (body, status) in refused(identity) {
            let answer = host.json("POST", "/v1/rooms/studio/judged", &body)?;
            ensure!(answer.status == status, "{} instead of {status} for {body}", answer.status);
        }
        // Each time that a judge is late is told once, and so is its coming back.
        let events = stage.sound_events()?;
        let told: Vec<&str> = events.iter().filter_map(|body| body["event"].as_str()).collect();
        ensure!(told.len() >= 5 && told.iter().step_by(2).all(|event| *event == "judge_late"), "{told:?}");
        ensure!(told.iter().skip(1).step_by(2).all(|event| *event == "judge_back"), "{told:?}");
        let metrics = String::from_utf8(host.get("/metrics")?.body)?;
        for series in ["scrim_sound_samples_silenced_total{reason=\"unjudged\"}", "scrim_sound_samples_passed_unjudged_total"] {
            let line = metrics.lines().find(|line| line.starts_with(series)).with_context(|| format!("no {series}"))?;
            ensure!(line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).is_some_and(|value| value > 48_000.0), "{line}");
        }
        judge.set(false)
    })
}

fn refused(identity: &str) -> Vec<(Value, u16)> {
    let now = unix_us();
    let span = json!({ "from": now, "to": now + 1 });
    vec![
        (json!({ "identity": "nobody", "until": now }), 404),
        (json!({ "identity": identity, "until": now + 60_000_000 }), 409),
        (json!({ "identity": identity, "until": now, "mutes": [{ "from": now, "to": now }] }), 409),
        (json!({ "identity": identity, "until": now, "mutes": vec![span; 65] }), 422),
        (json!({ "identity": identity }), 422),
        (json!({ "identity": identity, "until": now, "from": now }), 422),
    ]
}
