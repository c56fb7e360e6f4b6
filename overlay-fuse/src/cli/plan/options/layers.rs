//! Which directories are put together.

use super::super::draft::once;
use super::super::error::UsageError;
use super::{Group, value};

pub(super) const LAYERS: Group = Group {
    title: "Layers",
    options: &[
        value(
            "lowerdir",
            "DIR[:DIR...][::DIR...]",
            "the read-only layers, top first; after '::' data-only ones, which show nothing and \
             hold data of files above (see metacopy)",
            |draft, given| {
                if !draft.lowers.is_empty() {
                    return Err(UsageError::Twice("lowerdir"));
                }
                draft.lower_list(given.list())
            },
        ),
        value(
            "lowerdir+",
            "DIR",
            "one more, below those named before",
            |draft, given| {
                draft.lowers.push(given.path());
                Ok(())
            },
        ),
        value(
            "upperdir",
            "DIR",
            "the layer that takes all changes",
            |draft, given| once("upperdir", &mut draft.upper, given.path()),
        ),
        value(
            "workdir",
            "DIR",
            "where changes are prepared, on the filesystem of upperdir; \
             default: <upperdir>.work, made if missing",
            |draft, given| once("workdir", &mut draft.work, given.path()),
        ),
        value(
            "datadir+",
            "DIR",
            "one more data-only layer, below those named before",
            |draft, given| {
                draft.data_lowers.push(given.path());
                Ok(())
            },
        ),
    ],
};
