//! Files of a directory as answers: found without leaving the directory, with entity
//! tags, ranges and precompressed siblings. Everything that may touch a disk runs on
//! helper threads; a worker only writes what they read.

mod answer;
mod kind;
mod locate;
mod packing;
mod serve;

pub(crate) use answer::FileRequest;
pub(crate) use locate::relative_path;
pub(crate) use serve::{blocking, serve};
