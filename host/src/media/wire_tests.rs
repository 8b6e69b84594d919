use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { width: 4096, height: 4096 };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn i420(width: u32, height: u32, range: Range, matrix: Matrix) -> Head {
    Head { kind: Kind::I420 { range, matrix }, sequence: 7, capture: Micros(1_000_000), width, height }
}

fn clear() -> Verdict {
    Verdict { judged: true, cover: Extent::Clear, reason: None, masks: Vec::new(), shot: 0 }
}

/// The format itself: if one of these changes, so has the version.
#[test]
fn messages_are_these_bytes() {
    let head = Head { sequence: 0x0102_0304_0506_0708, ..i420(2, 2, Range::Full, Matrix::Bt709) };
    let inbound = Inbound { head, picture: &[1, 2, 3, 4, 5, 6] };
    let golden =
        concat!("5343524d", "01", "02", "03", "00", "0807060504030201", "40420f0000000000", "02000000", "02000000", "010203040506");
    assert_eq!(hex(&write_inbound(&inbound)), golden);

    let head = Head { kind: Kind::Jpeg, sequence: 258, capture: Micros(3), width: 640, height: 480 };
    let masks = vec![Rect::new(0.25, 0.5, 0.125, 0.0625)];
    let verdict = Verdict { judged: false, cover: Extent::Masked, reason: Some("look_missing".to_owned()), masks, shot: 4 };
    let message = write_covered(&Covered { head, verdict, picture: b"\xff\xd8" }).unwrap();
    let golden = concat!("5343524d", "01", "01", "08", "00", "0201000000000000", "0300000000000000", "80020000", "e0010000", "7d000000");
    assert_eq!(hex(&message[..COVERED_HEAD_BYTES]), golden);
    let json = concat!(
        r#"{"judged":false,"cover":"masked","reason":"look_missing","#,
        r#""masks":[{"x":0.25,"y":0.5,"width":0.125,"height":0.0625}],"shot":4}"#
    );
    assert_eq!(std::str::from_utf8(&message[COVERED_HEAD_BYTES..message.len() - 2]), Ok(json));
    assert!(message.ends_with(b"\xff\xd8"));
}

