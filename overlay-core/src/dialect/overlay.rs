//! OverlayFS' marks: character device 0:0, `trusted.overlay.*` or
//! `user.overlay.*`.

/// Where OverlayFS' own attributes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// `trusted.overlay.*`: needs `CAP_SYS_ADMIN`.
    Trusted,
    /// `user.overlay.*`: the mount option `userxattr`.
    User,
}
