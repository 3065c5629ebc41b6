//! Tree: JSON text into nodes that remember their order.
//!
//! The bytes of a message come in, a [`Node`] goes out to `walk`. `serde_json::Value` will not do
//! here: it sorts the fields of an object and silently keeps the last of two with the same name,
//! and a checker must see both. This module never judges what a message means.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::job::limits;

/// One JSON value and its rank in the text, by which faults are sorted.
pub(super) struct Node {
    pub(super) order: u32,
    pub(super) json: Json,
}

/// A JSON value whose objects keep every field, twins included, as they were written.
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Json {
    /// What the value is, for messages to people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::Text(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }
}

impl From<&Node> for Value {
    fn from(node: &Node) -> Value {
        match &node.json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => Value::Number(number.clone()),
            Json::Text(text) => Value::String(text.clone()),
            Json::Array(items) => items.iter().map(Value::from).collect(),
            Json::Object(fields) => fields
                .iter()
                .map(|(name, node)| (name.clone(), Value::from(node)))
                .collect(),
        }
    }
}

/// A whole message.
pub(super) struct Tree {
    pub(super) root: Node,
    /// Something is nested deeper than `limits::DEPTH`; what lies below was left out.
    pub(super) too_deep: bool,
}

/// Reads one JSON text and nothing after it.
pub(super) fn read(bytes: &[u8]) -> Result<Tree, serde_json::Error> {
    let state = State::default();
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let root = Seed {
        state: &state,
        depth: 1,
    }
    .deserialize(&mut text)?;
    text.end()?;
    Ok(Tree {
        root,
        too_deep: state.too_deep.get(),
    })
}

#[derive(Default)]
struct State {
    nodes: Cell<u32>,
    too_deep: Cell<bool>,
}

#[derive(Clone, Copy)]
struct Seed<'s> {
    state: &'s State,
    depth: usize,
}

impl Seed<'_> {
    /// Children, unless they would be too deep. What is too deep is skipped by serde_json without
    /// recursion.
    fn below(self) -> Option<Self> {
        if self.depth > limits::DEPTH {
            self.state.too_deep.set(true);
            return None;
        }
        Some(Seed {
            depth: self.depth + 1,
            ..self
        })
    }

    fn order(&self) -> u32 {
        self.state.nodes.replace(self.state.nodes.get() + 1)
    }

    fn leaf<E>(self, json: Json) -> Result<Node, E> {
        let order = self.order();
        Ok(Node { order, json })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        self.leaf(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        self.leaf(Json::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        self.leaf(Json::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        self.leaf(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        self.leaf(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        self.leaf(Json::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let order = self.order();
        let mut items = Vec::new();
        match self.below() {
            Some(seed) => {
                while let Some(item) = seq.next_element_seed(seed)? {
                    items.push(item);
                }
            }
            None => while seq.next_element::<IgnoredAny>()?.is_some() {},
        }
        let json = Json::Array(items);
        Ok(Node { order, json })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let order = self.order();
        let mut fields = Vec::new();
        match self.below() {
            Some(seed) => {
                while let Some(name) = map.next_key::<String>()? {
                    fields.push((name, map.next_value_seed(seed)?));
                }
            }
            None => while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {},
        }
        let json = Json::Object(fields);
        Ok(Node { order, json })
    }
}
