//! Imports something that no host gives.

use scrim_sdk::{Cascade, Hints, NoConfig, NoState, Screening, Source, Thumbnail};

#[cfg(target_arch = "wasm32")]
mod vault {
    wit_bindgen::generate!({
        inline: "
            package bank:vault@1.0.0;
            interface keys { read: func() -> string; }
            world thief { import keys; }
        ",
    });

    pub fn open() -> String {
        bank::vault::keys::read()
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod vault {
    pub fn open() -> String {
        String::new()
    }
}

struct Thief;

impl Cascade for Thief {
    type Config = NoConfig;
    type State = NoState;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn screen(&mut self, _: &mut NoState, _: u64, _: &Source, _: &Thumbnail, _: &[String], _: &Hints) -> Vec<Screening> {
        vec![Screening::look("nudity", vault::open())]
    }
}

scrim_sdk::export!(cascade: Thief, name = "thief", version = "1.0.0");
