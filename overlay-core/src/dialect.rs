//! How marks (whiteouts, opaque directories) are encoded on a branch.
//!
//! The engine asks these questions and never looks at device numbers, names
//! of attributes or prefixes of names itself, so another encoding is another
//! module here.

use std::borrow::Cow;

use crate::attr::{Attr, FileKind, Protection};
use crate::error::Result;
use crate::layer::{Capabilities, New, NewKind, Node};
use crate::name::{NAME_MAX, Name};

pub mod aufs;
mod containers;
pub mod conversion;
mod entry;
mod marks;
mod names;
pub mod origin;
pub mod overlay;
pub mod plinks;
mod reading;
mod redirect;

pub use aufs::Aufs;
pub use entry::Says;
pub use marks::{Marks, is_metacopy_value};
pub use names::Meaning;
pub use overlay::Namespace;
pub use reading::{Heed, Reading};
pub use redirect::{REDIRECT_MAX, Redirect};

/// The encoding of marks on one branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OverlayFS: character device 0:0 and attributes in this namespace.
    Overlay(Namespace),
    /// What container tools and fuse-overlayfs leave: `.wh.NAME` beside NAME
    /// is a whiteout, `.wh..wh..opq` makes its directory opaque, and all marks
    /// of OverlayFS with attributes in this namespace count too. What is
    /// written are OverlayFS' marks.
    Containers(Namespace),
    /// AuFS: names alone, read as those of containers, and written so.
    Aufs(Aufs),
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect::Overlay(Namespace::Trusted)
    }
}

/// What a directory says about the branches below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opacity {
    /// It merges with what lies below.
    #[default]
    Transparent,
    /// It hides what lies below.
    Opaque,
    /// It merges, and may hold whiteouts that are regular files with a mark.
    HoldsFileWhiteouts,
}

/// What hides a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhiteoutForm {
    /// Character device 0:0.
    Device,
    /// An empty regular file with a mark, in a directory that
    /// [`Opacity::HoldsFileWhiteouts`] on a branch whose root says the same.
    MarkedFile,
    /// Another entry, whose name [`Dialect::hider_of`] tells.
    Entry,
}

/// What makes a directory opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpaqueForm {
    /// This attribute with this value.
    Attribute(&'static [u8], &'static [u8]),
    /// An entry of this name in it.
    Entry(&'static Name),
}

/// All that a directory says about the branches below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectoryMarks {
    /// Whether they have a say.
    pub opacity: Opacity,
    /// Where in them its lower part lies, if not under its own name; of an
    /// opaque directory `None`.
    pub redirect: Option<Redirect>,
}

impl From<Opacity> for DirectoryMarks {
    fn from(opacity: Opacity) -> DirectoryMarks {
        DirectoryMarks {
            opacity,
            redirect: None,
        }
    }
}

impl Dialect {
    /// The namespace of the attributes that are written, and read as
    /// OverlayFS' own; `None` where no attribute is a mark.
    pub fn namespace(self) -> Option<Namespace> {
        match self {
            Dialect::Overlay(namespace) | Dialect::Containers(namespace) => Some(namespace),
            Dialect::Aufs(_) => None,
        }
    }

    /// The namespace that marks are named in by who writes them. Nobody does
    /// where [`Dialect::takes_marks`] says no; what has the name means nothing
    /// there.
    fn naming(self) -> Namespace {
        self.namespace().unwrap_or(Namespace::Trusted)
    }

    /// The length of the longest name in bytes.
    pub fn name_max(self) -> usize {
        match self {
            Dialect::Overlay(_) | Dialect::Containers(_) => NAME_MAX,
            Dialect::Aufs(_) => aufs::NAME_MAX,
        }
    }

