//! All that can be found: how bad it is, and what it means for users.

use super::Severity::{self, Error, Hint, Leftover, Warning};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $severity:ident, $name:literal, $meaning:literal;)*) => {
        /// What a finding is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self {
                    $(Kind::$kind => $severity,)*
                }
            }

            /// A name for programs; it does not change.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }

            /// One clause for people: what it means.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Kind::$kind => $meaning,)*
                }
            }
        }
    };
}

kinds! {
    /// A directory's redirect leads to nothing, or to no directory.
    RedirectDangling = Error, "redirect-dangling",
        "its redirect leads to no directory, so what it had below is missing";
    /// A redirect that is no name and no path.
    RedirectMalformed = Error, "redirect-malformed",
        "its redirect is no name and no path, so it cannot be opened";
    /// Two redirects to one directory.
    RedirectShared = Error, "redirect-shared",
        "its redirect leads where another directory's leads, so the kernel refuses one of them";
    /// A redirect to a directory that shows under its own name, too.
    RedirectUncovered = Warning, "redirect-uncovered",
        "its redirect leads to a directory that also shows under its old name, so its content shows twice";
    /// A redirect that has no effect.
    RedirectUnused = Leftover, "redirect-unused",
        "its redirect has no effect";
    /// A redirect in a union that refuses them.
    RedirectRefused = Warning, "redirect-refused",
        "it has a redirect and redirects are not followed, so it cannot be opened";

    /// A whiteout that hides nothing.
    WhiteoutOverNothing = Leftover, "whiteout-over-nothing",
        "this whiteout hides nothing";
    /// A whiteout in a directory that shows nothing of the layers below.
    WhiteoutUnmerged = Leftover, "whiteout-unmerged",
        "this whiteout lies in a directory that merges with nothing (the kernel may list its name)";
    /// A device 0:0 on the lowest branch.
    WhiteoutLowest = Hint, "whiteout-lowest",
        "a character device 0:0 in the lowest layer is taken for a whiteout and does not show";
    /// A file with the mark of a whiteout, where it does not count.
    FileWhiteoutUnmarked = Warning, "file-whiteout-unmarked",
        "it has the mark of a whiteout but its directory is not marked to hold such (opaque=x), so an empty file may show";
    /// Such a file in a directory that is marked, on a branch that is not.
    FileWhiteoutRoot = Warning, "file-whiteout-root",
        "whiteouts that are files lie in this layer but its root is not marked for them (opaque=x), so they may show as empty files";
    /// A directory marked to hold files that are whiteouts, without any.
    FileWhiteoutsNone = Leftover, "file-whiteouts-none",
        "it is marked to hold whiteouts that are files (opaque=x) and holds none";

    /// An opaque directory over nothing.
    OpaqueOverNothing = Leftover, "opaque-over-nothing",
        "it is opaque and has nothing to hide";
    /// A value of the mark that means nothing.
    OpaqueUnknown = Warning, "opaque-unknown",
        "its opaque mark has a value that means nothing, so it hides nothing";

    /// A file whose data lies nowhere.
    MetacopyWithoutData = Error, "metacopy-without-data",
        "its data should lie on a layer below and does not, so it cannot be read";
    /// A file whose size is not that of its data.
    MetacopySize = Error, "metacopy-size",
        "its size is not that of its data on a layer below, so that data is not the one it was made from";
    /// A value of the mark that means nothing.
    MetacopyMalformed = Error, "metacopy-malformed",
        "the mark that its data lies below has a value that means nothing, so the kernel cannot open it";

    /// An origin that is no handle.
    OriginInvalid = Warning, "origin-invalid",
        "its origin is no file handle, so its inode number changes at the next mount";
    /// An origin that is gone, or is something else now.
    OriginStale = Warning, "origin-stale",
        "its origin is gone or is something else now, so its inode number changes at the next mount";
    /// A directory with copies that does not say so.
    ImpureMissing = Warning, "impure-missing",
        "it holds copies and is not marked as impure, so the kernel lists wrong inode numbers";
    /// A directory that says it holds copies, and does not.
    ImpureUnneeded = Leftover, "impure-unneeded",
        "it is marked as impure and holds no copies";

    /// The upper layer was used over another lower one.
    LowerOther = Error, "lower-other",
        "the upper layer was last used over another lower layer than the topmost of these";
    /// The index is that of another upper layer.
    IndexOfOther = Error, "index-of-other",
        "this index belongs to another upper layer, so the kernel refuses to mount with index=on";
    /// An entry whose name is no handle.
    IndexName = Error, "index-name",
        "the name of this index entry is no file handle, so the kernel refuses to mount with index=on";
    /// What was under way in the index.
    IndexTemporary = Leftover, "index-temporary",
        "something unfinished is left in the index";
    /// An entry that no name leads to.
    IndexOrphan = Leftover, "index-orphan",
        "no name leads to this index entry any more";
    /// An entry that does not say what it is a copy of.
    IndexUnnamed = Error, "index-unnamed",
        "this index entry does not say what it is a copy of, so the kernel refuses to mount with index=on";
    /// An entry that is a copy of something else.
    IndexMismatch = Warning, "index-mismatch",
        "this index entry is a copy of something else than its name says, so it is not used";
    /// A copy that the index does not know.
    IndexBroken = Warning, "index-broken",
        "another copy of the same original is in the index, so this one is not linked with it";
    /// A link count that is no number or cannot be.
    IndexLinkCount = Warning, "index-link-count",
        "the link count of this index entry is missing or impossible, so a wrong one is shown";

    /// What was under way in the work area.
    WorkLeftover = Leftover, "work-leftover",
        "something unfinished is left in the work directory";
    /// A volatile mount left its note.
    WorkVolatile = Error, "work-volatile",
        "a volatile mount left this note: its changes may not have reached the disk, and no mount is possible while it is there";
    /// Something else has the place of a directory that mounts need.
    WorkNotDirectory = Error, "work-not-directory",
        "it is not a directory, so no mount is possible that has to write there (index: with index=on)";
    /// What does not belong there.
    WorkForeign = Hint, "work-foreign",
        "it does not belong into a work directory";

    /// Marks under the names that the other choice would have read.
    NamespaceOther = Hint, "namespace-other",
        "the marks in this layer lie in the other namespace (trusted.overlay.* with root, user.overlay.* with userxattr), so none of them counts";
    /// Names that are marks in another dialect.
    AufsNames = Hint, "aufs-names",
        "names that begin with .wh. are ordinary ones here: the layer may be of another format";

    /// Something could not be read.
    Unreadable = Error, "unreadable",
        "it could not be read, so the check is not complete";
}
