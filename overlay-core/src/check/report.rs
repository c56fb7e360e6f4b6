//! A check that is under way: what it has to know, and how it tells.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::finding::{Consent, Event, Finding, Outcome, Remedy, Spot, Summary};
use super::layers::{Layer, Object};
use super::{Check, Kind};
use crate::error::{Error, Result};
use crate::layer::WritableStorage;

/// On, or to the end: of its own accord, or for a reason.
pub(super) type Go<T = ()> = ControlFlow<Option<Error>, T>;

/// How often it is said how far the check is, in objects.
const PROGRESS: u64 = 256;

/// What can be tried about a finding.
pub(super) enum Attempt<'a> {
    /// This, said in a sentence.
    Can(&'static str, &'a mut dyn FnMut() -> Result<()>),
    /// Something, if that were accepted; what to do instead.
    May(Consent, &'static str),
    /// Nothing, for this reason.
    Cannot(&'static str),
}

/// Lower layers belong to others, too.
const LOWER: &str = "lower layers are never written: repair it where this is the upper layer";

/// A check under way.
pub(super) struct Run<'a> {
    pub check: &'a Check,
    /// Where repairs are made, if they are to be made.
    pub storage: Option<&'a dyn WritableStorage>,
    /// Without which consent nothing is repaired, and what to do instead.
    pub held: Option<(Consent, &'static str)>,
    /// The index, if there is one and it is this stack's.
    pub index: Option<Object>,
    /// The directories of the present branch that have a redirect, by where
    /// it leads: branch, filesystem, number.
    pub redirected: HashMap<(usize, u64, u64), Vec<u8>>,
    each: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    summary: Summary,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        check: &'a Check,
        storage: Option<&'a dyn WritableStorage>,
        each: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Run<'a> {
        Run {
            check,
            storage,
            held: None,
            index: None,
            redirected: HashMap::new(),
            each,
            summary: Summary::default(),
        }
    }

    /// All parts in their order. The root first: over another lower layer
    /// nothing is touched. The index before the trees: a link in it must be
    /// right, or gone, before its other names lose their origin.
    pub(super) fn whole(&mut self) -> Go {
        self.upper_root()?;
        self.work_directory()?;
        self.trees()
    }

    pub(super) fn into_summary(self) -> Summary {
        self.summary
    }

    /// The branch at `depth`.
    pub(super) fn layer(&self, depth: usize) -> Option<&'a Layer> {
        self.check.layers.shown.get(depth)
    }

    /// The upper layer, if the stack has one.
    pub(super) fn upper(&self) -> Option<&'a Layer> {
        self.check.upper.as_ref()?;
        self.layer(0)
    }

    /// Whether the branch at `depth` is the upper layer.
    pub(super) fn is_upper(&self, depth: usize) -> bool {
        depth == 0 && self.check.upper.is_some()
    }

    /// One object more was seen.
    pub(super) fn seen(&mut self) -> Go {
        self.summary.objects += 1;
        if self.summary.objects.is_multiple_of(PROGRESS) {
            let event = Event::Progress(self.summary.objects);
            return (self.each)(event).map_break(|()| None);
        }
        Go::Continue(())
    }

    /// Tells a finding on the branch at `depth`, and tries what can be done;
    /// says whether that was done.
    pub(super) fn found(
        &mut self,
        kind: Kind,
        depth: usize,
        path: Vec<u8>,
        detail: String,
        attempt: Attempt<'_>,
    ) -> Go<bool> {
        let Some(layer) = self.layer(depth) else {
            return Go::Continue(false);
        };
        let attempt = match self.is_upper(depth) {
            true => attempt,
            false => Attempt::Cannot(LOWER),
        };
        self.tell(kind, Spot::Branch(layer.id), path, detail, attempt)
    }

    /// The same in the work directory.
    pub(super) fn found_in_work(
        &mut self,
        kind: Kind,
        path: Vec<u8>,
        detail: String,
        attempt: Attempt<'_>,
    ) -> Go<bool> {
        self.tell(kind, Spot::Work, path, detail, attempt)
    }

    fn tell(
        &mut self,
        kind: Kind,
        spot: Spot,
        path: Vec<u8>,
        detail: String,
        attempt: Attempt<'_>,
    ) -> Go<bool> {
        let (remedy, outcome) = match (attempt, self.held) {
            (Attempt::Cannot(why), _) => (Remedy::None(why), Outcome::Left),
            (Attempt::May(consent, instead), _) | (Attempt::Can(..), Some((consent, instead))) => {
                (Remedy::Consent(consent, instead), Outcome::Left)
            }
            (Attempt::Can(what, repair), None) => {
                let outcome = match self.storage.map(|_| repair()) {
                    None => Outcome::Left,
                    Some(Ok(())) => Outcome::Repaired,
                    Some(Err(error)) => Outcome::Failed(error),
                };
                (Remedy::Repair(what), outcome)
            }
        };
        let finding = Finding {
            kind,
            spot,
            path,
            detail,
            remedy,
            outcome,
        };
        self.summary.count(&finding);
        match (self.each)(Event::Found(&finding)) {
            ControlFlow::Continue(()) => Go::Continue(finding.outcome == Outcome::Repaired),
            ControlFlow::Break(()) => Go::Break(None),
        }
    }

    /// Something could not be read: told, and the check goes on.
    pub(super) fn unreadable(&mut self, depth: usize, path: Vec<u8>, error: &Error) -> Go {
        let attempt = Attempt::Cannot(UNREADABLE);
        let kind = Kind::Unreadable;
        self.found(kind, depth, path, error.to_string(), attempt)?;
        Go::Continue(())
    }

    /// The same in the work directory.
    pub(super) fn unreadable_in_work(&mut self, path: Vec<u8>, error: &Error) -> Go {
        let attempt = Attempt::Cannot(UNREADABLE);
        let kind = Kind::Unreadable;
        self.found_in_work(kind, path, error.to_string(), attempt)?;
        Go::Continue(())
    }
}

const UNREADABLE: &str = "check the permissions and the filesystem below";
