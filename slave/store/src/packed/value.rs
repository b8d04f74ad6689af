//! Reading a packed value where it lies.

use std::borrow::Cow;

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::{
    ANIMATED_HASH, DECIMAL, DEEPEST, EMPTY_LIST, EMPTY_OBJECT, END_OF_LIST, END_OF_OBJECT, FALSE,
    FRACTION, FREQUENT, HASH, LIST, NAME_AS_TEXT, NAME_OF_TWO_BYTES, NAMES_OF_ONE_BYTE, NEGATIVE,
    NULL, NUMBER, OBJECT, SECONDS, SHORT, SMALL, TEXT, TIME, TRUE, WIDE_DECIMAL, WORD,
    names::{name_of, text_of},
    times::{self, Time},
};

/// One packed value: exactly its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    bytes: &'a [u8],
}

/// One packed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doc<'a> {
    bytes: &'a [u8],
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Is<'a> {
    Null,
    Bool(bool),
    Number(u64),
    Negative(i64),
    Fraction(f64),
    Text(Cow<'a, str>),
    List(Items<'a>),
    Object(Fields<'a>),
}

impl<'a> Value<'a> {
    /// All of these bytes; `None`: they are damaged.
    pub(crate) fn whole(bytes: &'a [u8]) -> Option<Self> {
        (skip(bytes, 0)? == bytes.len()).then_some(Self { bytes })
    }

    /// Its bytes.
    pub(crate) const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// `None`: it is damaged.
    pub(crate) fn is(self) -> Option<Is<'a>> {
        let (&first, rest) = self.bytes.split_first()?;
        Some(match first {
            NULL => Is::Null,
            FALSE => Is::Bool(false),
            TRUE => Is::Bool(true),
            NUMBER | SMALL..SHORT => Is::Number(self.number()?),
            NEGATIVE => Is::Negative(!(read_varint(rest)?.0 as i64)),
            FRACTION => Is::Fraction(f64::from_le_bytes(rest.try_into().ok()?)),
            LIST | EMPTY_LIST => Is::List(self.items()?),
            OBJECT | EMPTY_OBJECT => Is::Object(self.object()?.fields()),
            _ => Is::Text(self.text()?),
        })
    }

    /// Its text; borrowed where the text itself is stored.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        let (&first, rest) = self.bytes.split_first()?;
        let hash = |rest: &[u8]| Some(u128::from_be_bytes(rest.try_into().ok()?));
        let time = |time| {
            let mut out = String::with_capacity(32);
            times::write(time, &mut out);
            Cow::Owned(out)
        };
        Some(match first {
            SHORT..FREQUENT => Cow::Borrowed(str::from_utf8(rest).ok()?),
            TEXT => {
                let (_, at) = read_varint(rest)?;
                Cow::Borrowed(str::from_utf8(rest.get(at..)?).ok()?)
            }
            FREQUENT.. => Cow::Borrowed(text_of(usize::from(first - FREQUENT))?),
            WORD => Cow::Borrowed(text_of(usize::from(*rest.first()?) + 64)?),
            DECIMAL | WIDE_DECIMAL => Cow::Owned(self.decimal()?.to_string()),
            TIME => time(Time::Micros(short(rest)?)),
            SECONDS => time(Time::Seconds(short(rest)?)),
            HASH => Cow::Owned(format!("{:032x}", hash(rest)?)),
            ANIMATED_HASH => Cow::Owned(format!("a_{:032x}", hash(rest)?)),
            _ => return None,
        })
    }

    /// The number of a text of digits.
    fn decimal(self) -> Option<u64> {
        match self.bytes.split_first()? {
            (&DECIMAL, rest) => Some(read_varint(rest)?.0),
            (&WIDE_DECIMAL, rest) => Some(u64::from_le_bytes(rest.try_into().ok()?)),
            (_, _) => None,
        }
    }

    /// A number, or a text of one: an id, permissions, a count.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        let &first = self.bytes.first()?;
        match first {
            SMALL..SHORT => Some(u64::from(first - SMALL)),
            NUMBER => Some(read_varint(self.bytes.get(1..)?)?.0),
            _ => self.decimal(),
        }
    }

    /// True or false.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        match self.bytes {
            [TRUE] => Some(true),
            [FALSE] => Some(false),
            _ => None,
        }
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.bytes == [NULL]
    }

    /// The values of a list.
    #[must_use]
    pub fn items(self) -> Option<Items<'a>> {
        match self.bytes.split_first()? {
            (&LIST, rest) => Some(Items { rest }),
            (&EMPTY_LIST, _) => Some(Items {
                rest: &[END_OF_LIST],
            }),
            (_, _) => None,
        }
    }

    /// An object.
    #[must_use]
    pub fn object(self) -> Option<Doc<'a>> {
        let first = *self.bytes.first()?;
        matches!(first, OBJECT | EMPTY_OBJECT).then_some(Doc { bytes: self.bytes })
    }

    /// A time, in microseconds since 1970.
    #[must_use]
    pub fn micros(self) -> Option<u64> {
        match self.bytes.split_first()? {
            (&TIME, rest) => short(rest),
            (&SECONDS, rest) => short(rest)?.checked_mul(1_000_000),
            (_, _) => None,
        }
    }
}

