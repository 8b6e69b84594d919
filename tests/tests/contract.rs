//! The contract is frozen: plugins that are built stay valid.

use std::path::Path;

use sha2::{Digest, Sha256};

/// SHA-256 of `wit/policy.wit` without its comments, every run of white space one space. Never change it: a contract that differs is a new
/// version, which the host serves beside this one.
const FROZEN_0_1_0: &str = "5b8b679c20050268a05ee096748d505a1a61df33458ef2b784d4060aadab7933";

/// The text that means something. WIT has no strings, so `//` always begins a comment.
fn normalised(wit: &str) -> String {
    let code = wit.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[test]
fn version_0_1_0_is_as_it_was() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["policy.wit"], "wit/ holds the policy contract, nothing else");
    let text = normalised(&std::fs::read_to_string(folder.join("policy.wit")).unwrap());
    assert!(text.starts_with("package scrim:policy@0.1.0;"), "{text}");
    let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, FROZEN_0_1_0, "wit/ changed; give the new contract a new version. It is now:\n{text}");
}

#[test]
fn comments_and_layout_are_free_and_types_are_not() {
    let wit = "/// Of a frame.\nrecord rect { x: f32 } // fractions\n";
    assert_eq!(normalised(wit), normalised("record rect {\n  x: f32\n}"));
    assert_ne!(normalised(wit), normalised("record rect { x: f64 }"));
}
