fn main() -> std::process::ExitCode {
    scrim_host::cli::main()
}
