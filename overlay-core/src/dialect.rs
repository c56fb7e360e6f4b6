//! How marks (whiteouts, opaque directories) are encoded on a branch.

pub mod overlay;

pub use overlay::Namespace;

/// The encoding of marks on one branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OverlayFS: character device 0:0 and attributes in this namespace.
    Overlay(Namespace),
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect::Overlay(Namespace::Trusted)
    }
}
