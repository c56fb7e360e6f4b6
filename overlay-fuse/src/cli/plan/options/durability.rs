//! What survives a power cut: `fsync` of the kernel's overlayfs, `volatile`,
//! and what fuse-overlayfs calls `fsync=0`: as volatile, but it leaves no mark.

use overlay_core::union::Durability;

use super::{Group, value, word};

const FSYNC: [(&str, Durability); 5] = [
    ("auto", Durability::Auto),
    ("strict", Durability::Strict),
    ("volatile", Durability::Volatile),
    ("0", Durability::Unmarked),
    ("1", Durability::Auto),
];

pub(super) const DURABILITY: Group = Group {
    title: "Durability",
    options: &[
        value(
            "fsync",
            "auto|strict|volatile|0|1",
            "what copying a file up makes durable: its data (auto, the default; 1 is the same), \
             all of it with its entry and its parents (strict), or nothing, and then fsync(2) has \
             no effect either (volatile; 0: the same, unmarked)",
            |draft, given| {
                draft.durability = given.choose(&FSYNC)?;
                Ok(())
            },
        ),
        word(
            "volatile",
            "as fsync=volatile; UPPER cannot be mounted again before <workdir>/work/incompat/volatile \
             is removed",
            |draft| {
                draft.durability = Durability::Volatile;
                Ok(())
            },
        ),
    ],
};
