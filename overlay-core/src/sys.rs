//! System calls, one family a file. No policy; the only place with `unsafe`.

pub mod process;
