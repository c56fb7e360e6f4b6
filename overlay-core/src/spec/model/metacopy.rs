//! What a kernel shows of `metacopy=on`. A union shows nothing of it.
//!
//! The kernel gives a file whose content it has left below a redirect when it
//! renames or links it, as it does to directories, and with the same limit.
//! And when the content follows, that counts as a change of it.

use super::*;

/// A copy whose content has stayed below.
#[derive(Debug, Clone)]
pub(super) struct Dataless {
    /// Where the lower file lies, in what the layers below the writable one
    /// show.
    lower: Path,
    /// How many names the lower file has in its layer.
    links: u64,
    /// Whether it has an absolute redirect, which stays for good.
    is_redirected: bool,
}

impl Model {
    /// What remains below when the file with this name is copied up.
    pub(super) fn left_below(&self, key: Key, spot: &Spot) -> Option<Box<Dataless>> {
        let node = &self.objects[key];
        let lower = self.objects[spot.0].origin.as_ref()?.join(&spot.1);
        let is_file = self.kind(key) == FileKind::Regular;
        (self.config.metacopy.is_on() && is_file && !node.upper).then(|| {
            Box::new(Dataless {
                lower,
                links: node.links,
                is_redirected: false,
            })
        })
    }

    /// Copies up the file at `path` with its content, which may come late.
    pub(super) fn copy_up_with_data(&mut self, path: &Path, key: Key) {
        let comes_late = self.objects[key].dataless.is_some() && !self.bytes(key).is_empty();
        self.copy_up_path(path, key);
        let node = &mut self.objects[key];
        node.dataless = None;
        if self.rules == Rules::Kernel && comes_late {
            node.mtime = Time::Recent;
        }
    }

    /// Gives a file whose content has stayed below the redirect that its new
    /// name needs. In its own directory that is a name, unless the file may
    /// have names elsewhere.
    pub(super) fn redirect_file(&mut self, key: Key, spot: &Spot, stays: bool) -> Result<()> {
        let own_place = self.objects[spot.0].origin.as_ref();
        let own_place = own_place.map(|dir| dir.join(&spot.1));
        let Some(dataless) = &mut self.objects[key].dataless else {
            return Ok(());
        };
        if dataless.is_redirected || stays && dataless.links == 1 {
            return Ok(());
        }
        // Each name of an object with several has a place of its own below.
        let lower = match (dataless.links, own_place) {
            (2.., Some(place)) => place,
            (_, _) => dataless.lower.clone(),
        };
        match (lower.len() > REDIRECT_MAX, self.rules) {
            (false, _) => dataless.is_redirected = true,
            (true, Rules::Kernel) => return Err(Errno::XDEV),
            // The content comes along.
            (true, Rules::Union) => self.objects[key].dataless = None,
        }
        Ok(())
    }
}
