//! Pictures, messages and reports.

use anyhow::{Context, Result, ensure};
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range};
use scrim_host::media::picture::{self, Limits};
use scrim_host::vision::color::{Rgb, rgb_from_frame};
use scrim_tests::served::Served;
use scrim_tests::typeset::{Drawn, Style, Typeface};
use serde_json::{Value, json};

use super::shared::{Shared, astronaut, face_jpeg, post_picture, problem, put, raw, room, say};

static HOST: Shared = Shared::new();

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("{key} in {value}"))
}

/// The detections of faces that count.
fn faces(verdict: &Value) -> Result<Vec<&Value>> {
    let is_face = |found: &&Value| found["label"].as_str().is_some_and(|label| label.starts_with("FACE_")) && found["counts"] == true;
    Ok(list(verdict, "detections")?.iter().filter(is_face).collect())
}

#[test]
fn a_face_in_a_picture_is_found_and_masked() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "gallery", json!({}))?;
    let png = picture::encode_png(&astronaut()?)?;
    for bytes in [face_jpeg()?, png] {
        let verdict = post_picture(&host, "gallery", "", &bytes)?.expect(200)?;
        ensure!(
            verdict["judged"] == true && verdict["cover"] == "masked" && verdict["width"] == 512 && verdict["height"] == 512,
            "{verdict}"
        );
        ensure!(verdict["looked"] == json!(["nudity"]) && verdict["failed"] == json!([]), "{verdict}");
        let faces = faces(&verdict)?;
        ensure!(faces.len() == 1 && faces[0]["covered"] == true && faces[0]["event_id"].is_string(), "{verdict}");
        let (area, masks) = (&faces[0]["area"], list(&verdict, "masks")?);
        let of = |area: &Value, key: &str| area[key].as_f64().unwrap_or(f64::NAN);
        let (x, y) = (of(area, "x") + of(area, "width") / 2.0, of(area, "y") + of(area, "height") / 2.0);
        ensure!((x - 0.44).abs() < 0.08 && (y - 0.22).abs() < 0.08, "the face lies elsewhere: {area}");
        let holds =
            |mask: &Value| of(mask, "x") <= of(area, "x") && of(mask, "x") + of(mask, "width") >= of(area, "x") + of(area, "width") - 1e-4;
        ensure!(masks.iter().any(holds), "{area} in {masks:?}");
    }
    // A detection is an event that says the same.
    let events = host.get("/v1/rooms/gallery/events?limit=1000")?.expect(200)?;
    let told = list(&events, "events")?.iter().filter(|event| event["kind"] == "detection" && event["body"]["source"].is_string());
    ensure!(told.count() >= 2, "{events}");
    // The room decides which labels are covered.
    host.json("PATCH", "/v1/rooms/gallery", &json!({ "cover": ["FEET_EXPOSED"] }))?.expect(200)?;
    let verdict = post_picture(&host, "gallery", "", &face_jpeg()?)?.expect(200)?;
    ensure!(verdict["cover"] == "clear" && verdict["masks"] == json!([]) && faces(&verdict)?[0]["covered"] == false, "{verdict}");
    Ok(())
}

/// A picture of a text, and where its words are.
fn page(text: &str) -> Result<(Vec<u8>, Vec<Drawn>)> {
    let mut page = Frame::new(FrameSeq(0), Micros::ZERO, 640, 360, Range::Full, Matrix::Bt601, vec![128; 640 * 360 * 3 / 2]);
    page.planes_mut()[0].fill(220);
    let drawn = Typeface::open("DejaVuSans.ttf")?.draw(&mut page, (40.0, 60.0), text, &Style::new(28.0, Rgb([10, 10, 10])));
    Ok((picture::encode_jpeg(&page, 90)?, drawn))
}

