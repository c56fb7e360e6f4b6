//! Replies after the work: one function for each shape of answer.

use std::time::Duration;

use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, ReplyAttr, ReplyCreate,
    ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyXattr,
};
use overlay_core::Result;

use super::Known;
use super::opens::NewFile;
use crate::answer::{Asked, answer};
use crate::convert::bare_attr;
use crate::ways::Way;

pub(super) fn entry(reply: ReplyEntry, asked: Asked, work: impl FnOnce() -> Result<Known>) {
    match answer(asked, work) {
        Ok(known) => {
            let (attr_ttl, entry_ttl) = (&known.attr_ttl, &known.entry_ttl);
            reply.entry_with_ttls(attr_ttl, entry_ttl, &known.attr, known.generation);
        }
        Err(errno) => reply.error(errno),
    }
}

/// An entry, or none: inode 0 with a lifetime, and the kernel remembers that
/// the name is missing.
pub(super) fn entry_or_none(
    reply: ReplyEntry,
    asked: Asked,
    lifetime: Duration,
    work: impl FnOnce() -> Result<Option<Known>>,
) {
    match answer(asked, work) {
        Ok(Some(known)) => {
            let (attr_ttl, entry_ttl) = (&known.attr_ttl, &known.entry_ttl);
            reply.entry_with_ttls(attr_ttl, entry_ttl, &known.attr, known.generation);
        }
        Ok(None) => {
            let missing = bare_attr(0, FileType::RegularFile);
            reply.entry(&lifetime, &missing, Generation(0));
        }
        Err(errno) => reply.error(errno),
    }
}

/// A new entry and its open file.
pub(super) fn created(
    reply: ReplyCreate,
    asked: Asked,
    work: impl FnOnce(&ReplyCreate) -> Result<(Known, NewFile)>,
) {
    match answer(asked, || work(&reply)) {
        Ok((known, NewFile { number, flags, way })) => {
            let (ttl, attr, generation) = (&known.attr_ttl, &known.attr, known.generation);
            let number = FileHandle(number);
            match way {
                Way::Cached => reply.created(ttl, attr, generation, number, flags),
                Way::Passed(id) => {
                    reply.created_passthrough(ttl, attr, generation, number, flags, &id);
                }
            }
        }
        Err(errno) => reply.error(errno),
    }
}

/// An open file.
pub(super) fn opened_file(
    reply: ReplyOpen,
    asked: Asked,
    work: impl FnOnce(&ReplyOpen) -> Result<NewFile>,
) {
    match answer(asked, || work(&reply)) {
        Ok(NewFile { number, flags, way }) => match way {
            Way::Cached => reply.opened(FileHandle(number), flags),
            Way::Passed(id) => reply.opened_passthrough(FileHandle(number), flags, &id),
        },
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn data(reply: ReplyData, asked: Asked, work: impl FnOnce() -> Result<Vec<u8>>) {
    match answer(asked, work) {
        Ok(data) => reply.data(&data),
        Err(errno) => reply.error(errno),
    }
}

/// Attributes, and how long the kernel may believe them.
pub(super) fn attr(
    reply: ReplyAttr,
    asked: Asked,
    work: impl FnOnce() -> Result<(FileAttr, Duration)>,
) {
    match answer(asked, work) {
        Ok((attr, lifetime)) => reply.attr(&lifetime, &attr),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn empty(reply: ReplyEmpty, asked: Asked, work: impl FnOnce() -> Result<()>) {
    match answer(asked, work) {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn opened(
    reply: ReplyOpen,
    asked: Asked,
    flags: FopenFlags,
    work: impl FnOnce() -> Result<u64>,
) {
    match answer(asked, work) {
        Ok(number) => reply.opened(FileHandle(number), flags),
        Err(errno) => reply.error(errno),
    }
}

/// Room 0 asks for the size only (`getxattr(2)`, `listxattr(2)`).
pub(super) fn xattr(
    reply: ReplyXattr,
    asked: Asked,
    room: u32,
    work: impl FnOnce() -> Result<Vec<u8>>,
) {
    match answer(asked, work) {
        Ok(value) if room == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() <= room as usize => reply.data(&value),
        Ok(_) => reply.error(Errno::ERANGE),
        Err(errno) => reply.error(errno),
    }
}
