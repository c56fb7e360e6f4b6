//! Whose files these are, and what is told about them: the options of
//! fuse-overlayfs, by the same names.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use overlay_core::layer::owners::{Attribute, Loose};
use overlay_core::stack::directories::{Keeping, OwnerAttributes, Ownership};

use super::{Given, Group, Switch, refused, switch, value, word};
use crate::cli::plan::UsageError;
use crate::ids::IdMap;
use crate::presentation::{Presentation, Xattrs};

/// What the words have said so far.
#[derive(Debug, Default)]
pub(in super::super) struct Owners {
    uids: Option<IdMap>,
    gids: Option<IdMap>,
    squash_to_root: bool,
    squash_uid: Option<u32>,
    squash_gid: Option<u32>,
    attributes: OwnerAttributes,
    static_nlink: bool,
    noacl: bool,
    noxattrs: bool,
    lifetime: Option<Duration>,
}

const MAPPING: &str = "INSIDE:OUTSIDE:COUNT[:...]";
const MAPPING_HELP: &str = "ids INSIDE in the layers show as OUTSIDE, as in a user namespace \
                            with such a map; all others show as 65534 and cannot be set";
const SQUASH_HELP: &str = "everything shows this owner; an owner that this process may not give \
                           to a file is left as it is";
const ONE_CONTEXT: &str = "one context is set for all files, or none: use context, or leave it out";
const ATTRIBUTES: [(&str, OwnerAttributes); 3] = [
    ("0", OwnerAttributes::Ignored),
    ("1", OwnerAttributes::Written(Attribute::Privileged)),
    ("2", OwnerAttributes::Written(Attribute::Containers)),
];

pub(super) const OWNERS: Group = Group {
    title: "Owners and attributes",
    options: &[
        value("uidmapping", MAPPING, MAPPING_HELP, |draft, given| {
            draft.owners.uids = Some(id_map(given)?);
            Ok(())
        }),
        value("gidmapping", MAPPING, MAPPING_HELP, |draft, given| {
            draft.owners.gids = Some(id_map(given)?);
            Ok(())
        }),
        word("squash_to_root", SQUASH_HELP, |draft| {
            draft.owners.squash_to_root = true;
            Ok(())
        }),
        value("squash_to_uid", "UID", SQUASH_HELP, |draft, given| {
            draft.owners.squash_uid = Some(id(given)?);
            Ok(())
        }),
        value("squash_to_gid", "GID", SQUASH_HELP, |draft, given| {
            draft.owners.squash_gid = Some(id(given)?);
            Ok(())
        }),
        value(
            "xattr_permissions",
            "0|1|2",
            "owners, modes and devices of UPPER are kept in attributes (1: \
             security.fuseoverlayfs.override_stat, for root alone; 2: \
             user.containers.override_stat); so are those of layers whose root has such an \
             attribute (0: nowhere). With 2 a symlink belongs to this process unless it may give \
             it away",
            |draft, given| {
                draft.owners.attributes = given.choose(&ATTRIBUTES)?;
                Ok(())
            },
        ),
        word("static_nlink", "directories show one link", |draft| {
            draft.owners.static_nlink = true;
            Ok(())
        }),
        word("noacl", "no POSIX ACLs", |draft| {
            draft.owners.noacl = true;
            Ok(())
        }),
        switch(
            "noxattrs",
            "no extended attributes at all",
            |draft, state| {
                draft.owners.noxattrs = match state {
                    Switch::On => true,
                    Switch::Off => false,
                };
                Ok(())
            },
        ),
        value(
            "timeout",
            "SECONDS",
            "how long the kernel remembers names and attributes (a day; 0: not at all)",
            |draft, given| {
                draft.owners.lifetime = Some(seconds(given)?);
                Ok(())
            },
        ),
        value(
            "context",
            "CONTEXT",
            "the SELinux context of all files",
            |draft, given| {
                let context = context(given)?;
                draft.mount(|mount| mount.context(context));
                Ok(())
            },
        ),
        refused("fscontext", ONE_CONTEXT),
        refused("defcontext", ONE_CONTEXT),
        refused("rootcontext", ONE_CONTEXT),
    ],
};

