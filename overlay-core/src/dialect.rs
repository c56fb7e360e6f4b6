//! How marks (whiteouts, opaque directories) are encoded on a branch.
//!
//! The engine asks these questions and never looks at device numbers or
//! attribute names itself, so another encoding is another module here.

use std::borrow::Cow;

use crate::attr::Attr;
use crate::error::Result;
use crate::layer::{New, Node};
use crate::name::Name;

pub mod overlay;
mod redirect;

pub use overlay::Namespace;
pub use redirect::{REDIRECT_MAX, Redirect};

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

/// What a directory says about the branches below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opacity {
    /// It merges with what lies below.
    Transparent,
    /// It hides what lies below.
    Opaque,
    /// It merges, and may hold whiteouts that are regular files with a mark.
    HoldsFileWhiteouts,
}

impl Dialect {
    /// Whether an object with these attributes is a whiteout by itself.
    fn is_whiteout(self, attr: &Attr) -> bool {
        match self {
            Dialect::Overlay(_) => overlay::is_whiteout(attr),
        }
    }

    /// Whether an object of these attributes would be a whiteout if it
    /// carried the mark; only asked in a directory that
    /// [`Opacity::HoldsFileWhiteouts`].
    fn may_be_file_whiteout(self, attr: &Attr) -> bool {
        match self {
            Dialect::Overlay(_) => overlay::may_be_file_whiteout(attr),
        }
    }

    /// Whether this regular file carries the mark of a whiteout.
    fn is_file_whiteout(self, node: &dyn Node) -> Result<bool> {
        match self {
            Dialect::Overlay(namespace) => namespace.is_file_whiteout(node),
        }
    }

    /// Whether an object hides its name; `file_whiteouts` says whether its
    /// directory [`Opacity::HoldsFileWhiteouts`].
    pub fn hides(self, node: &dyn Node, attr: &Attr, file_whiteouts: bool) -> Result<bool> {
        Ok(self.is_whiteout(attr)
            || file_whiteouts && self.may_be_file_whiteout(attr) && self.is_file_whiteout(node)?)
    }

    /// The same for the entry `name` of `directory`, which is looked up only
    /// if its attributes leave the question open.
    pub fn entry_hides(
        self,
        directory: &dyn Node,
        name: &Name,
        attr: &Attr,
        file_whiteouts: bool,
    ) -> Result<bool> {
        if self.is_whiteout(attr) {
            return Ok(true);
        }
        if !file_whiteouts || !self.may_be_file_whiteout(attr) {
            return Ok(false);
        }
        match directory.lookup(name)? {
            Some(found) => self.is_file_whiteout(&*found.node),
            None => Ok(false),
        }
    }

    /// What the directory `node` says about the branches below.
    pub fn opacity(self, node: &dyn Node) -> Result<Opacity> {
        match self {
            Dialect::Overlay(namespace) => namespace.opacity(node),
        }
    }

    /// Where a renamed directory says that its lower part lies.
    pub fn redirect(self, node: &dyn Node) -> Result<Option<Redirect>> {
        match self {
            Dialect::Overlay(namespace) => namespace.redirect(node),
        }
    }

    /// The name of the attribute that holds a redirect.
    pub fn redirect_mark(self) -> &'static [u8] {
        match self {
            Dialect::Overlay(namespace) => namespace.redirect_mark(),
        }
    }

    /// Whether a file's data lies on a branch below (`metacopy`).
    pub fn lacks_data(self, node: &dyn Node, attr: &Attr) -> Result<bool> {
        match self {
            Dialect::Overlay(namespace) => namespace.lacks_data(node, attr),
        }
    }

    /// The attribute that makes a directory opaque: name and value.
    pub fn opaque_mark(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Dialect::Overlay(namespace) => namespace.opaque_mark(),
        }
    }

    /// The object that hides a name.
    pub fn whiteout(self) -> New<'static> {
        match self {
            Dialect::Overlay(_) => overlay::whiteout(),
        }
    }

    /// The name under which the attribute `shown` of the union is stored.
    ///
    /// The dialect's own names are escaped, so that another union can be
    /// stacked on this one: it reads and writes its marks through us, and
    /// they never mean anything to us. `None`: the escaped name is too long.
    pub fn stored_xattr(self, shown: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Dialect::Overlay(namespace) => namespace.stored_xattr(shown),
        }
    }

    /// The name that the union shows for a stored attribute; `None` for the
    /// dialect's own.
    pub fn shown_xattr(self, stored: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Dialect::Overlay(namespace) => namespace.shown_xattr(stored),
        }
    }
}
