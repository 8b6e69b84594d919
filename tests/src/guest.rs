//! Small plugins written in WebAssembly text, so that a test needs no guest toolchain and can make one misbehave in any place.
//!
//! A guest counts its answers; the count is its state. Its answers carry its `mark`, so that a test sees which generation gave them:
//! a screening's reason, a finding's severity, a verdict's threshold. `current` gives the count as a threshold of count / 1000.

use std::fmt::Write;

use anyhow::{Context, Result};
use scrim_host::plugin::types::Slot;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const CONTRACT: &str = include_str!("../../wit/policy.wit");

/// As much of WASI preview 2 as a test guest asks for.
const WASI: [(&str, &str); 3] = [
    ("io.wit", "package wasi:io@0.2.0; interface poll { resource pollable { block: func(); } }"),
    (
        "clocks.wit",
        "package wasi:clocks@0.2.0; interface monotonic-clock { use wasi:io/poll@0.2.0.{pollable}; now: func() -> u64; subscribe-duration: func(when: u64) -> pollable; }",
    ),
    ("random.wit", "package wasi:random@0.2.0; interface random { get-random-u64: func() -> u64; }"),
];

/// Where a guest does something else than its work: WebAssembly text that runs first in that function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// The module's start function.
    Start,
    Describe,
    Configure,
    Snapshot,
    Restore,
    /// `screen`, `judge` or `weigh`.
    Judge,
    Feedback,
    Current,
}

/// What a hook can do.
pub mod deed {
    pub const LOOP: &str = "(loop (br 0))";
    pub const TRAP: &str = "(unreachable)";
    /// Grows its memory until it is refused, and touches every page.
    pub const HOG: &str = "(loop (drop (memory.grow (i32.const 16))) (i32.store8 (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (i32.const 1)) (br 0))";
    /// A thousand short messages.
    pub const LOG_FLOOD: &str = "(local.set $i (i32.const 1000)) (loop (call $log (i32.const 1) (i32.const 0) (i32.const 16)) (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))";
    /// One message longer than a guest may send.
    pub const LOG_LONG: &str = "(call $log (i32.const 1) (i32.const 0) (i32.const 4000))";
    /// An answer of 64 Mi elements that lie in no memory.
    pub const HUGE_ANSWER: &str =
        "(i32.store (i32.const 512) (i32.const 4096)) (i32.store (i32.const 516) (i32.const 0x4000000)) (return (i32.const 512))";
    /// An answer of as many elements as fit into eight pages: in bounds, but more than the host takes.
    pub const LONG_ANSWER: &str = "(drop (memory.grow (i32.const 64))) (i32.store (i32.const 512) (i32.const 65536)) (i32.store (i32.const 516) (i32.const 100000)) (return (i32.const 512))";
    /// An empty list.
    pub const NO_ANSWER: &str =
        "(i32.store (i32.const 512) (i32.const 0)) (i32.store (i32.const 516) (i32.const 0)) (return (i32.const 512))";
    /// A snapshot of 2 MiB.
    pub const BIG_SNAPSHOT: &str = "(drop (memory.grow (i32.const 40))) (i32.store (i32.const 512) (i32.const 65536)) (i32.store (i32.const 516) (i32.const 0x200000)) (return (i32.const 512))";
    /// `err("no")`, for `configure` and `restore`.
    pub const REFUSE: &str = "(i32.store8 (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) (i32.const 256)) (i32.store (i32.const 520) (i32.const 2)) (return (i32.const 512))";
    /// Traps once the count has reached 3.
    pub const TRAP_AFTER_THREE: &str = "(if (i32.ge_u (global.get $count) (i32.const 3)) (then (unreachable)))";
    /// Of a threshold policy: nothing counts before its first report, or from there on.
    pub const COUNT_AFTER_A_REPORT: &str = "(global.set $counts (i32.gt_u (global.get $count) (i32.const 0)))";
    pub const COUNT_BEFORE_A_REPORT: &str = "(global.set $counts (i32.eqz (global.get $count)))";
    /// Of a guest with WASI: the count becomes a random number below 1000.
    pub const RANDOM_COUNT: &str = "(global.set $count (i32.wrap_i64 (i64.rem_u (call $random) (i64.const 1000))))";
    /// Of a guest with WASI: the count becomes the clock's milliseconds.
    pub const CLOCK_COUNT: &str = "(global.set $count (i32.wrap_i64 (i64.div_u (call $now) (i64.const 1000000))))";
    /// Of a guest with WASI: sleeps for an hour.
    pub const SLEEP: &str =
        "(local.set $i (call $timer (i64.const 3600000000000))) (call $block (local.get $i)) (call $drop (local.get $i))";
    /// Loops once the count has reached 3.
    pub const LOOP_AFTER_THREE: &str = "(if (i32.ge_u (global.get $count) (i32.const 3)) (then (loop (br 0))))";
}

/// A plugin to be built.
#[derive(Clone, Debug)]
pub struct Guest {
    pub slot: Slot,
    pub name: String,
    pub version: String,
    /// 0..=1: what its answers carry.
    pub mark: f32,
    pub schema: String,
    contract: String,
    hooks: Vec<(Hook, String)>,
    import: Option<String>,
    wasi: bool,
    altered: Option<(String, String)>,
}