impl<'a> Doc<'a> {
    /// All of these bytes; `None`: they are no object, or damaged.
    pub(crate) fn whole(bytes: &'a [u8]) -> Option<Self> {
        Value::whole(bytes)?.object()
    }

    /// These bytes, of which a store says that they are an object. Those of one that is
    /// damaged seem to be missing.
    pub(crate) const fn trusted(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The object as a value.
    #[must_use]
    pub const fn value(self) -> Value<'a> {
        Value { bytes: self.bytes }
    }

    /// Its fields, in the order in which they came.
    #[must_use]
    pub fn fields(self) -> Fields<'a> {
        let rest = match self.bytes.split_first() {
            Some((&OBJECT, rest)) => rest,
            Some(_) | None => &[END_OF_OBJECT],
        };
        Fields { rest }
    }

    /// The value of a field; `None`: it is not there.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        self.fields()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    /// The text of a field; `None`: it is not there, or no text (null, for example).
    #[must_use]
    pub fn text(self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.text()
    }

    /// The number of a field, or the number that its text is: an id, permissions.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u64> {
        self.get(name)?.number()
    }

    /// The ids of a list, without what is none.
    pub fn ids(self, name: &str) -> impl Iterator<Item = u64> + use<'a> {
        let items = self.get(name).and_then(Value::items);
        items.into_iter().flatten().filter_map(Value::number)
    }

    /// The objects of a list, without what is none.
    pub(crate) fn objects(self, name: &str) -> impl Iterator<Item = Doc<'a>> + use<'a> {
        let items = self.get(name).and_then(Value::items);
        items.into_iter().flatten().filter_map(Value::object)
    }
}

/// The values of a list. It ends where the list is damaged.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if *self.rest.first()? == END_OF_LIST {
            return None;
        }
        let (bytes, rest) = self.rest.split_at_checked(skip(self.rest, 0)?)?;
        self.rest = rest;
        Some(Value { bytes })
    }
}

/// The fields of an object. It ends where the object is damaged.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if *self.rest.first()? == END_OF_OBJECT {
            return None;
        }
        let (name, at) = name(self.rest)?;
        let rest = self.rest.get(at..)?;
        let (bytes, rest) = rest.split_at_checked(skip(rest, 0)?)?;
        self.rest = rest;
        Some((name, Value { bytes }))
    }
}

/// The name that these bytes begin with, and how many they are.
fn name(bytes: &[u8]) -> Option<(&str, usize)> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        NAME_AS_TEXT => {
            let (length, at) = read_varint(rest)?;
            let end = at.checked_add(usize::try_from(length).ok()?)?;
            Some((str::from_utf8(rest.get(at..end)?).ok()?, end + 1))
        }
        NAME_OF_TWO_BYTES => {
            let index = usize::from(NAMES_OF_ONE_BYTE) + usize::from(*rest.first()?);
            Some((name_of(index)?, 2))
        }
        END_OF_OBJECT => None,
        _ => Some((name_of(usize::from(first))?, 1)),
    }
}

/// The varint that these bytes begin with, and how many of them it takes.
pub(crate) fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// A number of fewer than 8 bytes.
fn short(bytes: &[u8]) -> Option<u64> {
    let mut all = [0; 8];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(all))
}

