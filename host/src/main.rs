/// Pictures of half a megabyte come and go on threads that come and go with their streams: in half an hour of that the C library's arenas
/// grew by 100 MiB around a live heap that did not (docs/measured.md).
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    scrim_host::cli::main()
}