impl Guest {
    /// One that behaves, named after its slot.
    pub fn new(slot: Slot, version: &str, mark: f32) -> Self {
        Self {
            slot,
            name: format!("test-{slot}"),
            version: version.into(),
            mark,
            schema: r#"{"type":"object"}"#.into(),
            contract: "0.1.0".into(),
            hooks: Vec::new(),
            import: None,
            wasi: false,
            altered: None,
        }
    }

    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    pub fn doing(mut self, hook: Hook, deed: &str) -> Self {
        self.hooks.push((hook, deed.into()));
        self
    }

    /// Speaks another version of the contract.
    pub fn contract(mut self, version: &str) -> Self {
        self.contract = version.into();
        self
    }

    /// Imports an interface that no contract knows.
    pub fn importing(mut self, interface: &str) -> Self {
        self.import = Some(interface.into());
        self
    }

    /// Imports clocks, timers and randomness from WASI preview 2, as components of other toolchains do.
    pub fn with_wasi(mut self) -> Self {
        self.wasi = true;
        self
    }

    /// Is built against another text of the contract, of the same version.
    pub fn altered(mut self, from: &str, to: &str) -> Self {
        self.altered = Some((from.into(), to.into()));
        self
    }

    fn hook(&self, hook: Hook) -> String {
        self.hooks.iter().filter(|(at, _)| *at == hook).fold(String::new(), |mut all, (_, deed)| {
            let _ = write!(all, "{deed} ");
            all
        })
    }

    fn wit(&self) -> String {
        let mut wit = CONTRACT.replace("@0.1.0;", &format!("@{};", self.contract));
        let world = format!("world {}-policy {{\n", self.slot);
        if let Some(interface) = &self.import {
            wit = wit.replace(&world, &format!("interface {interface} {{ steal: func(); }}\n\n{world}  import {interface};\n"));
        }
        if self.wasi {
            let imports = ["io/poll", "clocks/monotonic-clock", "random/random"].map(|name| format!("  import wasi:{name}@0.2.0;\n"));
            wit = wit.replace(&world, &format!("{world}{}", imports.concat()));
        }
        if let Some((from, to)) = &self.altered {
            wit = wit.replace(from, to);
        }
        wit
    }

    /// The core module with its component type, as the SDK's build leaves it.
    pub fn module(&self) -> Result<Vec<u8>> {
        let mut module = wat::parse_str(self.wat()).with_context(|| self.wat())?;
        let mut resolve = Resolve::default();
        for (file, text) in WASI {
            resolve.push_str(file, text)?;
        }
        let package = resolve.push_str("policy.wit", &self.wit())?;
        let world = resolve.select_world(&[package], Some(&format!("{}-policy", self.slot)))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        Ok(module)
    }

    /// The component.
    pub fn component(&self) -> Result<Vec<u8>> {
        ComponentEncoder::default().module(&self.module()?)?.encode()
    }

