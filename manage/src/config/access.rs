//! How serde gets at the parts of lists, of keys and values, and of alternatives.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::read::{Node, Part, Stop, joined};
use super::tree::{Entry, Tree};

pub(super) struct Items<'n, 'de> {
    list: &'n Node<'de>,
    items: &'de [Tree],
    next: usize,
}

impl<'n, 'de> Items<'n, 'de> {
    pub(super) fn new(list: &'n Node<'de>, items: &'de [Tree]) -> Self {
        Self {
            list,
            items,
            next: 0,
        }
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        while let Some(item) = self.items.get(self.next) {
            self.next += 1;
            let part = Part::Item(item.place);
            if self.list.reader.is_skipped(part) {
                continue;
            }
            let path = format!("{}[{}]", self.list.path, self.next - 1);
            let node = self.list.child(item, path);
            let value = seed.deserialize(node.clone());
            return value.map(Some).map_err(|stop| Stop {
                part: stop.part.or(Some(part)),
                ..node.placed(stop)
            });
        }
        Ok(None)
    }
}

pub(super) struct Entries<'n, 'de> {
    map: &'n Node<'de>,
    entries: std::vec::IntoIter<(&'de str, &'de Entry)>,
    current: Option<&'de Entry>,
}

impl<'n, 'de> Entries<'n, 'de> {
    pub(super) fn new(map: &'n Node<'de>, entries: Vec<(&'de str, &'de Entry)>) -> Self {
        Self {
            map,
            entries: entries.into_iter(),
            current: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Stop;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        let reader = self.map.reader;
        let next = self
            .entries
            .find(|(_, entry)| !reader.is_skipped(entry.part()));
        let Some((name, entry)) = next else {
            return Ok(None);
        };
        self.current = Some(entry);
        let key: StrDeserializer<'de, Stop> = name.into_deserializer();
        seed.deserialize(key).map(Some).map_err(|stop| Stop {
            part: Some(entry.part()),
            place: Some(entry.place),
            message: format!("{}: {}", joined(&self.map.path, name), stop.message),
            ..stop
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        let Some(entry) = self.current.take() else {
            return Err(self.map.expected("a key"));
        };
        let path = joined(&self.map.path, &entry.key);
        let node = self.map.child(&entry.value, path);
        seed.deserialize(node.clone()).map_err(|stop| Stop {
            part: stop.part.or_else(|| Some(entry.part())),
            ..node.placed(stop)
        })
    }
}

pub(super) struct Variant<'de> {
    pub(super) name: &'static str,
    pub(super) content: Option<Node<'de>>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Stop;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Stop> {
        let name: StrDeserializer<'de, Stop> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Variant<'_> {
    fn without_content(&self) -> Stop {
        <Stop as de::Error>::custom(format_args!("'{}' needs a value", self.name))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        match self.content {
            Some(node) if !node.tree.is_nothing() => Err(node.expected("nothing")),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Stop> {
        match self.content {
            Some(node) => seed.deserialize(node),
            None => Err(self.without_content()),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Stop> {
        match self.content {
            Some(node) => de::Deserializer::deserialize_seq(node, visitor),
            None => Err(self.without_content()),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match self.content {
            Some(node) => de::Deserializer::deserialize_struct(node, self.name, fields, visitor),
            None => Err(self.without_content()),
        }
    }
}