#[test]
fn bad_words_in_a_picture_are_read_and_masked() -> Result<()> {
    let host = HOST.host()?;
    let view = room(&host, "reads", json!({ "read": true, "detectors": [] }))?;
    put(&host, "reads", "text", "profanity-context@2.0.0", json!({}))?.expect(200)?;
    ensure!(view["effective"]["read"] == true && view["effective"]["delay_ms"] == 1200, "{view}");
    let (page, drawn) = page("good evening to all of you\nyou are a fucking idiot")?;
    let verdict = post_picture(&host, "reads", "", &page)?.expect(200)?;
    ensure!(verdict["judged"] == true && verdict["cover"] == "masked" && verdict["looked"] == json!(["text"]), "{verdict}");
    let masks = list(&verdict, "masks")?;
    let of = |area: &Value, key: &str| area[key].as_f64().unwrap_or(f64::NAN) as f32;
    for word in &drawn {
        let (x, y) = word.area.center();
        let hidden = masks.iter().any(|mask| {
            let (left, top) = (of(mask, "x"), of(mask, "y"));
            (left..left + of(mask, "width")).contains(&x) && (top..top + of(mask, "height")).contains(&y)
        });
        ensure!(hidden == ["fucking", "idiot"].contains(&&*word.text), "{}: {verdict}", word.text);
    }
    let found = list(&verdict, "detections")?;
    ensure!(found.iter().any(|found| found["detector"] == "text" && found["label"] == "profanity"), "{verdict}");
    ensure!(!verdict.to_string().contains("fuck"), "the words are in the answer: {verdict}");
    // What is not read passes.
    host.json("PATCH", "/v1/rooms/reads", &json!({ "read": false }))?.expect(200)?;
    let verdict = post_picture(&host, "reads", "", &page)?.expect(200)?;
    ensure!(verdict["cover"] == "clear" && verdict["masks"] == json!([]), "{verdict}");
    Ok(())
}

#[test]
fn the_covered_picture_has_the_cover_s_colour_where_masks_are() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "painted", json!({ "color": "#20c040", "style": "solid" }))?;
    let answer = post_picture(&host, "painted", "?cover=true", &face_jpeg()?)?;
    ensure!(answer.status == 200 && answer.header("content-type") == Some("image/jpeg"), "{:?}", answer.headers);
    let verdict: Value = serde_json::from_str(answer.header("x-scrim-verdict").context("a verdict")?)?;
    ensure!(verdict["cover"] == "masked", "{verdict}");
    let covered = picture::decode(&answer.body, Limits::default(), FrameSeq(0), Micros::ZERO)?;
    let (width, height) = (covered.width, covered.height);
    ensure!((width, height) == (512, 512), "{width}x{height}");
    let (before, after) = (rgb_from_frame(&astronaut()?), rgb_from_frame(&covered));
    let masks = list(&verdict, "masks")?;
    let inside = |x: usize, y: usize, rim: f64| {
        masks.iter().any(|mask| {
            let of = |key: &str| mask[key].as_f64().unwrap_or_default() * 512.0;
            let (x, y) = (x as f64, y as f64);
            x >= of("x") - rim && x < of("x") + of("width") + rim && y >= of("y") - rim && y < of("y") + of("height") + rim
        })
    };
    let (mut painted, mut kept) = (0, 0);
    for (index, (now, was)) in after.chunks_exact(3).zip(before.chunks_exact(3)).enumerate() {
        let (x, y) = (index % width, index / width);
        let off = |rgb: &[u8]| now.iter().zip(rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(255);
        if inside(x, y, -8.0) {
            ensure!(off(&[0x20, 0xc0, 0x40]) <= 8, "({x}, {y}) is {now:?} under a mask");
            painted += 1;
        } else if !inside(x, y, 16.0) {
            kept += usize::from(off(was) <= 48);
        }
    }
    ensure!(painted > 500 && kept > 200_000, "{painted} painted, {kept} as they were");
    Ok(())
}

#[test]
fn the_cascade_is_asked_where_its_skips_count() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "screened", json!({ "skip_max_ms": 200 }))?;
    let grey = picture::encode_jpeg(
        &scrim_host::media::frame::Frame::new(
            FrameSeq(0),
            Micros::ZERO,
            64,
            64,
            scrim_host::media::frame::Range::Full,
            scrim_host::media::frame::Matrix::Bt601,
            vec![128; 64 * 64 * 3 / 2],
        ),
        90,
    )?;
    // A cascade that sees nothing in a grey picture.
    host.json("PUT", "/v1/rooms/screened/policy/cascade", &json!({ "plugin": "skin-cascade@1.0.0" }))?.expect(200)?;
    let verdict = post_picture(&host, "screened", "", &grey)?.expect(200)?;
    ensure!(verdict["skipped"] == json!(["nudity"]) && verdict["looked"] == json!([]) && verdict["cover"] == "clear", "{verdict}");
    let verdict = post_picture(&host, "screened", "?cascade=off", &grey)?.expect(200)?;
    ensure!(verdict["skipped"] == json!([]) && verdict["looked"] == json!(["nudity"]), "{verdict}");
    // By default a skip is no judgement, and the cascade is not asked.
    host.json("PATCH", "/v1/rooms/screened", &json!({ "skip_max_ms": null }))?.expect(200)?;
    let verdict = post_picture(&host, "screened", "?cascade=on", &grey)?.expect(200)?;
    ensure!(verdict["looked"] == json!(["nudity"]), "{verdict}");
    problem(post_picture(&host, "screened", "?cascade=maybe", &grey)?, 400)?;
    problem(post_picture(&host, "screened", "?covr=true", &grey)?, 400)?;
    Ok(())
}

