//! Requests to the mount itself. Each has a thread of its own: it may wait for
//! other requests to be answered, and all threads that answer them may be in
//! use.

use std::sync::{Arc, OnceLock};
use std::thread;

use fuser::{Errno, INodeNo, Notifier, ReplyIoctl, Request};
use overlay_core::union::Live;
use overlay_core::{Error, Result};

use super::{Adapter, asker};
use crate::answer::{answer, asked};
use crate::control::{self, Control};
use crate::epoch::Epoch;
use crate::follow::Follower;
use crate::handles::Handles;
use crate::listing::Listing;

/// What a request to the mount needs.
pub(super) struct Controlled {
    live: Arc<Live>,
    control: Arc<dyn Control>,
    epoch: Option<Arc<Epoch>>,
    listings: Arc<Handles<Listing>>,
    follower: Option<Arc<Follower>>,
    notifier: Arc<OnceLock<Notifier>>,
}

impl Adapter {
    /// What is asked in `data`, if who asks may.
    pub(super) fn permit_control(
        &self,
        request: &Request,
        data: &[u8],
    ) -> Result<(Controlled, Vec<u8>)> {
        let control = self.control.as_ref();
        let control = control.ok_or(Error::Errno(overlay_core::Errno::NOTTY))?;
        asker::permit(request)?;
        let text = control::request(data).ok_or(Error::Invalid("a request without sense"))?;
        let controlled = Controlled {
            live: Arc::clone(&self.live),
            control: Arc::clone(control),
            epoch: self.epoch.as_ref().map(Arc::clone),
            listings: Arc::clone(&self.listings),
            follower: self.follower.as_ref().map(Arc::clone),
            notifier: Arc::clone(&self.notifier),
        };
        Ok((controlled, text.to_vec()))
    }
}

impl Controlled {
    /// Does what is asked, and replies.
    pub(super) fn in_a_thread(self, text: Vec<u8>, reply: ReplyIoctl) {
        // The reply goes with the thread, and without one the kernel gets it
        // when it is dropped: an error.
        let work = move || match answer(asked("control", INodeNo::ROOT), || Ok(self.done(&text))) {
            Ok(bytes) => reply.ioctl(0, &bytes),
            Err(errno) => reply.error(errno),
        };
        let thread = thread::Builder::new().name("overlay-control".into());
        if let Err(error) = thread.spawn(work) {
            tracing::warn!(%error, errno = ?Errno::EAGAIN, "a request to the mount is not answered");
        }
    }

    fn done(&self, text: &[u8]) -> Vec<u8> {
        let before = Arc::clone(&self.live.now());
        let answer = self.control.answer(text, &self.live);
        let after = Arc::clone(&self.live.now());
        if !Arc::ptr_eq(&before, &after) {
            if let Some(follower) = &self.follower {
                // First: what is asked from then on is watched.
                follower.begin_again(&before, &after);
            }
            drop((before, after));
            self.tell_the_kernel();
        }
        control::reply(&answer)
    }

    /// Before the reply: who has asked may look at once.
    fn tell_the_kernel(&self) {
        if let (Some(epoch), Some(kernel)) = (&self.epoch, self.notifier.get()) {
            let listings = self.listings.all();
            let listed = listings.iter().map(|listing| listing.inode().number());
            epoch.begin(&self.live, &listed.collect::<Vec<_>>(), kernel);
        }
    }
}
