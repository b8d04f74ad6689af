//! JSON in few bytes, without loss of what it says.
//!
//! A document keeps every field that Discord sent, known or not, in its order. It is
//! about a quarter as long as its text because names, ids, times, hashes and frequent
//! texts have short forms. A packed value is read where it lies, and a part of one is one.
//!
//! | first byte | then |
//! |---|---|
//! | `00` `01` `02` | null, false, true |
//! | `03` | a number: varint |
//! | `04` | a negative number: varint of its complement |
//! | `05` | a fraction: 8 bytes |
//! | `06` | text: varint length, bytes |
//! | `07` `08` | text of a decimal number: varint, or 8 bytes |
//! | `09` `0a` | text of a time: microseconds in 7 bytes, seconds in 5 |
//! | `0b` `0c` | text of 32 hexadecimal digits: 16 bytes; the same after `a_` |
//! | `0d` | a frequent text behind the first 64: one byte |
//! | `0e` | a list: values, then `0f` |
//! | `10` | an object: names and values, then `ff` in the place of a name |
//! | `11` `12` | an empty list, an empty object |
//! | `40`..`7f` | a number up to 63 |
//! | `80`..`bf` | text of up to 63 bytes |
//! | `c0`..`ff` | one of the first 64 frequent texts |
//!
//! A name is one byte below `f0` or `f0` and one more byte (its number), or `fe`, a varint
//! length and its bytes.

mod de;
mod names;
mod pack;
mod times;
mod value;

pub use self::{
    de::Wrong,
    value::{Doc, Fields, Items, Value},
};
pub(crate) use self::{
    names::Level,
    pack::{Build, payload, varint},
    value::read_varint,
};

const NULL: u8 = 0x00;
const FALSE: u8 = 0x01;
const TRUE: u8 = 0x02;
const NUMBER: u8 = 0x03;
const NEGATIVE: u8 = 0x04;
const FRACTION: u8 = 0x05;
const TEXT: u8 = 0x06;
const DECIMAL: u8 = 0x07;
const WIDE_DECIMAL: u8 = 0x08;
const TIME: u8 = 0x09;
const SECONDS: u8 = 0x0a;
const HASH: u8 = 0x0b;
const ANIMATED_HASH: u8 = 0x0c;
const WORD: u8 = 0x0d;
const LIST: u8 = 0x0e;
const END_OF_LIST: u8 = 0x0f;
const OBJECT: u8 = 0x10;
const EMPTY_LIST: u8 = 0x11;
const EMPTY_OBJECT: u8 = 0x12;
const SMALL: u8 = 0x40;
const SHORT: u8 = 0x80;
const FREQUENT: u8 = 0xc0;

/// Names from here on take two bytes.
const NAMES_OF_ONE_BYTE: u16 = 0xf0;
const NAME_OF_TWO_BYTES: u8 = 0xf0;
const NAME_AS_TEXT: u8 = 0xfe;
const END_OF_OBJECT: u8 = 0xff;

/// Values inside each other: as deep as the reader of JSON goes.
const DEEPEST: usize = 128;
