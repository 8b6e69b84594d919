//! What reports changed in a room, and what of the last hour is judged otherwise for it.

use anyhow::{Context, Result, ensure};
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range};
use scrim_host::media::picture;
use scrim_host::plugin::types::Slot;
use scrim_host::vision::color::Rgb;
use scrim_tests::guest::{Guest, Hook, deed};
use scrim_tests::served::Served;
use scrim_tests::typeset::{Style, Typeface};
use serde_json::{Value, json};

use super::shared::{Shared, add, face_jpeg, post_picture, put, room};

static HOST: Shared = Shared::new();
/// What is shown; none of it may be kept.
const BAD: &str = "fucking";

/// A page with a bad word.
fn page() -> Result<Vec<u8>> {
    let mut page = Frame::new(FrameSeq(0), Micros::ZERO, 640, 360, Range::Full, Matrix::Bt601, vec![128; 640 * 360 * 3 / 2]);
    page.planes_mut()[0].fill(220);
    Typeface::open("DejaVuSans.ttf")?.draw(
        &mut page,
        (40.0, 60.0),
        &format!("good evening to all of you\nyou are a {BAD} idiot"),
        &Style::new(28.0, Rgb([10, 10, 10])),
    );
    Ok(picture::encode_jpeg(&page, 90)?)
}

fn report(host: &Served, room: &str) -> Result<Value> {
    host.get(&format!("/v1/rooms/{room}/report"))?.expect(200)
}

/// What a report says of a label.
fn of(report: &Value, detector: &str, label: &str) -> Result<Value> {
    let labels = report["labels"].as_array().context("labels")?;
    let found = labels.iter().find(|told| told["detector"] == detector && told["label"] == label);
    found.cloned().with_context(|| format!("{detector} {label} in {report}"))
}

/// Of a detector's detections in a picture the surest: its label, its confidence, and how many there are of the label.
fn found(verdict: &Value, detector: &str) -> Result<(String, f64, u64)> {
    let all = verdict["detections"].as_array().into_iter().flatten().filter(|found| found["detector"] == detector);
    let known = all.filter_map(|found| Some((found["label"].as_str()?.to_owned(), found["confidence"].as_f64()?)));
    let known: Vec<(String, f64)> = known.collect();
    let best = known.iter().max_by(|a, b| a.1.total_cmp(&b.1)).with_context(|| format!("nothing of {detector} in {verdict}"))?;
    Ok((best.0.clone(), best.1, known.iter().filter(|(label, _)| *label == best.0).count() as u64))
}

/// The newest event of such a detection.
fn event(host: &Served, room: &str, detector: &str, label: &str) -> Result<Value> {
    let events = host.get(&format!("/v1/rooms/{room}/events?limit=1000"))?.expect(200)?;
    let all = events["events"].as_array().context("events")?.iter().rev();
    let found = all
        .filter(|event| event["kind"] == "detection")
        .find(|event| event["body"]["detector"] == detector && event["body"]["label"] == label);
    Ok(found.with_context(|| format!("no event of {detector} {label} in {events}"))?["id"].clone())
}

