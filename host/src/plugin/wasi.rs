//! WASI preview 2 for components of other toolchains, with nothing behind it: no files, network, environment, arguments or
//! standard input. The clocks show the call's `at-us`, randomness comes from a fixed seed, and sleeping takes no time.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rand_core::TryRng;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::guest::{Clock, HostState};

/// Seeds of everything random that a guest asks for. Fixed, so that a recording replays to the same bytes.
const SEED: u64 = 0x5343_5249_4d00_0001;
/// Bytes of randomness in one call.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Handles (streams, pollables) that a guest may hold.
const HANDLES_MAX: usize = 1024;

/// Interfaces of WASI preview 2 that are linked. Anything else that a component imports is refused by name.
pub const PACKAGES: [&str; 6] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];

/// The wasi part of a guest's state.
pub struct WasiPart {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl WasiPart {
    pub fn new(clock: &Clock) -> Self {
        let ctx = WasiCtxBuilder::new()
            .wall_clock(clock.clone())
            .monotonic_clock(clock.clone())
            .secure_random(SplitMix(SEED))
            .insecure_random(SplitMix(SEED ^ 1))
            .insecure_random_seed(u128::from(SEED))
            .max_random_size(RANDOM_BYTES_MAX)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self { ctx, table }
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let clock = &self.clock;
        // Made when first asked for by a sandbox guest, which links none of WASI: so never.
        let part = self.wasi.get_or_insert_with(|| Box::new(WasiPart::new(clock)));
        WasiCtxView { ctx: &mut part.ctx, table: &mut part.table }
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.at().0)
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1000
    }

    fn now(&self) -> u64 {
        self.at().0.saturating_mul(1000)
    }
}

/// Sebastiano Vigna's SplitMix64.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl TryRng for SplitMix {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A timer that has run out. The guest's clock stands still during a call, so waiting for it would be waiting for ever.
struct Elapsed;

impl Pollable for Elapsed {
    fn ready<'life, 'future>(&'life mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        Box::pin(std::future::ready(()))
    }
}

/// Links WASI, with timers that never make the host wait: epochs do not interrupt host calls, so none may block.
pub fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    let mut clock = linker.instance(MONOTONIC_CLOCK)?;
    clock.func_wrap("subscribe-duration", timer)?;
    clock.func_wrap("subscribe-instant", timer)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The version that wasmtime-wasi links; components that import an older 0.2 are matched to it.
const MONOTONIC_CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.12";

fn timer(mut store: StoreContextMut<'_, HostState>, (_,): (u64,)) -> wasmtime::Result<(Resource<DynPollable>,)> {
    let table = store.data_mut().ctx().table;
    let elapsed = table.push(Elapsed)?;
    Ok((subscribe(table, elapsed)?,))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn randomness_is_the_same_in_every_run() {
        let mut bytes = [0; 11];
        let mut rng = SplitMix(0);
        rng.try_fill_bytes(&mut bytes).unwrap_or_else(|never| match never {});
        // The first output of SplitMix64 from seed 0 is 0xe220a8397b1dcdaf.
        assert_eq!(bytes[..8], 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }
}