    /// What the names of the dialect's own attributes begin with.
    fn prefixes(self) -> &'static [&'static [u8]] {
        match self {
            Dialect::Overlay(namespace) => namespace.prefixes(),
            Dialect::Containers(_) => &containers::PREFIXES,
            Dialect::Aufs(_) => &[],
        }
    }

    /// Whether an object with these attributes is a whiteout by itself.
    fn is_whiteout(self, attr: &Attr) -> bool {
        self.namespace().is_some() && overlay::is_whiteout(attr)
    }

    /// Whether a new object of this kind would be a whiteout.
    pub fn makes_whiteout(self, kind: NewKind<'_>) -> bool {
        self.namespace().is_some() && kind == NewKind::CharDevice(0)
    }

    /// Whether an object of these attributes would be a whiteout if it
    /// carried the mark; only asked in a directory that
    /// [`Opacity::HoldsFileWhiteouts`].
    pub fn may_be_file_whiteout(self, attr: &Attr) -> bool {
        self.namespace().is_some() && overlay::may_be_file_whiteout(attr)
    }

    /// Whether this regular file carries the mark of a whiteout.
    fn is_file_whiteout(self, node: &dyn Node) -> Result<bool> {
        match self.namespace() {
            Some(namespace) => namespace.is_file_whiteout(node),
            None => Ok(false),
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
            Dialect::Containers(namespace) => containers::opacity(namespace, node, |_| true),
            Dialect::Aufs(_) => names::opacity(node),
        }
    }

    /// What the directory `node` says about the branches below, and where. Asks
    /// for the names of its attributes first: most directories have none.
    pub fn directory_marks(self, node: &dyn Node) -> Result<DirectoryMarks> {
        if self.namespace().is_none() {
            return self.opacity(node).map(DirectoryMarks::from);
        }
        let names = node.xattr_names()?;
        let has = |mark: &[u8]| names.iter().any(|name| name == mark);
        let opacity = match self {
            Dialect::Overlay(namespace) if has(namespace.opaque_mark().0) => {
                namespace.opacity(node)?
            }
            Dialect::Overlay(_) => Opacity::Transparent,
            Dialect::Containers(namespace) => containers::opacity(namespace, node, has)?,
            Dialect::Aufs(_) => names::opacity(node)?,
        };
        match opacity {
            Opacity::Transparent | Opacity::HoldsFileWhiteouts if has(self.redirect_mark()) => {
                let redirect = self.redirect(node)?;
                Ok(DirectoryMarks { opacity, redirect })
            }
            Opacity::Transparent | Opacity::HoldsFileWhiteouts | Opacity::Opaque => {
                Ok(DirectoryMarks::from(opacity))
            }
        }
    }

    /// The same for the root of a branch. OverlayFS looks for no mark there
    /// that hides: roots merge (`ovl_get_root` in `fs/overlayfs/super.c`).
    pub fn root_opacity(self, root: &dyn Node) -> Result<Opacity> {
        Ok(match (self, self.opacity(root)?) {
            (Dialect::Overlay(_), Opacity::Opaque) => Opacity::Transparent,
            (Dialect::Overlay(_) | Dialect::Containers(_) | Dialect::Aufs(_), opacity) => opacity,
        })
    }

    /// Where a renamed directory says that its lower part lies.
    pub fn redirect(self, node: &dyn Node) -> Result<Option<Redirect>> {
        match self.namespace() {
            Some(namespace) => namespace.redirect(node),
            None => Ok(None),
        }
    }

    /// The name of the attribute that holds a redirect.
    pub fn redirect_mark(self) -> &'static [u8] {
        self.naming().redirect_mark()
    }

    /// Whether a file's data lies on a branch below (`metacopy`).
    pub fn lacks_data(self, node: &dyn Node, attr: &Attr) -> Result<bool> {
        match self.namespace() {
            Some(namespace) => namespace.lacks_data(node, attr),
            None => Ok(false),
        }
    }

    /// The attribute that says that a file's data lies below: name and value.
    pub fn metacopy_mark(self) -> (&'static [u8], &'static [u8]) {
        self.naming().metacopy_mark()
    }

    /// What a copy says of the object that it is a copy of; `None` where it
    /// says nothing.
    pub fn origin(self, node: &dyn Node) -> Result<Option<origin::Stored>> {
        match self.namespace() {
            Some(namespace) => namespace.origin(node),
            None => Ok(None),
        }
    }

    /// The name of the attribute that holds the origin.
    pub fn origin_mark(self) -> &'static [u8] {
        self.naming().origin_mark()
    }

    /// Whether an object of this kind can have marks that are attributes:
    /// `user.*` belongs to files and directories alone (`xattr(7)`).
    pub fn takes_marks(self, kind: FileKind) -> bool {
        match self.namespace() {
            Some(Namespace::Trusted) => true,
            Some(Namespace::User) => matches!(kind, FileKind::Regular | FileKind::Directory),
            None => false,
        }
    }

    /// Whether a directory may hold copies that have an origin.
    pub fn is_impure(self, node: &dyn Node) -> Result<bool> {
        match self.namespace() {
            Some(namespace) => namespace.is_impure(node),
            None => Ok(false),
        }
    }

    /// The attribute of a directory that may hold copies that have an origin:
    /// name and value.
    pub fn impure_mark(self) -> (&'static [u8], &'static [u8]) {
        self.naming().impure_mark()
    }

    /// The stored link count of an indexed object.
    pub fn link_count(self, node: &dyn Node) -> Result<Option<origin::LinkCount>> {
        match self.namespace() {
            Some(namespace) => namespace.link_count(node),
            None => Ok(None),
        }
    }

    /// The name of the attribute that holds the link count.
    pub fn link_count_mark(self) -> &'static [u8] {
        self.naming().link_count_mark()
    }

    /// The name of the attribute by which the index, and the entry of a
    /// directory in it, point to the upper layer.
    pub fn upper_mark(self) -> &'static [u8] {
        self.naming().upper_mark()
    }

    /// What an object of a writable branch says that it is protected from: its
    /// filesystem would keep the union itself from changing it.
    pub fn protection(self, node: &dyn Node) -> Result<Protection> {
        match self.namespace() {
            Some(namespace) => namespace.protection(node),
            // AuFS has no mark for it.
            None => Ok(Protection::NONE),
        }
    }

    /// The attribute that says it: name and value. `None` where there is
    /// nothing to say, or no way to.
    pub fn protection_mark(self, what: Protection) -> Option<(&'static [u8], &'static [u8])> {
        self.namespace()?.protection_mark(what)
    }

    /// The attribute that makes a directory opaque: name and value.
    pub fn opaque_mark(self) -> (&'static [u8], &'static [u8]) {
        self.naming().opaque_mark()
    }

    /// The object that hides a name.
    pub fn whiteout(self, form: WhiteoutForm) -> New<'static> {
        match form {
            WhiteoutForm::Device => overlay::whiteout(),
            WhiteoutForm::MarkedFile => self.naming().file_whiteout(),
            WhiteoutForm::Entry => aufs::whiteout(),
        }
    }

    /// What hides a name on a branch whose filesystem can do these things.
    pub fn whiteout_form(self, can: Capabilities) -> WhiteoutForm {
        match self {
            Dialect::Overlay(_) | Dialect::Containers(_) if can.whiteout_device => {
                WhiteoutForm::Device
            }
            Dialect::Overlay(_) | Dialect::Containers(_) => WhiteoutForm::MarkedFile,
            Dialect::Aufs(_) => WhiteoutForm::Entry,
        }
    }

    /// What makes a directory opaque, as it is written.
    pub fn opaque_form(self) -> OpaqueForm {
        match self {
            Dialect::Overlay(namespace) | Dialect::Containers(namespace) => {
                let (name, value) = namespace.opaque_mark();
                OpaqueForm::Attribute(name, value)
            }
            Dialect::Aufs(_) => OpaqueForm::Entry(names::opaque()),
        }
    }

    /// The attribute of a directory that [`Opacity::HoldsFileWhiteouts`]: name
    /// and value.
    pub fn file_whiteouts_mark(self) -> (&'static [u8], &'static [u8]) {
        self.naming().file_whiteouts_mark()
    }

    /// The name under which the attribute `shown` of the union is stored.
    ///
    /// The dialect's own names are escaped, so that another union can be
    /// stacked on this one: it reads and writes its marks through us, and
    /// they never mean anything to us. `None`: the escaped name is too long.
    pub fn stored_xattr(self, shown: &[u8]) -> Option<Cow<'_, [u8]>> {
        overlay::stored_xattr(self.prefixes(), shown)
    }

    /// Whether `name` is what the dialect's own attributes begin with, and
    /// nothing more: the kernel knows no attribute of that name.
    pub fn is_prefix(self, name: &[u8]) -> bool {
        self.prefixes().contains(&name)
    }

    /// The name that the union shows for a stored attribute; `None` for the
    /// dialect's own.
    pub fn shown_xattr(self, stored: &[u8]) -> Option<Cow<'_, [u8]>> {
        overlay::shown_xattr(self.prefixes(), stored)
    }
}
