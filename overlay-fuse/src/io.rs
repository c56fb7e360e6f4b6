//! How the contents of files go to and from those who use them.

/// How contents go between a program and a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Io {
    /// Past the server where it may be (passthrough): files of the upper layer
    /// that have their data there, and all files where no layer can be written.
    /// The rest as [`Io::Cached`]; all of it where the kernel does not allow
    /// this process to pass files (`CAP_SYS_ADMIN`, Linux 6.9).
    #[default]
    Passthrough,
    /// Through the server, and the kernel's page cache in front of it.
    Cached,
}
