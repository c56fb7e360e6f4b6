//! What a union does where the kernel's overlayfs has a mount option for it.

/// How a union behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Renamed directories with lower content.
    pub redirect_dir: RedirectDir,
    /// When the work area is cleared of what a crash left there.
    pub recover: Recover,
}

/// When the work area is cleared of what a crash left there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recover {
    /// While the stack is put together.
    #[default]
    AtOnce,
    /// By [`Union::recover`](super::Union::recover), before the first change:
    /// for a front end that may still fail, and then must have changed nothing.
    WhenAsked,
}

/// The mount option `redirect_dir`: whether a directory with lower content
/// can be renamed. Its copy then says where the lower part lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectDir {
    /// Redirects are made and followed.
    On,
    /// Redirects that others made are followed; renaming a directory with
    /// lower content is `EXDEV`. The kernel's `off` means this where it was
    /// built to follow always, as most are.
    #[default]
    Follow,
    /// A name with a redirect is `EPERM`: following one needs trust in who
    /// wrote the layer, for it leads past the permissions of directories.
    NoFollow,
}
