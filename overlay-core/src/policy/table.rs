//! All policies, as one table each: what the parser accepts and `docs/aufs.md`
//! lists, and what `--help` is to say.

/// What stands behind a policy's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arguments {
    /// Nothing.
    None,
    /// `[:SEC]`: how long the free space of the branches is taken for what it
    /// was.
    Seconds,
    /// `:LOW[:SEC]`: the bytes that a branch must have available, and the same
    /// seconds.
    Low,
}

impl Arguments {
    /// As it is written after the name.
    pub const fn written(self) -> &'static str {
        match self {
            Arguments::None => "",
            Arguments::Seconds => "[:SEC]",
            Arguments::Low => ":LOW[:SEC]",
        }
    }
}

/// What becomes of a request whose branch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It fails with `ENOSPC`: by this policy there is one right place.
    Fails,
    /// It goes to the next branch by the same policy, and fails when none is
    /// left.
    Next,
}

/// One policy for new objects.
#[derive(Debug)]
pub struct CreateRow {
    /// As it is written in `create=NAME`.
    pub name: &'static str,
    /// Another name for it, or nothing.
    pub long: &'static str,
    /// What follows the name.
    pub arguments: Arguments,
    /// Which branch it chooses.
    pub what: &'static str,
    /// When that is full.
    pub when_full: WhenFull,
    /// Where it comes from.
    pub source: &'static str,
    /// What decides.
    pub rule: CreateRule,
}

/// What a policy for new objects decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the rows of the table say it")]
pub enum CreateRule {
    TopDownParent,
    RoundRobin,
    MostFreeSpace,
    MostFreeThenRoundRobin,
    TopDownThenMostFree,
    ParentMostFree,
    ParentMostFreeThenRoundRobin,
    FirstFound,
    ExistingFirstFound,
    ExistingMostFree,
    LeastFreeSpace,
    ExistingLeastFree,
    LeastUsedSpace,
    ExistingLeastUsed,
    LeastUsedPercent,
    Random,
    ExistingRandom,
    RandomByFree,
    ExistingRandomByFree,
    Newest,
}

const AUFS: &str = "`aufs(5)`, Policies for Creating; `fs/aufs/wbr_policy.c`";
const MERGERFS: &str = "mergerfs, `functions_categories_policies.md`";

const fn row(
    name: &'static str,
    arguments: Arguments,
    when_full: WhenFull,
    source: &'static str,
    rule: CreateRule,
    what: &'static str,
) -> CreateRow {
    CreateRow {
        name,
        long: "",
        arguments,
        what,
        when_full,
        source,
        rule,
    }
}

const fn aufs(
    name: &'static str,
    arguments: Arguments,
    when_full: WhenFull,
    rule: CreateRule,
    what: &'static str,
) -> CreateRow {
    row(name, arguments, when_full, AUFS, rule, what)
}

/// All of them fill one branch after the other.
const fn mergerfs(
    name: &'static str,
    arguments: Arguments,
    rule: CreateRule,
    what: &'static str,
) -> CreateRow {
    row(name, arguments, WhenFull::Next, MERGERFS, rule, what)
}

const fn also(long: &'static str, mut row: CreateRow) -> CreateRow {
    row.long = long;
    row
}

