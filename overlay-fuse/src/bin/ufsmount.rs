//! `ufsmount LOWER[:LOWER...] [UPPER] MOUNTPOINT`: see `ufsmount --help`.

fn main() -> std::process::ExitCode {
    overlay_fuse::cli::ufsmount()
}
