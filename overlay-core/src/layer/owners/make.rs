//! New objects, which carry their owners from the first moment.

use std::borrow::Cow;
use std::sync::Arc;

use super::node::Owned;
use super::{Attribute, Shared, is_refused};
use crate::attr::{Attr, FileKind, Owner, Protection, Timestamp};
use crate::error::Result;
use crate::layer::{Found, New, NewKind, WritableNode, acl};

/// Name and value of an attribute.
type Stored<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// What the server needs to work with its own directory, or another object.
const OWNER_RWX: u32 = 0o700;
const OWNER_RW: u32 = 0o600;

/// The mode of the object that shows `attr` through its attribute, where it
/// belongs to `own`: its owner's bits let the server work, the others are
/// those that `attr` gives to whomever they may mean now, and no special ones.
pub(super) fn real_mode(attr: &Attr, own: Owner) -> u32 {
    let (group, other) = (attr.mode >> 3 & 0o7, attr.mode & 0o7);
    let (group, other) = match attr.gid == own.gid {
        true => (group, other),
        // The group is another: its members and the others are one crowd.
        false => (group & other, group & other),
    };
    let owner = match attr.kind.is_dir() {
        true => OWNER_RWX,
        false => OWNER_RW | attr.mode & 0o100,
    };
    owner | group << 3 | other
}

/// What an object of `kind` is made as, where it is to carry `attribute`.
fn stand_in(kind: NewKind<'_>, attribute: Attribute) -> NewKind<'_> {
    match attribute.is_for(kind.file_kind()) {
        true => kind,
        false => NewKind::Regular,
    }
}

impl Shared {
    /// Makes `new` by `make`, and returns its node and attributes.
    pub(super) fn make(
        self: &Arc<Shared>,
        new: &New<'_>,
        make: impl Fn(&New<'_>) -> Result<Found<dyn WritableNode>>,
    ) -> Result<Found<dyn WritableNode>> {
        let attribute = match new.kind {
            // A mark of the branch.
            NewKind::CharDevice(0) => None,
            NewKind::Symlink(_) => self.attribute_for(FileKind::Symlink),
            // By a stand-in, if not by themselves.
            NewKind::Regular
            | NewKind::Directory
            | NewKind::Fifo
            | NewKind::Socket
            | NewKind::CharDevice(_)
            | NewKind::BlockDevice(_) => self.attribute_for(FileKind::Regular),
        };
        let found = match attribute {
            Some(attribute) => self.make_carrying(attribute, new, &make)?,
            None => match make(new) {
                Err(error) if is_refused(&error) => {
                    let owner = self.permitted(new.owner);
                    if owner == new.owner {
                        return Err(error);
                    }
                    make(&New { owner, ..*new })?
                }
                outcome => outcome?,
            },
        };
        let (node, attr) = Owned::found(self, found)?;
        Ok(Found { node, attr })
    }

    /// `owner` without what need not be kept.
    fn permitted(&self, owner: Owner) -> Owner {
        let loose = self.loose();
        Owner {
            uid: if loose.users() {
                self.own.uid
            } else {
                owner.uid
            },
            gid: if loose.groups() {
                self.own.gid
            } else {
                owner.gid
            },
        }
    }

    fn make_carrying(
        &self,
        attribute: Attribute,
        new: &New<'_>,
        make: impl Fn(&New<'_>) -> Result<Found<dyn WritableNode>>,
    ) -> Result<Found<dyn WritableNode>> {
        let kind = new.kind.file_kind();
        let attr = shown(new);
        let value = attribute.value(&attr);
        let mut stored: Vec<Stored<'_>> = Vec::new();
        for (name, given) in new.xattrs {
            let value = match *name == acl::ACCESS {
                false => Cow::Borrowed(*given),
                true if acl::access(given)?.extended => {
                    // The mode has the last word.
                    let mut given = given.to_vec();
                    acl::follow_mode(&mut given, new.mode);
                    Cow::Owned(given)
                }
                // It says no more than the mode.
                true => continue,
            };
            stored.push((attribute.stored_name(kind, name)?, value));
        }
        stored.push((Cow::Borrowed(attribute.name()), Cow::Borrowed(&value)));
        let xattrs: Vec<(&[u8], &[u8])> = stored
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        make(&New {
            kind: stand_in(new.kind, attribute),
            mode: real_mode(&attr, self.own),
            owner: self.own,
            xattrs: &xattrs,
        })
    }
}

/// What `new` is to show, as far as an attribute says it.
fn shown(new: &New<'_>) -> Attr {
    let rdev = match new.kind {
        NewKind::CharDevice(rdev) | NewKind::BlockDevice(rdev) => rdev,
        NewKind::Regular
        | NewKind::Directory
        | NewKind::Symlink(_)
        | NewKind::Fifo
        | NewKind::Socket => 0,
    };
    Attr {
        kind: new.kind.file_kind(),
        mode: match new.kind.file_kind() == FileKind::Symlink {
            true => 0o777,
            false => new.mode & 0o7777,
        },
        nlink: 1,
        uid: new.owner.uid,
        gid: new.owner.gid,
        rdev,
        size: 0,
        blocks: 0,
        blksize: 0,
        atime: Timestamp::default(),
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        ino: 0,
        dev: 0,
        protection: Protection::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_more_from_the_object_than_from_what_it_shows() {
        let real = |kind, mode, gid| {
            let new = New {
                kind,
                mode,
                owner: Owner { uid: 5, gid },
                xattrs: &[],
            };
            real_mode(&shown(&new), Owner { uid: 1, gid: 2 })
        };
        assert_eq!(real(NewKind::Regular, 0o6644, 2), 0o644);
        assert_eq!(real(NewKind::Regular, 0o640, 9), 0o600);
        assert_eq!(real(NewKind::Regular, 0o604, 9), 0o600);
        assert_eq!(real(NewKind::Regular, 0, 2), 0o600);
        assert_eq!(real(NewKind::Regular, 0o755, 9), 0o755);
        assert_eq!(real(NewKind::Directory, 0o3050, 2), 0o750);
        assert_eq!(real(NewKind::Directory, 0o3050, 9), 0o700);
    }
}