    fn wat(&self) -> String {
        let version = &self.contract;
        let interface = |name: &str| format!("scrim:policy/{name}@{version}");
        let lifecycle = interface("lifecycle");
        let own = interface(self.slot.as_str());
        let log = interface("log");
        let mut import = match &self.import {
            Some(name) => format!("(import \"{}\" \"steal\" (func $steal))", interface(name)),
            None => String::new(),
        };
        if self.wasi {
            import += r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $timer (param i64) (result i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop (param i32)))"#;
        }
        let (name, plugin_version) = (&self.name, &self.version);
        let schema = self.schema.replace('"', "\\22");
        let schema_len = self.schema.len();
        let (name_len, version_len) = (name.len(), plugin_version.len());
        let manifest = format!(
            "(i32.store (i32.const 512) (i32.const 1024)) (i32.store (i32.const 516) (i32.const {name_len}))
             (i32.store (i32.const 520) (i32.const 1152)) (i32.store (i32.const 524) (i32.const {version_len}))
             (i32.store (i32.const 528) (i32.const 1280)) (i32.store (i32.const 532) (i32.const {schema_len}))"
        );
        let start = match self.hook(Hook::Start) {
            deed if deed.is_empty() => String::new(),
            deed => format!("(func $start (local $i i32) {deed}) (start $start)"),
        };
        let functions = self.own_functions(&own);
        let hook = |at| self.hook(at);
        let (describe, configure, snapshot, restore) =
            (hook(Hook::Describe), hook(Hook::Configure), hook(Hook::Snapshot), hook(Hook::Restore));
        format!(
            r#"(module
  (import "{log}" "log" (func $log (param i32 i32 i32)))
  {import}
  (memory (export "memory") 2)
  (global $count (mut i32) (i32.const 0))
  (global $counts (mut i32) (i32.const 1))
  (global $next (mut i32) (i32.const 8192))
  (data (i32.const 0) "hello from guest")
  (data (i32.const 256) "no")
  (data (i32.const 1024) "{name}")
  (data (i32.const 1152) "{plugin_version}")
  (data (i32.const 1280) "{schema}")
  (func $take (param $len i32) (param $align i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $len)))
    (block $fits (loop $grow
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
      (unreachable)))
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (call $take (local.get 3) (local.get 2)))
  (func $reset (global.set $next (i32.const 8192)))
  (func $ok (result i32) (i32.store8 (i32.const 512) (i32.const 0)) (i32.const 512))
  (func (export "{lifecycle}#describe") (result i32) (local $i i32) {describe} {manifest} (i32.const 512))
  (func (export "{lifecycle}#configure") (param i64 i32 i32) (result i32) (local $i i32) {configure} (call $reset) (call $ok))
  (func (export "{lifecycle}#snapshot") (result i32) (local $i i32) {snapshot}
    (i32.store (i32.const 768) (global.get $count))
    (i32.store (i32.const 512) (i32.const 768)) (i32.store (i32.const 516) (i32.const 4)) (i32.const 512))
  (func (export "{lifecycle}#restore") (param i64 i32 i32 i32 i32) (result i32) (local $i i32) {restore}
    (if (i32.ne (local.get 4) (i32.const 4)) (then (unreachable)))
    (global.set $count (i32.load (local.get 3))) (call $reset) (call $ok))
  (func (export "{lifecycle}#source-ended") (param i64 i32 i32) (call $reset))
  {functions}
  {start})"#
        )
    }

    fn own_functions(&self, own: &str) -> String {
        let mark = self.mark;
        let judge = self.hook(Hook::Judge);
        let count = "(global.set $count (i32.add (global.get $count) (i32.const 1)))";
        match self.slot {
            // One screening, for the first detector, with the version as its reason.
            Slot::Cascade => {
                let version_len = self.version.len();
                format!(
                    r#"(func (export "{own}#screen") (param $in i32) (result i32) (local $i i32) {judge} {count}
    (local.set $i (i32.load (i32.add (local.get $in) (i32.const 60))))
    (i32.store (i32.const 640) (i32.load (local.get $i))) (i32.store (i32.const 644) (i32.load (i32.add (local.get $i) (i32.const 4))))
    (i32.store8 (i32.const 648) (i32.const 1)) (i32.store (i32.const 652) (i32.const 0)) (i32.store (i32.const 656) (i32.const 0))
    (i32.store (i32.const 660) (i32.const 1152)) (i32.store (i32.const 664) (i32.const {version_len}))
    (i32.store (i32.const 512) (i32.const 640)) (i32.store (i32.const 516) (i32.const 1))
    (call $reset) (i32.const 512))"#
                )
            }
            // One finding, in the first word.
            Slot::Text => format!(
                r#"(func (export "{own}#judge") (param $in i32) (result i32) (local $i i32) {judge} {count}
    (i32.store (i32.const 640) (i32.const 0)) (i32.store (i32.const 644) (i32.const 1)) (i32.store8 (i32.const 648) (i32.const 0))
    (f32.store (i32.const 660) (f32.const {mark})) (f32.store (i32.const 664) (f32.const 1))
    (i32.store (i32.const 668) (i32.const 1152)) (i32.store (i32.const 672) (i32.const 0))
    (i32.store (i32.const 512) (i32.const 640)) (i32.store (i32.const 516) (i32.const 1))
    (call $reset) (i32.const 512))"#
            ),
            // A verdict for each detection, with the mark as its threshold: it counts, unless a hook has said otherwise.
            Slot::Threshold => {
                let (feedback, current) = (self.hook(Hook::Feedback), self.hook(Hook::Current));
                let thresholds = "(i32.store (i32.const 640) (i32.const 256)) (i32.store (i32.const 644) (i32.const 2))
    (i32.store (i32.const 648) (i32.const 256)) (i32.store (i32.const 652) (i32.const 2))
    (f32.store (i32.const 656) (f32.div (f32.convert_i32_u (global.get $count)) (f32.const 1000)))
    (i32.store (i32.const 512) (i32.const 640)) (i32.store (i32.const 516) (i32.const 1))";
                format!(
                    r#"(func (export "{own}#weigh") (param i64 i32 i32 i32 i32 i32 i32 i32) (result i32) (local $i i32) (local $at i32) {judge}
    (local.set $at (call $take (i32.mul (local.get 7) (i32.const 8)) (i32.const 4)))
    (i32.store (i32.const 512) (local.get $at)) (i32.store (i32.const 516) (local.get 7))
    (block $done (loop $more
      (br_if $done (i32.eq (local.get $i) (local.get 7)))
      (i32.store8 (local.get $at) (global.get $counts)) (f32.store (i32.add (local.get $at) (i32.const 4)) (f32.const {mark}))
      (local.set $at (i32.add (local.get $at) (i32.const 8))) (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more)))
    (call $reset) (i32.const 512))
  (func (export "{own}#feedback") (param $in i32) (result i32) (local $i i32) {feedback} {count} {thresholds} (call $reset) (i32.const 512))
  (func (export "{own}#current") (param i64) (result i32) (local $i i32) {current} {thresholds} (i32.const 512))"#
                )
            }
        }
    }
}
