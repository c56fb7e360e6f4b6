//! What is stored in the layers beside files: the options of the kernel's
//! overlayfs.

use overlay_core::dialect::aufs::{Aufs, Diropq, WhiteoutFiles};
use overlay_core::stack::directories::{LayerFormat, Marks};
use overlay_core::union::{Index, Metacopy, NfsExport, RedirectDir, Xino};

use super::super::aufs::Udba;
use super::{Group, accepted, refused, value, word};

/// `off` is what kernels make of it that are built to follow always, as most
/// are.
const REDIRECT_DIR: [(&str, RedirectDir); 4] = [
    ("on", RedirectDir::On),
    ("follow", RedirectDir::Follow),
    ("nofollow", RedirectDir::NoFollow),
    ("off", RedirectDir::Follow),
];

/// `off` reads what others made: only the kernel refuses it.
const METACOPY: [(&str, Metacopy); 4] = [
    ("on", Metacopy::On),
    ("follow", Metacopy::Follow),
    ("nofollow", Metacopy::NoFollow),
    ("off", Metacopy::Follow),
];

const INDEX: [(&str, Index); 2] = [("on", Index::On), ("off", Index::Off)];

const NFS_EXPORT: [(&str, NfsExport); 2] = [("on", NfsExport::On), ("off", NfsExport::Off)];

const XINO: [(&str, Xino); 3] = [("auto", Xino::Auto), ("on", Xino::On), ("off", Xino::Off)];

const LAYER_FORMAT: [(&str, LayerFormat); 4] = [
    ("auto", LayerFormat::Auto),
    ("overlay", LayerFormat::Overlay),
    ("containers", LayerFormat::Containers),
    ("aufs", LayerFormat::Aufs(AUFS)),
];

/// As AuFS does it without options.
const AUFS: Aufs = Aufs {
    opaque: Diropq::Whiteouted,
    whiteouts: WhiteoutFiles::Linked,
};

const OFF: &str = "accepted: so it is in any case";

pub(super) const MARKS: Group = Group {
    title: "Marks",
    options: &[
        value(
            "udba",
            "none|reval|notify",
            "when changes that others make to the layers are seen: never (the default), when a \
             name is looked up, or when they happen",
            |draft, given| {
                draft.udba = given.choose(&[
                    ("none", Udba::None),
                    ("reval", Udba::Reval),
                    ("notify", Udba::Notify),
                ])?;
                Ok(())
            },
        ),
        word(
            "userxattr",
            "marks in user.overlay.* instead of trusted.overlay.* (what an ordinary user gets \
             in any case)",
            |draft| {
                draft.marks = Marks::User;
                Ok(())
            },
        ),
        value(
            "redirect_dir",
            "on|follow|nofollow|off",
            "whether directories with lower content can be renamed (on: the default), and whether \
             layers in which that was done are followed (off: as follow); with userxattr nofollow",
            |draft, given| {
                draft.redirect_dir = Some(given.choose(&REDIRECT_DIR)?);
                Ok(())
            },
        ),
        value(
            "index",
            "on|off",
            "on: a lower file with several hard links stays one file when it is changed; for root, \
             on layers with file handles; off (the default): the name that is changed becomes a \
             file of its own",
            |draft, given| {
                draft.index = Some(given.choose(&INDEX)?);
                Ok(())
            },
        ),
        value(
            "metacopy",
            "on|follow|nofollow|off",
            "on: a change of a lower file's owner, mode, times or attributes copies no data, which \
             follows at the first write; follow (the default): such files are read where layers \
             hold them, and none are made (off: as follow); nofollow: they are refused; with \
             userxattr nofollow",
            |draft, given| {
                draft.metacopy = Some(given.choose(&METACOPY)?);
                Ok(())
            },
        ),
        value(
            "xino",
            "auto|on|off",
            "inode numbers of layers on several filesystems: auto (the default) and on keep them \
             over remounts by putting the filesystem into the upper bits, off does not",
            |draft, given| {
                draft.xino = given.choose(&XINO)?;
                Ok(())
            },
        ),
        value(
            "layer_format",
            "auto|overlay|containers|aufs",
            "what the layers are: containers reads the .wh. names of container tools and \
             fuse-overlayfs as whiteouts, overlay as names; aufs: all are branches of AuFS, and \
             the upper one is written so, with the work directory inside unless workdir names \
             another; auto (the default): as containers only the lower layers in the storage of a \
             container engine that uses a mount program",
            |draft, given| {
                draft.format = given.choose(&LAYER_FORMAT)?;
                Ok(())
            },
        ),
        value(
            "nfs_export",
            "on|off",
            "on: file handles (NFS, open_by_handle_at) are good until the union is unmounted, \
             which costs memory for each file that was ever used; index=on comes with it, and \
             metacopy=on is excluded; off (the default): while the kernel remembers the file",
            |draft, given| {
                draft.nfs_export = given.choose(&NFS_EXPORT)?;
                Ok(())
            },
        ),
        value("verity", "off", OFF, |_, given| {
            given.only(
                "off",
                "digests of files are not compared here: leave it out",
            )
        }),
        value("uuid", "null|auto", OFF, |_, given| {
            match given.text() == "auto" {
                true => Ok(()),
                false => given.only("null", "FUSE shows no id of a filesystem: leave it out"),
            }
        }),
        accepted("override_creds", OFF),
        refused(
            "nooverride_creds",
            "the layers are always used with the rights of whoever mounts: leave it out",
        ),
    ],
};
