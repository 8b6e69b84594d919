//! Asks WASI for everything that a component of another toolchain might, and says in its reasons what it was given.

use scrim_sdk::{Cascade, Hints, NoConfig, NoState, Screening, Source, Thumbnail};

#[cfg(target_arch = "wasm32")]
mod wasi {
    wit_bindgen::generate!({
        inline: "
            package guests:wasi;

            package wasi:clocks@0.2.6 {
                interface monotonic-clock { now: func() -> u64; }
                interface wall-clock {
                    record datetime { seconds: u64, nanoseconds: u32 }
                    now: func() -> datetime;
                }
            }
            package wasi:random@0.2.6 {
                interface random { get-random-u64: func() -> u64; }
            }
            package wasi:cli@0.2.6 {
                interface environment {
                    get-environment: func() -> list<tuple<string, string>>;
                    get-arguments: func() -> list<string>;
                }
            }
            package wasi:filesystem@0.2.6 {
                interface types { resource descriptor; }
                interface preopens {
                    use types.{descriptor};
                    get-directories: func() -> list<tuple<descriptor, string>>;
                }
            }

            world asks {
                import wasi:clocks/monotonic-clock@0.2.6;
                import wasi:clocks/wall-clock@0.2.6;
                import wasi:random/random@0.2.6;
                import wasi:cli/environment@0.2.6;
                import wasi:filesystem/preopens@0.2.6;
            }
        ",
        world: "guests:wasi/asks",
        generate_all,
    });

    pub fn given() -> Vec<String> {
        use self::wasi::{cli::environment, clocks, filesystem::preopens, random::random};
        let wall = clocks::wall_clock::now();
        vec![
            format!("monotonic {}", clocks::monotonic_clock::now()),
            format!("wall {}.{:09}", wall.seconds, wall.nanoseconds),
            format!("random {:016x}", random::get_random_u64()),
            format!("environment {:?}", environment::get_environment()),
            format!("arguments {:?}", environment::get_arguments()),
            format!("folders {}", preopens::get_directories().len()),
        ]
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod wasi {
    pub fn given() -> Vec<String> {
        Vec::new()
    }
}

struct Asks;

impl Cascade for Asks {
    type Config = NoConfig;
    type State = NoState;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn screen(&mut self, _: &mut NoState, _: u64, _: &Source, _: &Thumbnail, _: &[String], _: &Hints) -> Vec<Screening> {
        vec![Screening::look("nudity", wasi::given().join("; "))]
    }
}

scrim_sdk::export!(cascade: Asks, name = "asks-wasi", version = "1.0.0");
