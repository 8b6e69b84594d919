//! `scrim-bench NAME [ARGUMENT…]`: one bench, its figures on standard output.

use anyhow::bail;
use scrim_tests::bench;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match name.as_str() {
        "batcher" => bench::batcher::run(&arguments),
        "cascade-quality" => bench::cascade_quality::run(&arguments),
        "model" => bench::model::run(&arguments),
        "parity" => bench::parity::run(&arguments),
        _ => bail!("no bench is called \"{name}\"; there are batcher, cascade-quality, model, parity"),
    }
}
