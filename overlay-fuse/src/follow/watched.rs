//! Which directories are watched. One that is noted here was watched before:
//! who finds it here need not wait.
//!
//! One lock, a leaf, but that marks are taken away under it.

use std::collections::HashSet;

use overlay_core::Result;
use parking_lot::Mutex;

/// The numbers of watched directories.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    noted: HashSet<u64>,
    /// How often something was taken out: what is being watched meanwhile may
    /// have other parts than it is watched by.
    taken: u64,
}

impl Watched {
    /// Notes a directory once `watch` has watched it, and returns what that
    /// said; `None` if it was noted. To watch twice does no harm, and who comes
    /// while somebody does has to do so too.
    pub(super) fn note_after<T>(
        &self,
        number: u64,
        watch: impl FnOnce() -> Result<T>,
    ) -> Result<Option<T>> {
        let before = {
            let state = self.0.lock();
            if state.noted.contains(&number) {
                return Ok(None);
            }
            state.taken
        };
        let told = watch()?;
        let mut state = self.0.lock();
        if state.taken == before {
            state.noted.insert(number);
        }
        Ok(Some(told))
    }

    /// A directory is to be watched anew.
    pub(super) fn forget(&self, number: u64) {
        let mut state = self.0.lock();
        state.noted.remove(&number);
        state.taken += 1;
    }

    /// All are.
    pub(super) fn take(&self) -> HashSet<u64> {
        let mut state = self.0.lock();
        state.taken += 1;
        std::mem::take(&mut state.noted)
    }

    /// Ends watching a directory that was noted, if that `holds` when nobody
    /// can note it.
    pub(super) fn leave(
        &self,
        number: u64,
        holds: impl FnOnce() -> bool,
        unwatch: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut state = self.0.lock();
        if !holds() || !state.noted.remove(&number) {
            return Ok(());
        }
        state.taken += 1;
        unwatch()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc::channel;
    use std::thread;

    use overlay_core::Error;

    use super::*;

    #[test]
    fn who_comes_while_a_directory_is_being_watched_does_not_go_on_before_it_is() {
        let watched = Watched::default();
        let (begun, begins) = channel();
        let (go_on, goes_on) = channel();
        thread::scope(|scope| {
            let watched = &watched;
            let first = scope.spawn(move || {
                watched.note_after(7, || {
                    begun.send(()).unwrap();
                    goes_on.recv().unwrap();
                    Ok(1)
                })
            });
            begins.recv().unwrap();
            // It is not watched yet, so this one watches it.
            assert_eq!(watched.note_after(7, || Ok(2)), Ok(Some(2)));
            go_on.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Ok(Some(1)));
        });
        assert_eq!(watched.note_after(7, || Ok(3)), Ok(None));
    }

    #[test]
    fn what_changes_while_it_is_being_watched_is_watched_again() {
        let watched = Watched::default();
        let outdated = watched.note_after(7, || {
            watched.forget(7);
            Ok(1)
        });
        assert_eq!(outdated, Ok(Some(1)));
        assert_eq!(watched.note_after(7, || Ok(2)), Ok(Some(2)));
        assert_eq!(watched.note_after(7, || Ok(3)), Ok(None));
        watched.take();
        let refused = watched.note_after(7, || Err::<(), _>(Error::NotFound));
        assert_eq!(refused, Err(Error::NotFound));
        assert_eq!(watched.note_after(7, || Ok(4)), Ok(Some(4)));
    }

    #[test]
    fn what_somebody_has_is_not_left() {
        let watched = Watched::default();
        watched.note_after(7, || Ok(())).unwrap();
        watched.leave(7, || false, || unreachable!()).unwrap();
        assert_eq!(watched.note_after(7, || Ok(())), Ok(None));
        watched.leave(7, || true, || Ok(())).unwrap();
        assert_eq!(watched.note_after(7, || Ok(())), Ok(Some(())));
    }
}
