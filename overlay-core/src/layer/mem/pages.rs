//! The bytes of a file: pages where something was written, holes elsewhere.

use std::collections::BTreeMap;

use crate::layer::SeekTo;

/// Bytes of a page; also what `st_blksize` says.
pub(super) const PAGE: u64 = 4096;

/// The largest size of a file in bytes, as the kernel's `MAX_LFS_FILESIZE`.
pub(super) const MAX: u64 = i64::MAX as u64;

/// The bytes of a file.
#[derive(Debug, Default)]
pub(super) struct Pages {
    len: u64,
    /// By number; beyond `len` there is nothing but zeros.
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Pages {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Allocated 512-byte units.
    pub(super) fn blocks(&self) -> u64 {
        self.pages.len() as u64 * (PAGE / 512)
    }

    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let left = self.len.saturating_sub(offset);
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let buf = &mut buf[..len];
        let mut done = 0;
        while done < len {
            let (page, start, size) = piece(offset + done as u64, len - done);
            let to = &mut buf[done..done + size];
            match self.pages.get(&page) {
                Some(bytes) => to.copy_from_slice(&bytes[start..start + size]),
                None => to.fill(0),
            }
            done += size;
        }
        len
    }

    /// Writes all of `data`; the caller has checked that it ends below [`MAX`].
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let (page, start, size) = piece(offset + done as u64, data.len() - done);
            let bytes = self
                .pages
                .entry(page)
                .or_insert_with(|| vec![0; PAGE as usize].into_boxed_slice());
            bytes[start..start + size].copy_from_slice(&data[done..done + size]);
            done += size;
        }
        if !data.is_empty() {
            self.len = self.len.max(offset + data.len() as u64);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.punch(len, self.len - len);
        }
        self.len = len;
    }

    /// Makes a hole: whole pages go, the rest is zeroed.
    pub(super) fn punch(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        let pages = self.pages.range_mut(offset / PAGE..end.div_ceil(PAGE));
        let mut whole = Vec::new();
        for (number, bytes) in pages {
            let first = number * PAGE;
            let from = offset.max(first) - first;
            let to = end.min(first.saturating_add(PAGE)) - first;
            match to - from == PAGE || (from == 0 && end >= self.len) {
                true => whole.push(*number),
                false => bytes[from as usize..to as usize].fill(0),
            }
        }
        for number in whole {
            self.pages.remove(&number);
        }
    }

    /// The next data or hole; `None` from the end on.
    pub(super) fn seek(&self, offset: u64, to: SeekTo) -> Option<u64> {
        if offset >= self.len {
            return None;
        }
        let found = match to {
            SeekTo::Data => {
                let (page, _) = self.pages.range(offset / PAGE..).next()?;
                offset.max(page * PAGE)
            }
            SeekTo::Hole => {
                let mut page = offset / PAGE;
                while self.pages.contains_key(&page) {
                    page += 1;
                }
                offset.max(page * PAGE).min(self.len)
            }
        };
        (found < self.len || to == SeekTo::Hole).then_some(found)
    }
}

/// The first piece of `offset..offset + len` that lies in one page: the page's
/// number, where in it, how long.
fn piece(offset: u64, len: usize) -> (u64, usize, usize) {
    let start = (offset % PAGE) as usize;
    (offset / PAGE, start, len.min(PAGE as usize - start))
}
