//! Opening a stack to look at it, and to do nothing else.

use std::sync::Arc;

use rustix::fs::Access;

use super::error::SetupError;
use super::place::Place;
use super::{Directories, require_spare_descriptors, when_free};
use crate::layer::dir::{Descriptors, DirStorage, UpperLock};
use crate::layer::{Node, Storage};
use crate::stack::Stack;

/// A stack that is only looked at: all branches are read-only, and nobody
/// else can have the upper layer for as long as this lives.
#[derive(Debug)]
pub struct Looked {
    stack: Stack,
    workdir: Option<Arc<dyn Node>>,
    _lock: Option<UpperLock>,
}

impl Directories {
    /// Opens the stack for a [check](crate::check), the upper layer for
    /// reading too. Nothing on disk changes; a missing work directory stays
    /// missing.
    ///
    /// Fails as [`Directories::open`] does, also while the stack is in use.
    pub fn open_to_check(&self) -> Result<Looked, SetupError> {
        let places = self.check_for(Access::READ_OK | Access::EXEC_OK)?;
        let descriptors = Descriptors::from_rlimit();
        let open = |place: &Place| {
            DirStorage::open(&place.real, &descriptors).map_err(|error| place.refused(error))
        };
        let owned = |place: &Place| self.ownership.of_lower(open(place)?, place);
        let namespace = self.namespace();
        let (mut stack, mut workdir, mut lock) = (Stack::new(), None, None);
        if let Some((upper, work)) = &places.writable {
            let mut taken = when_free(upper, work, || upper.lock())?;
            if !work.is_missing() {
                when_free(upper, work, || {
                    work.lock_with(&mut taken, self.work_at(work))
                })?;
            }
            lock = Some(taken);
            stack = stack.lower_as(owned(upper)?, self.format.of_upper(namespace));
            if !work.is_missing() {
                workdir = Some(open(work)?.root());
            }
        }
        for lower in &places.lowers {
            let dialect = self.format.of_lower(&lower.real, namespace);
            stack = stack.lower_as(owned(lower)?, dialect);
        }
        for data in &places.data_lowers {
            stack = stack.data_only(owned(data)?);
        }
        if let Some(last) = places.lowers.last() {
            require_spare_descriptors(last)?;
        }
        Ok(Looked {
            stack,
            workdir,
            _lock: lock,
        })
    }
}

impl Looked {
    /// The branches, the upper layer first if there is one.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The work directory, if there is one.
    pub fn workdir(&self) -> Option<Arc<dyn Node>> {
        self.workdir.as_ref().map(Arc::clone)
    }
}
