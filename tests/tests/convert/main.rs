//! A branch from one dialect to the other, and back.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::ops::ControlFlow;
use std::sync::Arc;

use overlay_core::convert::{Conversion, Event, Failure, Form, Kind, Summary};
use overlay_core::layer::{Node, Storage, WritableStorage};
use overlay_core::spec::{Dir, Seen, Stored, look, view};
use overlay_core::{MemStorage, Namespace};
use overlay_tests::branches::{self, Tree, difference, tree};
use overlay_tests::{containers, load, materialize, scenario};

mod cuts;
mod directories;
mod refusals;
mod round_trips;
mod system_calls;

const TO_OVERLAY: (Form, Form) = (Form::Aufs, Form::Overlay);
const TO_AUFS: (Form, Form) = (Form::Overlay, Form::Aufs);

fn conversion((from, to): (Form, Form)) -> Conversion {
    Conversion::new(from, to, Namespace::Trusted).unwrap()
}

fn silent(_: Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A branch in memory.
fn stored(layer: &Dir<Stored>) -> Arc<MemStorage> {
    let storage = MemStorage::new();
    materialize::in_storage(&*WritableStorage::root(&*storage), layer);
    storage
}

/// The same as [`scenario`] writes it.
fn branch(text: &str) -> Arc<MemStorage> {
    stored(&scenario::layer(text, 0))
}

fn convert(storage: &Arc<MemStorage>, forms: (Form, Form)) -> Result<Summary, Failure> {
    let storage: Arc<dyn WritableStorage> = Arc::clone(storage) as _;
    conversion(forms).on_storage(&storage, &mut silent)
}

fn all(storage: &MemStorage) -> Tree {
    tree(&*Storage::root(storage))
}

/// What the branch shows over `below` to whoever reads both kinds of marks;
/// without what a conversion may change while it is under way.
fn seen(root: &dyn Node, below: &Dir<Stored>) -> Seen {
    let mut layer = load::from_storage(root, 0);
    layer.opaque = false;
    let mut seen = look(&view(&[containers::decode(layer), below.clone()]));
    for sight in seen.values_mut() {
        if sight.kind.is_dir() {
            sight.mtime = overlay_core::spec::Time::Recent;
            sight.nlink = 0;
        }
    }
    seen
}
