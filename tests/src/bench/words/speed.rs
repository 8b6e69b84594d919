//! What a call of the built component costs, in processor time: the file's texts one after the other, and 10 kB of the worst garbage that
//! is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cpu_time::ThreadTime;
use scrim_host::media::frame::Micros;
use scrim_host::plugin::catalog::Loaded;
use scrim_host::plugin::instance::PolicyInstance;
use scrim_host::plugin::types::{Place, Request, Utterance, Word};
use scrim_host::words;

use crate::bench::policy;

/// Pieces that are repeated to 10 kB: what the search has to try most with. Found by trying some hundred.
const GARBAGE: [&str; 20] = [
    "@* ",
    "p***y ",
    "f u ",
    "# u * 5 ",
    "f* ",
    "| 0!@ e ",
    "'$ -c ",
    "c*. ",
    "fuck ",
    "@",
    "a * ",
    "*",
    "!1!1",
    "f*c*",
    "s h i ",
    "a.",
    "\u{202e}",
    "ffffff",
    "n*g*r ",
    "b\u{10d2}t",
];
const GARBAGE_BYTES: usize = 10_000;

/// # Errors
/// When the plugins are not built, or a call fails.
pub fn run(texts: &[&str]) -> Result<()> {
    let (_root, catalog, plugins) = policy::catalog(2)?;
    let found = plugins.iter().rfind(|plugin| plugin.name.name() == "profanity-context");
    let plugin: &Arc<Loaded> = found.context("profanity-context is not built")?;
    let begun = Instant::now();
    let mut instance = PolicyInstance::start(plugin, Micros::ZERO, catalog.budgets())?;
    let started = begun.elapsed();
    instance.configure(Micros::ZERO, "{}")?.map_err(anyhow::Error::msg)?;
    let mut call = |text: &str, times: usize| -> Result<Duration> {
        let words = words::split(text).into_iter().map(|word| Word { text: word.text.to_owned(), confidence: 1.0, place: Place::Nowhere });
        let utterance = Arc::new(Utterance { words: words.collect(), ..Utterance::typed("text", "") });
        let request = Request::Judge { utterance };
        let mut least = Duration::MAX;
        for _ in 0..times {
            let begun = ThreadTime::now();
            instance.call(Micros::ZERO, &request)?;
            least = least.min(begun.elapsed());
        }
        Ok(least)
    };
    for text in texts.iter().take(200) {
        call(text, 1)?;
    }
    let mut times = texts.iter().map(|text| call(text, 1)).collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let share = |share: usize| micros(times[(times.len() * share / 100).min(times.len() - 1)]);
    println!("{} KiB, started in {:.0} µs", plugin.size / 1024, micros(started));
    println!("{} texts in WebAssembly: p50 {:.1} µs, p95 {:.1} µs, p99 {:.1} µs", texts.len(), share(50), share(95), share(99));
    let mut garbage = Vec::new();
    for piece in GARBAGE {
        let text: String = piece
            .chars()
            .cycle()
            .scan(0, |len, c| {
                *len += c.len_utf8();
                (*len <= GARBAGE_BYTES).then_some(c)
            })
            .collect();
        garbage.push((call(&text, 3)?, piece));
    }
    garbage.sort_unstable();
    for (time, piece) in garbage.iter().rev().take(3) {
        println!("10 kB of {piece:?}: {:.2} ms", micros(*time) / 1e3);
    }
    Ok(())
}
