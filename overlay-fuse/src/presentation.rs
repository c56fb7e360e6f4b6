//! How a union is shown to its users: whose the files are, what of them can be
//! seen, and for how long the kernel may remember it.

use std::time::Duration;

use overlay_core::error::Errno;
use overlay_core::layer::owners;
use overlay_core::{Attr, Error, Owner, Result, SetAttr};

use crate::ids::{IdMap, Ids, acl};

/// How long the kernel may keep names, missing names and attributes without
/// asking again, unless told otherwise. The union owns its branches, so nothing
/// changes behind the kernel's back; a day, not for ever, so that a bug heals
/// over night.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Which extended attributes a mount has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Xattrs {
    /// All.
    #[default]
    All,
    /// All but POSIX ACLs: those of the layers have no effect (`noacl`).
    NoAcls,
    /// None (`noxattrs`): every call for one is `EOPNOTSUPP`.
    None,
}

/// How a union is shown to its users.
///
/// ```
/// use std::time::Duration;
/// use overlay_fuse::Presentation;
///
/// let shown = Presentation::new()
///     .uid_map("0:1000:1".parse()?)
///     .lifetime(Duration::from_millis(500));
/// # Ok::<(), overlay_fuse::IdMapError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    uids: Ids,
    gids: Ids,
    static_nlink: bool,
    xattrs: Xattrs,
    lifetime: Duration,
    overflow: Owner,
}

impl Default for Presentation {
    fn default() -> Presentation {
        Presentation::new()
    }
}

impl Presentation {
    /// As it is stored, for a day.
    pub fn new() -> Presentation {
        Presentation {
            uids: Ids::default(),
            gids: Ids::default(),
            static_nlink: false,
            xattrs: Xattrs::All,
            lifetime: LIFETIME,
            overflow: owners::overflow(),
        }
    }

    /// Users are shown by this mapping; those that it lacks as the overflow id
    /// (65534). They cannot be set (`EINVAL`), nor make anything (`EOVERFLOW`).
    pub fn uid_map(mut self, map: IdMap) -> Presentation {
        self.uids.map = Some(map);
        self
    }

    /// The same for groups.
    pub fn gid_map(mut self, map: IdMap) -> Presentation {
        self.gids.map = Some(map);
        self
    }

    /// Everything belongs to this user. A change of owner is stored if it can
    /// be, and does not show.
    pub fn squash_uid(mut self, uid: u32) -> Presentation {
        self.uids.squash = Some(uid);
        self
    }

    /// Everything belongs to this group.
    pub fn squash_gid(mut self, gid: u32) -> Presentation {
        self.gids.squash = Some(gid);
        self
    }

    /// Directories show a link count of 1, the old sign for "not counted".
    pub fn static_nlink(mut self) -> Presentation {
        self.static_nlink = true;
        self
    }

    /// Which extended attributes there are.
    pub fn xattrs(mut self, xattrs: Xattrs) -> Presentation {
        self.xattrs = xattrs;
        self
    }

    /// How long the kernel may keep names and attributes; a day unless set.
    /// Zero: it asks each time, and reads files anew at each open.
    pub fn lifetime(mut self, lifetime: Duration) -> Presentation {
        self.lifetime = lifetime;
        self
    }

    pub(crate) fn shown_xattrs(&self) -> Xattrs {
        self.xattrs
    }

    pub(crate) fn shown_lifetime(&self) -> Duration {
        self.lifetime
    }

    /// What is shown of `attr`.
    pub(crate) fn attr(&self, attr: &Attr) -> Attr {
        let nlink = match self.static_nlink && attr.kind.is_dir() {
            true => 1,
            false => attr.nlink,
        };
        Attr {
            uid: self.uids.shown(attr.uid, self.overflow.uid),
            gid: self.gids.shown(attr.gid, self.overflow.gid),
            nlink,
            ..*attr
        }
    }

    /// As whose what `caller` makes is stored; `EOVERFLOW` for an id that is
    /// not mapped, as where a user namespace lacks it.
    pub(crate) fn maker(&self, caller: Owner) -> Result<Owner> {
        let stored = |ids: &Ids, id: u32, overflow: u32| match ids.stored(id) {
            Some(stored) => Ok(stored),
            // It does not show.
            None if ids.squash.is_some() => Ok(overflow),
            None => Err(Error::Errno(Errno::OVERFLOW)),
        };
        Ok(Owner {
            uid: stored(&self.uids, caller.uid, self.overflow.uid)?,
            gid: stored(&self.gids, caller.gid, self.overflow.gid)?,
        })
    }

    /// What is stored for a change `set`; `EINVAL` for an id that is not
    /// mapped, as where a user namespace lacks it.
    pub(crate) fn stored(&self, set: &SetAttr) -> Result<SetAttr> {
        let stored = |ids: &Ids, id: Option<u32>| match id.map(|id| ids.stored(id)) {
            None => Ok(None),
            Some(Some(stored)) => Ok(Some(stored)),
            // It would not show.
            Some(None) if ids.squash.is_some() => Ok(None),
            Some(None) => Err(Error::Invalid("an id that is not mapped")),
        };
        Ok(SetAttr {
            uid: stored(&self.uids, set.uid)?,
            gid: stored(&self.gids, set.gid)?,
            ..*set
        })
    }

    /// Whether the attribute `name` can be asked for.
    ///
    /// Errors: `ENOSYS`, which the kernel remembers and answers `EOPNOTSUPP`
    /// by itself from then on, or `EOPNOTSUPP`.
    pub(crate) fn require_xattr(&self, name: &[u8]) -> Result<()> {
        match self.xattrs {
            Xattrs::All => Ok(()),
            Xattrs::NoAcls if acl::is_acl(name) => Err(Error::Unsupported("ACLs (noacl)")),
            Xattrs::NoAcls => Ok(()),
            Xattrs::None => Err(Error::Errno(Errno::NOSYS)),
        }
    }

    /// Whether the attribute `name` is listed; see [`Presentation::require_xattr`].
    pub(crate) fn lists_xattr(&self, name: &[u8]) -> bool {
        self.require_xattr(name).is_ok()
    }

    /// The value to show of a stored attribute.
    pub(crate) fn shown_value(&self, name: &[u8], value: Vec<u8>) -> Vec<u8> {
        if !acl::is_acl(name) || self.uids.is_plain() && self.gids.is_plain() {
            return value;
        }
        let map = |ids: &Ids, id, overflow| match &ids.map {
            Some(map) => map.shown(id).unwrap_or(overflow),
            None => id,
        };
        let user = |id| Some(map(&self.uids, id, self.overflow.uid));
        let group = |id| Some(map(&self.gids, id, self.overflow.gid));
        acl::map(value, user, group).unwrap_or_default()
    }

    /// The value to store for an attribute; `EINVAL` as [`Presentation::stored`].
    pub(crate) fn stored_value(&self, name: &[u8], value: &[u8]) -> Result<Vec<u8>> {
        let value = value.to_vec();
        if !acl::is_acl(name) || self.uids.is_plain() && self.gids.is_plain() {
            return Ok(value);
        }
        let mapped = acl::map(value, |id| self.uids.stored(id), |id| self.gids.stored(id));
        mapped.ok_or(Error::Invalid("an ACL with an id that is not mapped"))
    }
}