#[test]
fn text_messages_are_these_words() {
    let hello = Control::Hello { version: 1, room: "lobby".to_owned(), session: "s".to_owned(), delay_ms: 400, resume: Some(41) };
    for (control, text) in [
        (hello, r#"{"type":"hello","version":1,"room":"lobby","session":"s","delay_ms":400,"resume":41}"#),
        (
            Control::Dropped { count: 2, total: 9, reason: "queue_full".to_owned() },
            r#"{"type":"dropped","count":2,"total":9,"reason":"queue_full"}"#,
        ),
        (Control::SlowDown { queue: 10, frames_per_second: 12.5 }, r#"{"type":"slow_down","queue":10,"frames_per_second":12.5}"#),
        (Control::Error { title: "t".to_owned(), detail: "d".to_owned() }, r#"{"type":"error","title":"t","detail":"d"}"#),
        (Control::Bye { reason: "closed".to_owned() }, r#"{"type":"bye","reason":"closed"}"#),
    ] {
        assert_eq!(control.to_text(), text);
        assert_eq!(serde_json::from_str::<Control>(text).unwrap(), control);
    }
    let of = |text| parse_publisher_control(text).map_err(|error| error.to_string());
    let hello = |format, want, resume| Ok(PublisherControl::Hello { version: 1, format, want, resume });
    assert_eq!(of(r#"{"type":"hello","version":1}"#), hello(Format::Jpeg, Want::Jpeg, false));
    let all = r#"{"type":"hello","version":1,"format":"i420","want":"none","resume":true}"#;
    assert_eq!(of(all), hello(Format::I420, Want::None, true));
    for (wrong, part) in [
        (r#"{"type":"hello","version":2}"#, "`version` is 2; allowed is 1"),
        (r#"{"type":"hello"}"#, "missing field `version`"),
        (r#"{"type":"hello","version":1,"resume":1}"#, "expected a boolean"),
        (r#"{"type":"hello","version":1,"formt":"jpeg"}"#, "unknown field `formt`"),
        (r#"{"type":"hello","version":1,"format":"png"}"#, "unknown variant `png`, expected `jpeg` or `i420`"),
        (r#"{"type":"helo","version":1}"#, "unknown variant `helo`"),
        ("hello", "line 1"),
    ] {
        let error = of(wrong).expect_err(wrong);
        assert!(error.contains(part), "{part} in: {error}");
    }
}

#[test]
fn an_error_names_the_field_what_it_held_and_what_it_may_hold() {
    let good = write_inbound(&Inbound { head: i420(4, 2, Range::Limited, Matrix::Bt601), picture: &[9; 12] });
    let with = |changes: &[(usize, &[u8])]| {
        let mut message = good.clone();
        changes.iter().for_each(|(at, bytes)| message[*at..at + bytes.len()].copy_from_slice(bytes));
        parse_inbound(&message, LIMITS).expect_err("one field is wrong").to_string()
    };
    let large = 4097_u32.to_le_bytes();
    for (error, message) in [
        (with(&[(0, b"RIFF")]), r#"`magic` is "RIFF"; allowed is "SCRM""#),
        (with(&[(4, &[2])]), "`version` is 2; allowed is 1"),
        (with(&[(5, &[3])]), "`kind` is 3; allowed is 1 (JPEG) and 2 (I420)"),
        (with(&[(6, &[4])]), "`flags` is 0x04; allowed is bit 0 (full range) and bit 1 (BT.709), and none that is not described"),
        (with(&[(7, &[1])]), "`reserved` is 1; allowed is 0"),
        (with(&[(24, &large)]), "`width` is 4097; allowed is 1 to 4096"),
        (with(&[(28, &[0])]), "`height` is 0; allowed is 1 to 4096"),
        (with(&[(24, &[0xff; 8])]), "`width` is 4294967295; allowed is 1 to 4096"),
        (with(&[(24, &[6])]), "the picture has 12 bytes; I420 of 6x2 has 18"),
        (with(&[(5, &[1]), (24, &[0])]), "`width` is 0; allowed is 1 to 4096, or 0 for both where a publisher leaves out a JPEG's size"),
    ] {
        assert_eq!(error, message);
    }
    assert!(with(&[(5, &[1]), (6, &[1])]).contains("with JPEG"), "range and matrix of a JPEG are fixed");
    let short = parse_inbound(&good[..31], LIMITS).expect_err("cut");
    assert_eq!(short.to_string(), "the message has 31 bytes; one that carries a picture begins with 32");
    let bare = Head { kind: Kind::Jpeg, ..i420(0, 0, Range::Full, Matrix::Bt601) };
    assert_eq!(parse_inbound(&write_inbound(&Inbound { head: bare, picture: &[] }), LIMITS), Err(WireError::NoPicture));
}

#[test]
fn flags_and_verdict_of_a_covered_picture_have_to_agree() {
    let head = i420(2, 2, Range::Limited, Matrix::Bt601);
    for (cover, judged, flag) in [
        (Extent::Clear, true, 0),
        (Extent::Masked, true, 0),
        (Extent::Full, true, COVERED_WHOLE),
        (Extent::Full, false, COVERED_WHOLE),
        (Extent::Clear, false, PASSED_UNJUDGED),
        (Extent::Masked, false, PASSED_UNJUDGED),
    ] {
        let covered = Covered { head, verdict: Verdict { judged, cover, ..clear() }, picture: &[1; 6] };
        let message = write_covered(&covered).unwrap();
        assert_eq!(message[6], flag);
        assert_eq!(parse_covered(&message, LIMITS), Ok(covered));
        let mut other = message.to_vec();
        other[6] ^= COVERED_WHOLE;
        assert!(matches!(parse_covered(&other, LIMITS), Err(WireError::Field { field: "flags", .. })));
    }
    let message = write_covered(&Covered { head, verdict: clear(), picture: &[1; 6] }).unwrap();
    let mut long = message.to_vec();
    long[HEAD_BYTES..COVERED_HEAD_BYTES].copy_from_slice(&[0xff; 4]);
    assert!(matches!(parse_covered(&long, LIMITS), Err(WireError::Field { field: "verdict_len", .. })));
    let mut other = message.to_vec();
    other[COVERED_HEAD_BYTES] = b'[';
    assert!(matches!(parse_covered(&other, LIMITS), Err(WireError::Verdict(_))));
    let many = Verdict { masks: vec![Rect::new(0.123_456, 0.234_567, 0.345_678, 0.456_789); 8000], ..clear() };
    let refused = write_covered(&Covered { head, verdict: many, picture: &[1; 6] });
    assert!(matches!(refused, Err(WireError::Field { field: "verdict_len", .. })));
}

#[test]
fn masks_are_written_inside_the_frame_or_not_at_all() {
    let masks = vec![Rect::new(-0.5, 0.5, 1.0, 4.0), Rect::new(f32::NAN, f32::INFINITY, f32::NAN, 1.0)];
    let verdict = Verdict { cover: Extent::Masked, masks, ..clear() };
    let message = write_covered(&Covered { head: i420(2, 2, Range::Full, Matrix::Bt601), verdict, picture: &[1; 6] }).unwrap();
    let masks = parse_covered(&message, LIMITS).unwrap().verdict.masks;
    assert_eq!(masks, [Rect::new(0.0, 0.5, 0.5, 0.5)]);
}

#[test]
fn a_message_becomes_a_frame_and_a_frame_a_message() {
    let data: Vec<u8> = (0..i420_len(5, 3)).map(|at| 40 + at as u8).collect();
    let inbound = Inbound { head: i420(5, 3, Range::Limited, Matrix::Bt709), picture: &data };
    let frame = frame_of(&inbound, Micros(9), LIMITS).unwrap();
    assert_eq!((frame.seq, frame.at, frame.range, frame.matrix), (FrameSeq(7), Micros(9), Range::Limited, Matrix::Bt709));
    assert_eq!(frame.data(), data);

    let origin = Origin { sequence: 7, capture: Micros(1_000_000) };
    let message = cover_message(&frame, Format::I420, 80, origin, clear()).unwrap();
    let covered = parse_covered(&message, LIMITS).unwrap();
    assert_eq!((covered.head, covered.picture), (inbound.head, &data[..]));

    let message = cover_message(&frame, Format::Jpeg, 80, origin, clear()).unwrap();
    let Covered { head, picture, .. } = parse_covered(&message, LIMITS).unwrap();
    assert_eq!(head, Head { kind: Kind::Jpeg, ..inbound.head });
    for (width, height) in [(0, 0), (5, 3)] {
        let head = Head { width, height, ..head };
        let frame = frame_of(&Inbound { head, picture }, Micros(9), LIMITS).unwrap();
        assert_eq!((frame.width, frame.height, frame.range, frame.matrix), (5, 3, Range::Full, Matrix::Bt601));
    }
    let head = Head { width: 3, height: 5, ..head };
    let error = frame_of(&Inbound { head, picture }, Micros(9), LIMITS).unwrap_err();
    assert_eq!(error.to_string(), "`width` and `height` say 3x5 but the JPEG is 5x3; send its true size, or 0 for both");

    let png = picture::encode_png(&frame).unwrap();
    let refused = frame_of(&Inbound { head, picture: &png }, Micros(9), LIMITS);
    assert!(matches!(refused, Err(WireError::Picture(PictureError::Broken(_)))));
    let small = Limits { width: 4, height: 4 };
    assert!(matches!(frame_of(&inbound, Micros(9), small), Err(WireError::Field { field: "width", .. })));
    let head = Head { width: 0, height: 0, ..head };
    let refused = frame_of(&Inbound { head, picture }, Micros(9), small);
    assert!(matches!(refused, Err(WireError::Picture(PictureError::TooLarge { width: 5, height: 3, .. }))));
}

fn any_head() -> impl Strategy<Value = Head> {
    let meaning = (any::<bool>(), any::<bool>(), any::<bool>());
    (meaning, any::<u64>(), any::<u64>(), 1..40_u32, 1..40_u32).prop_map(|((jpeg, full, bt709), sequence, capture, width, height)| {
        let range = if full { Range::Full } else { Range::Limited };
        let matrix = if bt709 { Matrix::Bt709 } else { Matrix::Bt601 };
        let kind = if jpeg { Kind::Jpeg } else { Kind::I420 { range, matrix } };
        Head { kind, sequence, capture: Micros(capture), width, height }
    })
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let cover = prop::sample::select(vec![Extent::Clear, Extent::Masked, Extent::Full]);
    let mask = (0.0..0.5_f32, 0.0..0.5_f32, 0.0..0.5_f32, 0.0..0.5_f32).prop_map(|(x, y, w, h)| Rect::new(x, y, w, h).clamped());
    (any::<bool>(), cover, prop::option::of(any::<String>()), prop::collection::vec(mask, 0..5), any::<u32>())
        .prop_map(|(judged, cover, reason, masks, shot)| Verdict { judged, cover, reason, masks, shot })
}

fn picture_for(head: &Head, seed: u8) -> Vec<u8> {
    match head.kind {
        Kind::Jpeg => vec![seed; 1 + usize::from(seed)],
        Kind::I420 { .. } => vec![seed; i420_len(head.width as usize, head.height as usize)],
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(head in any_head(), verdict in any_verdict(), seed in any::<u8>()) {
        let picture = picture_for(&head, seed);
        let inbound = Inbound { head, picture: &picture };
        let message = write_inbound(&inbound);
        prop_assert_eq!(parse_inbound(&message, LIMITS), Ok(inbound));
        // Clamping a mask may move an edge by the last bit, once.
        let masks = verdict.masks.iter().map(Rect::clamped).filter(|mask| !mask.is_empty()).collect();
        let covered = Covered { head, verdict: Verdict { masks, ..verdict }, picture: &picture };
        let message = write_covered(&covered).unwrap();
        prop_assert!(message.len() <= message_bytes_max(LIMITS));
        let read = parse_covered(&message, LIMITS).unwrap();
        prop_assert_eq!((read.head, read.picture), (head, &picture[..]));
        prop_assert_eq!(read.verdict.masks.len(), covered.verdict.masks.len());
        for (read, written) in read.verdict.masks.iter().zip(&covered.verdict.masks) {
            prop_assert!((read.x - written.x).abs() < 1e-6 && (read.right() - written.right()).abs() < 1e-6);
            prop_assert!((read.y - written.y).abs() < 1e-6 && (read.bottom() - written.bottom()).abs() < 1e-6);
        }
        let verdict = Verdict { masks: covered.verdict.masks.clone(), ..read.verdict };
        prop_assert_eq!(verdict, covered.verdict);
    }

    #[test]
    fn arbitrary_bytes_never_panic(head in prop::option::of(any_head()), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let message = match head {
            Some(head) => write_inbound(&Inbound { head, picture: &bytes }),
            None => bytes,
        };
        if let Ok(message) = parse_inbound(&message, LIMITS) {
            let _ = frame_of(&message, Micros::ZERO, LIMITS);
        }
        let _ = parse_covered(&message, LIMITS);
        let _ = parse_publisher_control(&String::from_utf8_lossy(&message));
    }

    #[test]
    fn a_changed_byte_is_refused_or_is_another_message(
        head in any_head(), verdict in any_verdict(), at in any::<prop::sample::Index>(), value in any::<u8>()
    ) {
        let picture = picture_for(&head, 5);
        let mut message = write_covered(&Covered { head, verdict, picture: &picture }).unwrap().to_vec();
        let at = at.index(message.len());
        let same = message[at] == value;
        message[at] = value;
        let read = parse_covered(&message, LIMITS);
        // Every bit of the magic, the version and the reserved byte has one allowed value.
        prop_assert!(same || !matches!(at, 0..=4 | 7) || read.is_err());
    }
}