#[test]
fn what_is_no_picture_or_too_large_is_refused() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "narrow", json!({}))?;
    let jpeg = face_jpeg()?;
    let refused = |bytes: &[u8]| problem(post_picture(&host, "narrow", "", bytes)?, 400);
    for garbage in [&b""[..], b"hello", b"GIF89a......", &[0xff, 0xd8, 0xff], b"\x89PNG\r\n\x1a\n"] {
        refused(garbage)?;
    }
    let detail = refused(&jpeg[..jpeg.len() / 2])?;
    ensure!(detail.contains("can't be decoded"), "{detail}");
    // A size is refused by the header alone: there is nothing else in these.
    let mut large = jpeg.clone();
    let frame = large.windows(2).position(|two| two == [0xff, 0xc0]).context("a baseline frame")?;
    large[frame + 5..frame + 9].copy_from_slice(&[0x13, 0x88, 0x13, 0x88]);
    let png = [
        &b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x13\x88\0\0\x13\x88\x08\x02\0\0\0"[..],
        &crc(b"IHDR\0\0\x13\x88\0\0\x13\x88\x08\x02\0\0\0"),
    ]
    .concat();
    for bytes in [large, [&png[..], &b"\0\0\0\x04IDAT\0\0\0\0"[..], &crc(b"IDAT\0\0\0\0")].concat()] {
        let detail = refused(&bytes)?;
        ensure!(detail.contains("5000x5000") && detail.contains("4096x4096"), "{detail}");
    }
    Ok(())
}

/// PNG's checksum of a chunk.
fn crc(bytes: &[u8]) -> [u8; 4] {
    let step =
        |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 });
    (!bytes.iter().fold(!0, step)).to_be_bytes()
}

#[test]
fn a_body_of_eleven_mebibytes_is_answered_413() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "heavy", json!({}))?;
    let body = vec![0xff; 11 << 20];
    problem(post_picture(&host, "heavy", "", &body)?, 413)?;
    // Its length told, or found out while it comes.
    let head = format!("POST /v1/rooms/heavy/frames HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", host.address);
    problem(raw(&host, &format!("{head}content-length: {}\r\n\r\n", body.len()), &body)?, 413)?;
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    problem(raw(&host, &format!("{head}transfer-encoding: chunked\r\n\r\n"), &chunked)?, 413)?;
    problem(host.send("POST", "/v1/rooms/heavy/messages", &[("content-type", "application/json")], &body)?, 413)?;
    Ok(())
}

#[test]
fn messages_pass_or_have_their_words_masked() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "chat", json!({}))?;
    let clean = say(&host, "chat", "what a lovely show")?;
    ensure!(clean["judged"] == true && clean["flagged"] == false && clean["masked"] == "what a lovely show", "{clean}");
    ensure!(clean["findings"] == json!([]) && clean["fault"].is_null(), "{clean}");
    for text in ["what the fuck is this", "größte Scheiße, you fucking 🎉 fücking idiot 🎉", "ｆｕｃｋ off 😀", "f u c k là-bas", "", "   "]
    {
        let verdict = say(&host, "chat", text)?;
        let masked = verdict["masked"].as_str().context("a text")?;
        for finding in list(&verdict, "findings")? {
            let of = |key: &str| finding[key].as_u64().map(|byte| byte as usize).context("a byte");
            let found = text.get(of("start")?..of("end")?).with_context(|| format!("{finding} cuts a character of {text:?}"))?;
            ensure!(!found.trim().is_empty() && finding["severity"].as_f64().is_some_and(|s| s > 0.0), "{finding}");
            ensure!(!masked.contains(found), "{found:?} stands in {masked:?}");
        }
        ensure!((verdict["flagged"] == true) != list(&verdict, "findings")?.is_empty(), "{verdict}");
        ensure!(masked.chars().count() == text.chars().count() && (verdict["flagged"] == true || masked == text), "{masked:?} of {text:?}");
    }
    ensure!(say(&host, "chat", "what the fuck is this")?["masked"] == "what the f*** is this", "as people write it");
    Ok(())
}