#[test]
fn what_reports_changed_is_told_by_label() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "hindsight", json!({ "read": true }))?;
    put(&host, "hindsight", "text", "profanity-context@2.0.0", json!({}))?.expect(200)?;
    let nothing = report(&host, "hindsight")?;
    ensure!(nothing["labels"] == json!([]) && nothing["hour"]["inputs"] == 0 && nothing["hour"]["since"].is_null(), "{nothing}");
    ensure!(nothing["hour"]["policy"] == "adaptive-threshold@1.0.0" && nothing["hour"]["why_not"].is_null(), "{nothing}");

    let (face, page) = (face_jpeg()?, page()?);
    let (face_label, face_confidence, faces) = found(&post_picture(&host, "hindsight", "", &face)?.expect(200)?, "nudity")?;
    let (word_label, word_confidence, words) = found(&post_picture(&host, "hindsight", "", &page)?.expect(200)?, "text")?;
    // From now on both count by a hair.
    let bases = json!({ format!("nudity/{face_label}"): face_confidence - 0.01, format!("text/{word_label}"): word_confidence - 0.01 });
    put(&host, "hindsight", "threshold", "adaptive-threshold@1.0.0", json!({ "bases": bases }))?.expect(200)?;
    for _ in 0..2 {
        post_picture(&host, "hindsight", "", &face)?.expect(200)?;
        post_picture(&host, "hindsight", "", &page)?.expect(200)?;
    }
    let both = [("nudity", &face_label, face_confidence, 3 * faces), ("text", &word_label, word_confidence, 3 * words)];
    let before = report(&host, "hindsight")?;
    for (detector, label, confidence, seen) in both {
        let told = of(&before, detector, label)?;
        let close = |key: &str| told[key].as_f64().is_some_and(|threshold| (threshold - (confidence - 0.01)).abs() < 1e-3);
        ensure!(close("threshold") && close("threshold_default"), "{told}");
        ensure!(told["right"] == 0 && told["wrong"] == 0 && told["no_longer"] == 0 && told["newly"] == 0, "{told}");
        // Those of before the policy's new bases are judged by them too.
        ensure!(told["detections"] == seen && told["counted"] == 3, "{told}");
    }

    for (detector, label, ..) in both {
        let wrong = json!({ "event_id": event(&host, "hindsight", detector, label)?, "correct": false });
        let learned = host.json("POST", "/v1/rooms/hindsight/feedback", &wrong)?.expect(200)?;
        ensure!(learned["counted"] == true && learned["changed"][0]["detector"] == detector, "{learned}");
    }
    let after = report(&host, "hindsight")?;
    ensure!(after["reports"] == 2 && after["hour"]["left_out"] == 0 && after["hour"]["why_not"].is_null(), "{after}");
    ensure!(after["hour"]["inputs"].as_u64() >= Some(6) && after["hour"]["since"].is_i64(), "{after}");
    for (detector, label, confidence, seen) in both {
        let told = of(&after, detector, label)?;
        let threshold = |key: &str| told[key].as_f64().unwrap_or(f64::NAN);
        ensure!((threshold("threshold_default") - (confidence - 0.01)).abs() < 1e-3 && threshold("threshold") > confidence, "{told}");
        ensure!(told["right"] == 0 && told["wrong"] == 1 && told["detections"] == seen, "{told}");
        ensure!(told["counted"] == 0 && told["no_longer"] == 3 && told["newly"] == 0, "{told}");
    }
    ensure!(!after.to_string().contains(BAD), "the word is in the report: {after}");

    // The room gives up its own choice.
    host.json("DELETE", "/v1/rooms/hindsight/policy/threshold", &json!(null))?.expect(200)?;
    let still = report(&host, "hindsight")?;
    ensure!(still["hour"]["policy"] == "adaptive-threshold@1.0.0", "the host's own choice decides then: {still}");
    // By it, thresholds are far below both.
    ensure!(of(&still, "text", &word_label)?["counted"] == 3, "{still}");
    Ok(())
}

#[test]
fn what_counts_only_since_it_was_reported_is_new() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "heeded", json!({}))?;
    // The file's policy lets it count, so that there is something to report.
    let (label, _, faces) = found(&post_picture(&host, "heeded", "", &face_jpeg()?)?.expect(200)?, "nudity")?;
    let heeding = Guest::new(Slot::Threshold, "1.0.0", 0.75).named("heeding").doing(Hook::Judge, deed::COUNT_AFTER_A_REPORT);
    add(&host, &heeding.component()?)?.expect(201)?;
    put(&host, "heeded", "threshold", "heeding@1.0.0", json!({}))?.expect(200)?;
    let counts = || -> Result<Value> {
        let told = of(&report(&host, "heeded")?, "nudity", &label)?;
        Ok(json!([told["detections"], told["counted"], told["no_longer"], told["newly"], told["right"]]))
    };
    let before = counts()?;
    ensure!(before == json!([faces, 0, 0, 0, 0]), "{before}");
    let right = json!({ "event_id": event(&host, "heeded", "nudity", &label)?, "correct": true });
    host.json("POST", "/v1/rooms/heeded/feedback", &right)?.expect(200)?;
    let after = counts()?;
    ensure!(after == json!([faces, faces, 0, faces, 1]), "{after}");
    Ok(())
}
