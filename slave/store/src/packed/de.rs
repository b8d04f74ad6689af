//! From a packed value to any type of serde's, `twilight-model`'s among them.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::value::{Doc, Fields, Is, Items, Value};

/// A document that is not of the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(String);

impl serde::de::Error for Wrong {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl Value<'_> {
    /// The value in a type of your own.
    ///
    /// # Errors
    /// It is not of that type.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, Wrong> {
        T::deserialize(self)
    }
}

impl Doc<'_> {
    /// The object in a type of your own, as it is stored.
    ///
    /// # Errors
    /// It is not of that type.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, Wrong> {
        self.value().parse()
    }
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let damaged = || Wrong("a damaged document".to_owned());
        match self.is().ok_or_else(damaged)? {
            Is::Null => visitor.visit_unit(),
            Is::Bool(value) => visitor.visit_bool(value),
            Is::Number(value) => visitor.visit_u64(value),
            Is::Negative(value) => visitor.visit_i64(value),
            Is::Fraction(value) => visitor.visit_f64(value),
            Is::Text(std::borrow::Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Is::Text(std::borrow::Cow::Owned(text)) => visitor.visit_string(text),
            Is::List(items) => visitor.visit_seq(List(items)),
            Is::Object(fields) => visitor.visit_map(Object {
                fields,
                value: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.text() {
            Some(text) => visitor.visit_enum(text.as_ref().into_deserializer()),
            None => Err(Wrong("no name of a variant".to_owned())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct List<'de>(Items<'de>);

impl<'de> SeqAccess<'de> for List<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        self.0
            .next()
            .map(|value| seed.deserialize(value))
            .transpose()
    }
}

struct Object<'de> {
    fields: Fields<'de>,
    value: Option<Value<'de>>,
}

impl<'de> MapAccess<'de> for Object<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some((name, value)) = self.fields.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let name: serde::de::value::BorrowedStrDeserializer<'de, Wrong> =
            serde::de::value::BorrowedStrDeserializer::new(name);
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        match self.value.take() {
            Some(value) => seed.deserialize(value),
            None => Err(Wrong("a value without a name".to_owned())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use twilight_model::{guild::Role, user::User};

    use super::*;
    use crate::packed::{Level, pack::pack};

    #[test]
    fn models_of_twilight_read_a_document() {
        let role = r#"{"id":"2","name":"r","color":1,"colors":{"primary_color":1,"secondary_color":null,"tertiary_color":null},"hoist":false,"icon":"0123456789abcdef0123456789abcdef","unicode_emoji":null,"position":300,"permissions":"104324673","managed":false,"mentionable":false,"flags":0}"#;
        let packed = pack(role, Level::OWN).unwrap();
        let read: Role = Doc::whole(&packed).unwrap().parse().unwrap();
        assert_eq!(read, serde_json::from_str(role).unwrap());
        let user = r#"{"id":"1099511627776000001","username":"user","global_name":"U","discriminator":"0","avatar":"a_0123456789abcdef0123456789abcdef","bot":false,"public_flags":64,"premium_type":2,"locale":"de"}"#;
        let packed = pack(user, Level::OWN).unwrap();
        let read: User = Doc::whole(&packed).unwrap().parse().unwrap();
        assert_eq!(read, serde_json::from_str(user).unwrap());
        assert!(Doc::whole(&packed).unwrap().parse::<Role>().is_err());
    }
}