#[test]
fn replies_and_mentions_reach_the_policy() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "talk", json!({}))?;
    let post = |message: &Value| host.json("POST", "/v1/rooms/talk/messages", message);
    let severity =
        |verdict: &Value| list(verdict, "findings").map(|all| all.iter().filter_map(|f| f["severity"].as_f64()).fold(0.0, f64::max));
    let said = post(&json!({ "text": "you are a stupid idiot", "author": "ann" }))?.expect(200)?;
    let at =
        post(&json!({ "text": "you are a stupid idiot", "author": "ann", "mentions": ["bob"], "reply_to": said["id"] }))?.expect(200)?;
    ensure!(severity(&said)? > 0.0 && severity(&at)? >= severity(&said)?, "{said} and {at}");
    for (message, status) in [
        (json!({ "text": "x" }), 422),
        (json!({ "text": "x", "author": "" }), 422),
        (json!({ "text": "x", "author": "a".repeat(257) }), 422),
        (json!({ "text": "é".repeat(10_001), "author": "a" }), 422),
        (json!({ "text": "x", "author": "a", "mentions": vec!["b"; 65] }), 422),
        (json!({ "text": "x", "author": "a", "reply_to": "r".repeat(257) }), 422),
        (json!({ "text": "x", "author": "a", "colour": "red" }), 422),
        (json!([]), 422),
    ] {
        problem(post(&message)?, status).with_context(|| message.to_string())?;
    }
    post(&json!({ "text": "é".repeat(10_000), "author": "é".repeat(256) }))?.expect(200)?;
    // Nothing of a text is kept.
    let log = std::fs::read_to_string(host.data_dir.join("serve.log"))?;
    let events = host.get("/v1/rooms/talk/events?limit=1000")?.expect(200)?.to_string();
    ensure!(events.contains("\"message\"") && !events.contains("stupid") && !log.contains("stupid"), "{events}");
    Ok(())
}

#[test]
fn a_room_keeps_what_was_found_bad_where_it_asks_for_it_and_nothing_else() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "complaints", json!({ "keep_text_h": 2 }))?;
    say(&host, "complaints", "what the fuck is this")?;
    say(&host, "complaints", "what a lovely show")?;
    let told = |host: &Served| -> Result<Vec<Value>> {
        let events = host.get("/v1/rooms/complaints/events?limit=1000")?.expect(200)?;
        Ok(list(&events, "events")?.iter().filter(|event| event["kind"] == "message").cloned().collect())
    };
    let kept = told(&host)?;
    ensure!(kept.len() == 1 && kept[0]["text"] == "what the fuck is this", "{kept:?}");
    let hours = (kept[0]["text_until"].as_i64().context("a time")? - kept[0]["at"].as_i64().context("a time")?) / 3_600_000_000;
    ensure!(hours == 2, "{kept:?}");
    host.json("PATCH", "/v1/rooms/complaints", &json!({ "keep_text_h": null }))?.expect(200)?;
    say(&host, "complaints", "what the fuck is that")?;
    let kept = told(&host)?;
    ensure!(kept.len() == 2 && kept[1].get("text").is_none(), "{kept:?}");
    problem(host.json("PATCH", "/v1/rooms/complaints", &json!({ "keep_text_h": 721 }))?, 422)?;
    Ok(())
}

