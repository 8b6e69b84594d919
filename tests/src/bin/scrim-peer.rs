//! `scrim-peer broadcast URL TOKEN`, `scrim-peer watch URL TOKEN FACE`: somebody in a LiveKit room, for the tests that cut the network.

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    scrim_tests::peer::run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}
