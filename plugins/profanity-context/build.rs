//! `lexicons/*.toml` to constants, and what looks like a letter: `$OUT_DIR/lexicon.rs`, `confusables.rs`. A fault in the data ends the build and names its file and word.

use std::path::Path;

#[path = "src/compile.rs"]
mod compile;
#[path = "src/confusables.rs"]
mod confusables;
#[allow(dead_code, reason = "the build needs a part of what the crate needs")]
#[path = "src/fold.rs"]
mod fold;
#[path = "src/trie.rs"]
mod trie;

fn main() {
    println!("cargo::rerun-if-changed=lexicons");
    let mut files: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir("lexicons").expect("lexicons/ can be listed") {
        let path = entry.expect("lexicons/ can be listed").path();
        let name = path.display().to_string();
        if name.ends_with(".toml") {
            files.push((name, std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))));
        }
    }
    files.sort();
    let code = compile::compile(&files).unwrap_or_else(|fault| panic!("{fault}"));
    write("lexicon.rs", &code);
    write("confusables.rs", &confusables::constants());
}

fn write(name: &str, code: &str) {
    let into = Path::new(&std::env::var_os("OUT_DIR").expect("cargo says where")).join(name);
    std::fs::write(&into, code).unwrap_or_else(|error| panic!("{}: {error}", into.display()));
}