#[test]
fn what_a_posted_picture_shows_is_kept_like_what_is_shown_live() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "evidence", json!({ "read": true, "detectors": [], "keep_text_h": 2 }))?;
    put(&host, "evidence", "text", "profanity-context@2.0.0", json!({}))?.expect(200)?;
    let told = || -> Result<Vec<Value>> {
        let events = host.get("/v1/rooms/evidence/events?limit=1000")?.expect(200)?;
        Ok(list(&events, "events")?.iter().filter(|event| event["kind"] == "detection").cloned().collect())
    };
    post_picture(&host, "evidence", "", &page("good evening to all of you")?.0)?.expect(200)?;
    ensure!(told()?.is_empty(), "nothing bad was shown");
    let (bad, _) = page("good evening to all of you\nyou are a fucking idiot")?;
    let verdict = post_picture(&host, "evidence", "", &bad)?.expect(200)?;
    ensure!(!verdict.to_string().contains("fuck"), "the words are in the answer: {verdict}");
    let kept = told()?;
    ensure!(!kept.is_empty(), "something bad was shown: {verdict}");
    for event in &kept {
        ensure!(event["text"].as_str().is_some_and(|text| text.contains("fucking")), "{event}");
        let hours = (event["text_until"].as_i64().context("a time")? - event["at"].as_i64().context("a time")?) / 3_600_000_000;
        let body = &event["body"];
        ensure!(hours == 2 && body["medium"] == "screen" && body["frame"].is_null() && body["words"].as_u64() > Some(0), "{event}");
        ensure!(!body.to_string().contains("fuck"), "the words are in what is kept for longer: {event}");
    }
    // As long as the room asks for it.
    host.json("PATCH", "/v1/rooms/evidence", &json!({ "keep_text_h": null }))?.expect(200)?;
    post_picture(&host, "evidence", "", &bad)?.expect(200)?;
    let all = told()?;
    ensure!(all.len() > kept.len() && all[kept.len()..].iter().all(|event| event.get("text").is_none()), "{all:?}");
    Ok(())
}

#[test]
fn without_a_text_policy_the_fail_mode_speaks() -> Result<()> {
    // A host of its own, with nobody in the slot.
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("scrim.toml");
    std::fs::write(&config, format!("data_dir = {:?}\n[detectors]\n", folder.path()))?;
    let host = Served::start_with(folder.path(), &["--config".as_ref(), config.as_os_str()], &[])?;
    room(&host, "closed", json!({}))?;
    room(&host, "open", json!({ "fail_mode": "open" }))?;
    let closed = say(&host, "closed", "what a lövely show")?;
    ensure!(closed["judged"] == false && closed["flagged"] == true && closed["masked"] == "**** * ****** ****", "{closed}");
    ensure!(closed["fault"].as_str().is_some_and(|why| !why.is_empty()), "{closed}");
    let open = say(&host, "open", "what a lövely show")?;
    ensure!(open["judged"] == false && open["flagged"] == false && open["masked"] == "what a lövely show", "{open}");
    Ok(())
}

#[test]
fn a_report_moves_the_threshold_once() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "learning", json!({}))?;
    let verdict = post_picture(&host, "learning", "", &face_jpeg()?)?.expect(200)?;
    let face = faces(&verdict)?[0].clone();
    let threshold = || -> Result<f64> {
        let verdict = post_picture(&host, "learning", "", &face_jpeg()?)?.expect(200)?;
        faces(&verdict)?[0]["threshold"].as_f64().context("a threshold")
    };
    let before = threshold()?;
    let report =
        |id: &Value, correct: bool| host.json("POST", "/v1/rooms/learning/feedback", &json!({ "event_id": id, "correct": correct }));
    let learned = report(&face["event_id"], false)?.expect(200)?;
    ensure!(learned["counted"] == true && learned["pending"].is_null(), "{learned}");
    let changed = list(&learned, "changed")?.iter().find(|changed| changed["label"] == face["label"]).context("a change")?.clone();
    let after = threshold()?;
    ensure!(
        after > before && changed["threshold"].as_f64().is_some_and(|told| (told - after).abs() < 1e-3),
        "{before} → {after}: {learned}"
    );

    let again = report(&face["event_id"], false)?.expect(200)?;
    ensure!(again["counted"] == false && again["changed"] == json!([]), "{again}");
    ensure!((threshold()? - after).abs() < 1e-3, "counted once");
    let view = host.get("/v1/rooms/learning/report")?.expect(200)?;
    ensure!(view["reports"] == 1 && list(&view, "thresholds")?.iter().any(|told| told["label"] == face["label"]), "{view}");

    problem(report(&json!("0199aaaa-0000-7000-8000-000000000000"), false)?, 404)?;
    problem(report(&json!("not-an-id"), false)?, 422)?;
    let events = host.get("/v1/rooms/learning/events?limit=1000")?.expect(200)?;
    let other = list(&events, "events")?.iter().find(|event| event["kind"] == "room").context("the room was made")?;
    let detail = problem(report(&other["id"], false)?, 409)?;
    ensure!(detail.contains("only detections can be reported"), "{detail}");
    // Another room's event is none of this one.
    room(&host, "elsewhere", json!({}))?;
    problem(host.json("POST", "/v1/rooms/elsewhere/feedback", &json!({ "event_id": face["event_id"], "correct": true }))?, 404)?;
    Ok(())
}
