//! What `scrim plugin new` makes builds at once, passes its own test and is a plugin of its slot.

use std::path::Path;
use std::process::Command;

use scrim_host::plugin::check::check;
use scrim_host::plugin::engine::ClassName;
use scrim_toolchain::guest::Toolchain;
use scrim_toolchain::template;

/// As the guests have them: the versions that are pinned there, and what has been built of them.
fn pinned(folder: &Path) {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    std::fs::copy(guests.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    std::fs::create_dir(folder.join(".cargo")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder");
    std::fs::write(folder.join(".cargo/config.toml"), format!("[build]\ntarget-dir = {:?}\n", target.display().to_string())).unwrap();
}

#[test]
fn a_new_plugin_of_each_slot_passes_its_test_and_builds() {
    let parent = tempfile::TempDir::new().unwrap();
    let toolchain = Toolchain::find(&|line| eprintln!("{line}")).unwrap();
    for slot in ["cascade", "text", "threshold"] {
        let name = format!("my-{slot}");
        let folder = parent.path().join(&name);
        template::create(&folder, &name, slot, &template::own_sdk().unwrap()).unwrap();
        pinned(&folder);
        let status =
            Command::new(env!("CARGO")).args(["test", "--quiet"]).current_dir(&folder).env_remove("CARGO_TARGET_DIR").status().unwrap();
        assert!(status.success(), "the native test of {slot}");
        let guests = toolchain.build(&folder).unwrap();
        assert_eq!((guests.len(), guests[0].file_name()), (1, format!("{name}-0.1.0.wasm")));
        let checked = check(&guests[0].bytes).unwrap();
        assert_eq!((checked.slot.as_str(), checked.class), (slot, ClassName::Sandbox));
    }
}
