#![doc = include_str!("../README.md")]

#[macro_use]
#[path = "../../../scripts/mutant.rs"]
mod mutants;

mod apply;
mod care;
mod easy;
mod error;
mod header;
mod key;
mod packed;
mod place;
mod read;
mod resources;
mod store;
mod writer;

pub use self::{
    care::{
        Room, Shown, Verified, ask_to_compact, compact, is_compact_asked, room, shards, show,
        take_back, verify,
    },
    easy::Pages,
    error::{Damage, Error, Full},
    header::{FORMAT, Owner},
    packed::{Doc, Fields, Items, Value, Wrong},
    place::{Found, is_unused, own_folder},
    read::{Document, GuildPlace, Owned, View},
    resources::{Kind, Resources},
    store::{Options, Store},
    writer::{Applied, Compacted, Dispatch, Stand, Takeover, Writer},
};