impl Owners {
    /// Where owners are stored.
    pub(in super::super) fn ownership(&self) -> Ownership {
        let users = self.squash_to_root || self.squash_uid.is_some();
        let groups = self.squash_to_root || self.squash_gid.is_some();
        Ownership {
            attributes: self.attributes,
            keeping: match (users, groups) {
                (true, true) => Keeping::WherePermitted(Loose::Both),
                (true, false) => Keeping::WherePermitted(Loose::Users),
                (false, true) => Keeping::WherePermitted(Loose::Groups),
                (false, false) => Keeping::Always,
            },
        }
    }

    /// How the union is shown.
    pub(in super::super) fn presentation(self) -> Presentation {
        let mut shown = Presentation::new();
        if let Some(map) = self.uids {
            shown = shown.uid_map(map);
        }
        if let Some(map) = self.gids {
            shown = shown.gid_map(map);
        }
        let root = self.squash_to_root.then_some(0);
        if let Some(uid) = self.squash_uid.or(root) {
            shown = shown.squash_uid(uid);
        }
        if let Some(gid) = self.squash_gid.or(root) {
            shown = shown.squash_gid(gid);
        }
        if self.static_nlink {
            shown = shown.static_nlink();
        }
        if let Some(lifetime) = self.lifetime {
            shown = shown.lifetime(lifetime);
        }
        shown.xattrs(match (self.noxattrs, self.noacl) {
            (true, _) => Xattrs::None,
            (false, true) => Xattrs::NoAcls,
            (false, false) => Xattrs::All,
        })
    }
}

fn id_map(given: &Given<'_>) -> Result<IdMap, UsageError> {
    let text = given.list().to_str().unwrap_or_default();
    text.parse()
        .map_err(|error| given.wrong(format!("{error}")))
}

fn id(given: &Given<'_>) -> Result<u32, UsageError> {
    match given.list().to_str().and_then(|text| text.parse().ok()) {
        Some(id) if id != u32::MAX => Ok(id),
        Some(_) | None => Err(given.wrong("write a number from 0 to 4294967294")),
    }
}

fn seconds(given: &Given<'_>) -> Result<Duration, UsageError> {
    let number = given.list().to_str().and_then(|text| text.parse().ok());
    let duration = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    duration.ok_or_else(|| {
        given.wrong("write seconds, for example 0.5; with 0 the kernel remembers nothing")
    })
}

/// Without the quotes around it.
fn context(given: &Given<'_>) -> Result<OsString, UsageError> {
    let bytes = given.list().as_bytes();
    let bare = bytes
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(bytes);
    if bare.is_empty() || bare.contains(&b'"') {
        return Err(given.wrong("write USER:ROLE:TYPE:LEVEL, in quotes if it has commas"));
    }
    Ok(OsStr::from_bytes(bare).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squashing_one_kind_of_ids_keeps_the_other() {
        let mut owners = Owners::default();
        assert_eq!(owners.ownership().keeping, Keeping::Always);
        owners.squash_uid = Some(5);
        let users = Keeping::WherePermitted(Loose::Users);
        assert_eq!(owners.ownership().keeping, users);
        owners.squash_to_root = true;
        let both = Keeping::WherePermitted(Loose::Both);
        assert_eq!(owners.ownership().keeping, both);
    }

    #[test]
    fn quotes_around_a_context_are_not_part_of_it() {
        let bare = |text: &str| {
            let text = OsStr::new(text);
            context(&Given::new("context", text, text))
        };
        assert_eq!(bare("\"a:b:c:s0,c1\""), Ok("a:b:c:s0,c1".into()));
        assert_eq!(bare("a:b:c:s0"), Ok("a:b:c:s0".into()));
        assert!(bare("\"a").is_err());
    }
}