/// The policies for new objects. The first is the default. Marks override each
/// of them: see [`constrain`](super::constrain).
pub const CREATE: &[CreateRow] = &[
    also(
        "top-down-parent",
        aufs(
            "tdp",
            Arguments::None,
            WhenFull::Fails,
            CreateRule::TopDownParent,
            "the highest branch that has the parent directory; if that is read-only, the nearest \
             writable one above it",
        ),
    ),
    also(
        "round-robin",
        aufs(
            "rr",
            Arguments::None,
            WhenFull::Next,
            CreateRule::RoundRobin,
            "the writable branches in turn; directories go where the next file will",
        ),
    ),
    also(
        "most-free-space",
        aufs(
            "mfs",
            Arguments::Seconds,
            WhenFull::Next,
            CreateRule::MostFreeSpace,
            "the writable branch with the most space available; of equals the lowest",
        ),
    ),
    aufs(
        "mfsrr",
        Arguments::Low,
        WhenFull::Next,
        CreateRule::MostFreeThenRoundRobin,
        "as mfs, while that branch has LOW bytes available; then as rr",
    ),
    aufs(
        "tdmfs",
        Arguments::Low,
        WhenFull::Next,
        CreateRule::TopDownThenMostFree,
        "the highest writable branch that has LOW bytes available; if none has, as mfs",
    ),
    aufs(
        "pmfs",
        Arguments::Seconds,
        WhenFull::Next,
        CreateRule::ParentMostFree,
        "of the writable branches that have the parent directory the one with the most space \
         available, of equals the highest; if none has it, as tdp",
    ),
    aufs(
        "pmfsrr",
        Arguments::Low,
        WhenFull::Next,
        CreateRule::ParentMostFreeThenRoundRobin,
        "as pmfs, while that branch has LOW bytes available; then as mfsrr, whoever has the parent",
    ),
    mergerfs(
        "ff",
        Arguments::None,
        CreateRule::FirstFound,
        "the highest writable branch",
    ),
    mergerfs(
        "epff",
        Arguments::None,
        CreateRule::ExistingFirstFound,
        "the highest writable branch that has the parent directory; if none has it, as ff",
    ),
    mergerfs(
        "epmfs",
        Arguments::Seconds,
        CreateRule::ExistingMostFree,
        "of the writable branches that have the parent directory the one with the most space \
         available; if none has it, of all",
    ),
    mergerfs(
        "lfs",
        Arguments::Seconds,
        CreateRule::LeastFreeSpace,
        "the writable branch with the least space available",
    ),
    mergerfs(
        "eplfs",
        Arguments::Seconds,
        CreateRule::ExistingLeastFree,
        "of the writable branches that have the parent directory the one with the least space \
         available; if none has it, of all",
    ),
    mergerfs(
        "lus",
        Arguments::Seconds,
        CreateRule::LeastUsedSpace,
        "the writable branch with the fewest bytes used",
    ),
    mergerfs(
        "eplus",
        Arguments::Seconds,
        CreateRule::ExistingLeastUsed,
        "of the writable branches that have the parent directory the one with the fewest bytes \
         used; if none has it, of all",
    ),
    mergerfs(
        "lup",
        Arguments::Seconds,
        CreateRule::LeastUsedPercent,
        "the writable branch of which the smallest share is used",
    ),
    mergerfs(
        "rand",
        Arguments::None,
        CreateRule::Random,
        "any writable branch",
    ),
    mergerfs(
        "eprand",
        Arguments::None,
        CreateRule::ExistingRandom,
        "any writable branch that has the parent directory; if none has it, any",
    ),
    mergerfs(
        "pfrd",
        Arguments::Seconds,
        CreateRule::RandomByFree,
        "any writable branch, each as likely as its share of the space available on all",
    ),
    mergerfs(
        "eppfrd",
        Arguments::Seconds,
        CreateRule::ExistingRandomByFree,
        "as pfrd, among the writable branches that have the parent directory; if none has it, \
         among all",
    ),
    mergerfs(
        "newest",
        Arguments::None,
        CreateRule::Newest,
        "the writable branch whose parent directory was changed last, the first of equals (what \
         changes on another branch gives its time to the topmost, which shows it); if none has \
         it, as ff",
    ),
];

/// One policy for copies.
#[derive(Debug)]
pub struct CopyUpRow {
    /// As it is written in `cpup=NAME`.
    pub name: &'static str,
    /// Another name for it.
    pub long: &'static str,
    /// Which branch it chooses.
    pub what: &'static str,
    /// When that is full.
    pub when_full: WhenFull,
    /// Where it comes from.
    pub source: &'static str,
    /// What decides.
    pub rule: CopyUpRule,
}

/// What a policy for copies decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the rows of the table say it")]
pub enum CopyUpRule {
    TopDownParent,
    BottomUpParent,
    BottomUp,
}

const AUFS_COPY_UP: &str = "`aufs(5)`, Policies for Copy-Up; `fs/aufs/wbr_policy.c`";

/// The policies for copies. The first is the default.
pub const COPY_UP: &[CopyUpRow] = &[
    CopyUpRow {
        name: "tdp",
        long: "top-down-parent",
        what: "the highest writable branch above the original that has the parent directory; if \
               none has it, the nearest writable one above the original",
        when_full: WhenFull::Fails,
        source: AUFS_COPY_UP,
        rule: CopyUpRule::TopDownParent,
    },
    CopyUpRow {
        name: "bup",
        long: "bottom-up-parent",
        what: "the nearest writable branch above the original that has the parent directory; if \
               none has it, the nearest writable one above all that have it",
        when_full: WhenFull::Next,
        source: AUFS_COPY_UP,
        rule: CopyUpRule::BottomUpParent,
    },
    CopyUpRow {
        name: "bu",
        long: "bottom-up",
        what: "the nearest writable branch above the original",
        when_full: WhenFull::Next,
        source: AUFS_COPY_UP,
        rule: CopyUpRule::BottomUp,
    },
];

/// A name of mergerfs that has no meaning here.
#[derive(Debug)]
pub struct Refused {
    /// The name.
    pub name: &'static str,
    /// Why, and what to write; goes on from "the policy NAME is not supported: ".
    pub why: &'static str,
}

/// Names of mergerfs that are refused.
pub const REFUSED: &[Refused] = &[
    Refused {
        name: "all",
        why: "an object lies on one branch, not on several: write ff",
    },
    Refused {
        name: "epall",
        why: "an object lies on one branch, not on several: write epff",
    },
    Refused {
        name: "mspmfs",
        why: "parents are made where they lack, so there is no half-shared path: write epmfs",
    },
    Refused {
        name: "msplfs",
        why: "parents are made where they lack, so there is no half-shared path: write eplfs",
    },
    Refused {
        name: "msplus",
        why: "parents are made where they lack, so there is no half-shared path: write eplus",
    },
    Refused {
        name: "msppfrd",
        why: "parents are made where they lack, so there is no half-shared path: write eppfrd",
    },
    Refused {
        name: "erofs",
        why: "it is for tests of mergerfs: mount with ro",
    },
];