/// How many bytes the value takes that these begin with; `None`: they are damaged.
fn skip(bytes: &[u8], depth: usize) -> Option<usize> {
    let (&first, rest) = bytes.split_first()?;
    let length = match first {
        NULL | FALSE | TRUE | EMPTY_LIST | EMPTY_OBJECT | SMALL..SHORT | FREQUENT.. => 1,
        NUMBER | NEGATIVE | DECIMAL => 1 + read_varint(rest)?.1,
        FRACTION | WIDE_DECIMAL => 9,
        TIME => 8,
        SECONDS => 6,
        HASH | ANIMATED_HASH => 17,
        WORD => 2,
        SHORT..FREQUENT => 1 + usize::from(first - SHORT),
        TEXT => {
            let (length, at) = read_varint(rest)?;
            usize::try_from(length).ok()?.checked_add(1 + at)?
        }
        LIST if depth < DEEPEST => {
            let mut at = 1;
            while *bytes.get(at)? != END_OF_LIST {
                at += skip(&bytes[at..], depth + 1)?;
            }
            at + 1
        }
        OBJECT if depth < DEEPEST => {
            let mut at = 1;
            while *bytes.get(at)? != END_OF_OBJECT {
                at += name_length(&bytes[at..])?;
                at += skip(bytes.get(at..)?, depth + 1)?;
            }
            at + 1
        }
        _ => return None,
    };
    (length <= bytes.len()).then_some(length)
}

/// The same without looking the name up.
fn name_length(bytes: &[u8]) -> Option<usize> {
    let (&first, rest) = bytes.split_first()?;
    match first {
        NAME_AS_TEXT => {
            let (length, at) = read_varint(rest)?;
            usize::try_from(length).ok()?.checked_add(1 + at)
        }
        NAME_OF_TWO_BYTES => Some(2),
        _ => Some(1),
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let damaged = || serde::ser::Error::custom("a damaged document");
        match self.is().ok_or_else(damaged)? {
            Is::Null => out.serialize_unit(),
            Is::Bool(value) => out.serialize_bool(value),
            Is::Number(value) => out.serialize_u64(value),
            Is::Negative(value) => out.serialize_i64(value),
            Is::Fraction(value) => out.serialize_f64(value),
            Is::Text(text) => out.serialize_str(&text),
            Is::List(items) => {
                let mut list = out.serialize_seq(None)?;
                for item in items {
                    list.serialize_element(&item)?;
                }
                list.end()
            }
            Is::Object(fields) => {
                let mut object = out.serialize_map(None)?;
                for (name, value) in fields {
                    object.serialize_entry(name, &value)?;
                }
                object.end()
            }
        }
    }
}

impl Serialize for Doc<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(out)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::packed::{Level, pack::pack};

    #[test]
    fn damaged_bytes_are_said_to_be_damaged_and_never_a_panic() {
        let json = r#"{"id":"1099511627776000001","unknown to all":[1,{"a":"b"},-5,1.5],"name":"xx","joined_at":"2021-01-01T00:00:00+00:00"}"#;
        let packed = pack(json, Level::OWN).unwrap();
        assert!(Doc::whole(&packed).is_some());
        for at in 0..packed.len() {
            assert!(Value::whole(&packed[..at]).is_none_or(|v| v.object().is_none()));
            for byte in 0..=255 {
                let mut damaged = packed.clone();
                damaged[at] = byte;
                let doc = Doc::trusted(&damaged);
                let _ = (
                    doc.fields().count(),
                    doc.text("name"),
                    doc.ids("roles").count(),
                );
                let _ = serde_json::to_string(&doc);
                let _ = serde_json::Value::is_null(&doc.parse().unwrap_or_default());
            }
        }
        let deep = vec![LIST; 100_000];
        assert!(Value::whole(&deep).is_none());
    }

    #[test]
    fn fields_are_read_where_they_lie() {
        let json = r#"{"name":"plain","id":"77","roles":["1","x","2"],"position":200,"bot":true,"topic":null}"#;
        let packed = pack(json, Level::OWN).unwrap();
        let doc = Doc::whole(&packed).unwrap();
        assert!(matches!(doc.text("name"), Some(Cow::Borrowed("plain"))));
        assert_eq!(
            (doc.number("id"), doc.number("position")),
            (Some(77), Some(200))
        );
        assert_eq!(doc.ids("roles").collect::<Vec<_>>(), [1, 2]);
        assert_eq!(doc.get("bot").and_then(Value::bool), Some(true));
        assert!(doc.get("topic").unwrap().is_null());
        assert_eq!(doc.get("moon"), None);
        let names: Vec<_> = doc.fields().map(|(name, _)| name).collect();
        assert_eq!(names, ["name", "id", "roles", "position", "bot", "topic"]);
    }
}
