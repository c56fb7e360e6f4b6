//! Whether the upper layer is where it was last: the safeguard of all repairs.

use super::report::{Attempt, Go, Run};
use super::{Consent, Kind};
use crate::dialect::origin::{self, Stored};
use crate::error::Result;

const HELD: &str = "name the lower layers that it was used with";

const FORGET: &str = "forgets the other lower layer: the next mount with index=on notes this one";

impl Run<'_> {
    /// With an index, the kernel notes the topmost lower layer on the root of
    /// the upper (`ovl_get_indexdir` in `fs/overlayfs/super.c`). If it is
    /// another one now, every whiteout may seem to hide nothing.
    pub(super) fn upper_root(&mut self) -> Go {
        match self.is_over_another() {
            Ok(true) => {}
            Ok(false) => return Go::Continue(()),
            Err(error) => return self.unreadable(0, Vec::new(), &error),
        }
        let (Some(upper), Some(dialect)) = (self.upper(), self.dialect(0)) else {
            return Go::Continue(());
        };
        if !self.check.settings.accept_lower {
            self.held = Some((Consent::Lower, HELD));
        }
        let mut forget = || upper.root.unset(dialect.origin_mark());
        let attempt = Attempt::Can(FORGET, &mut forget);
        self.found(Kind::LowerOther, 0, Vec::new(), String::new(), attempt)?;
        Go::Continue(())
    }

    fn is_over_another(&self) -> Result<bool> {
        let (Some(upper), Some(lower)) = (self.upper(), self.layer(1)) else {
            return Ok(false);
        };
        let Some(value) = upper.root.node.xattr(upper.dialect.origin_mark())? else {
            return Ok(false);
        };
        match (origin::parse(&value), lower.root.node.handle()?) {
            (Stored::Known(noted, _), Some(handle)) => Ok(noted != handle),
            (Stored::Known(..) | Stored::Unknown | Stored::Invalid, _) => Ok(false),
        }
    }
}
