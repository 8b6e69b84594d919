//! `scrim-bench NAME [ARGUMENT…]`: one bench, its figures on standard output.

use anyhow::bail;
use scrim_tests::bench;

type Bench = fn(&[String]) -> anyhow::Result<()>;

/// In the order of their names.
const BENCHES: &[(&str, Bench)] = &[
    ("batcher", bench::batcher::run),
    ("cascade", bench::policy::cascade),
    ("cascade-quality", bench::cascade_quality::run),
    ("coverage", bench::coverage::run),
    ("evasion", bench::words::evasion),
    ("hogs", bench::hogs::run),
    ("livekit", bench::livekit_latency::run),
    ("livekit-rooms", bench::livekit_rooms::run),
    ("model", bench::model::run),
    ("ocr", bench::ocr::run),
    ("parity", bench::parity::run),
    ("pipeline", bench::pipeline::run),
    ("picture", bench::picture::run),
    ("rooms", bench::policy::rooms),
    ("screen", bench::screen::run),
    ("serve", bench::pictures_served::run),
    ("speech", bench::speech::run),
    ("stream", bench::streams_served::run),
    ("swap", bench::policy::swap),
    ("words", bench::words::run),
];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match BENCHES.iter().find(|(known, _)| *known == name) {
        Some((_, bench)) => bench(&arguments),
        None => {
            let known: Vec<&str> = BENCHES.iter().map(|(known, _)| *known).collect();
            bail!("no bench is called \"{name}\"; there are {}", known.join(", "))
        }
    }
}
