//! Walk: reading nodes, and writing down everything that is wrong with them.
//!
//! A [`Spot`] is a node, the JSON pointer to it and the list its faults go to. Readers ask it for
//! what they expect and get `Some`, or `None` after the fault was noted; so a reader goes on to its
//! next field and one pass finds every fault. A value of the message never appears in a fault's
//! text, and below a `key` no field name that could itself be a key appears in a pointer either
//! (P8).

mod fields;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

pub(super) use self::fields::Fields;
use super::spelling;
use super::tree::{Json, Node};
use crate::fault::{Code, Fault};
use crate::job::{Base64, limits};

/// Unpadded base64 of the shortest AES key: a field name of this length below a `key` could be one.
const SHORTEST_KEY_TEXT: usize = 22;

/// What is wrong with one message. Each place is named once: the first thing said about it is the
/// cause, the rest would follow from it.
#[derive(Default)]
pub(super) struct Faults(RefCell<Found>);

#[derive(Default)]
struct Found {
    list: Vec<(u32, Fault)>,
    places: HashSet<String>,
}

impl Faults {
    /// Notes a fault of the value with this rank and pointer.
    pub(super) fn note(&self, order: u32, pointer: String, code: Code, message: String) {
        let mut found = self.0.borrow_mut();
        if found.places.contains(&pointer) {
            return;
        }
        let mut fault = Fault::new(code, message);
        if !pointer.is_empty() {
            fault = fault.at(pointer.clone());
        }
        found.places.insert(pointer);
        found.list.push((order, fault));
    }

    /// Whether something was said about this place itself.
    pub(super) fn name(&self, pointer: &str) -> bool {
        self.0.borrow().places.contains(pointer)
    }

    /// The faults in document order, at most `limits::FAULTS` of them.
    pub(super) fn into_list(self) -> Vec<Fault> {
        let mut list = self.0.into_inner().list;
        list.sort_by_key(|(order, _)| *order);
        let more = list.len().saturating_sub(limits::FAULTS);
        list.truncate(limits::FAULTS);
        if let Some((_, last)) = list.last_mut().filter(|_| more > 0) {
            last.message += &format!(" ({more} more faults are left out)");
        }
        list.into_iter().map(|(_, fault)| fault).collect()
    }
}

/// One node of the message and where it stands.
pub(super) struct Spot<'a> {
    node: &'a Node,
    pointer: String,
    /// Below a `key`: field names may be key material.
    guarded: bool,
    faults: &'a Faults,
}

impl<'a> Spot<'a> {
    /// The whole message.
    pub(super) fn root(node: &'a Node, faults: &'a Faults) -> Self {
        Spot {
            node,
            pointer: String::new(),
            guarded: false,
            faults,
        }
    }

    /// The same place, with everything below it treated as if it could be a key.
    pub(super) fn guarded(&self) -> Self {
        Spot {
            node: self.node,
            pointer: self.pointer.clone(),
            guarded: true,
            faults: self.faults,
        }
    }

    fn child(&self, node: &'a Node, step: &str) -> Self {
        Spot {
            node,
            pointer: self.below(step),
            guarded: self.guarded,
            faults: self.faults,
        }
    }

    /// Pointer to a field or item of this value (RFC 6901).
    fn below(&self, step: &str) -> String {
        let step = step.replace('~', "~0").replace('/', "~1");
        format!("{}/{step}", self.pointer)
    }

    /// Notes a fault here. It returns `None` so that a reader can end with it.
    pub(super) fn refuse<T>(&self, code: Code, message: impl Into<String>) -> Option<T> {
        let order = self.node.order;
        self.faults
            .note(order, self.pointer.clone(), code, message.into());
        None
    }

    fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        let got = self.node.json.kind();
        self.refuse(Code::WrongType, format!("expected {expected}, got {got}"))
    }

    /// Whether a string stands here.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.node.json, Json::Text(_))
    }

    /// A string of at most `max` bytes without control characters.
    pub(super) fn text_or_empty(&self, max: usize) -> Option<&'a str> {
        let Json::Text(text) = &self.node.json else {
            return self.wrong_type("a string");
        };
        if text.len() > max {
            return self.refuse(Code::LimitExceeded, format!("longer than {max} bytes"));
        }
        if text.chars().any(char::is_control) {
            return self.refuse(Code::InvalidValue, "holds a control character");
        }
        Some(text)
    }

    /// A string of 1 to `max` bytes without control characters.
    pub(super) fn text(&self, max: usize) -> Option<&'a str> {
        let text = self.text_or_empty(max)?;
        if text.is_empty() {
            return self.refuse(Code::InvalidValue, "empty");
        }
        Some(text)
    }

    /// A string of 1 to `max` bytes that holds nothing but `allowed` characters; `what` names them.
    pub(super) fn word(&self, max: usize, what: &str, allowed: fn(char) -> bool) -> Option<String> {
        let text = self.text(max)?;
        if !text.chars().all(allowed) {
            return self.refuse(Code::InvalidValue, format!("expected {what}"));
        }
        Some(text.into())
    }

    /// One of a few names.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text_or_empty(usize::MAX)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let hint = spelling::hint(text, &names);
        let message = format!("expected one of {}{hint}", names.join(", "));
        self.refuse(Code::InvalidValue, message)
    }

    /// Bytes in standard base64, at most `max` of them; `code` is for more.
    pub(super) fn base64(&self, max: usize, code: Code) -> Option<Base64> {
        let text = self.text_or_empty(usize::MAX)?;
        if text.len() > max.div_ceil(3) * 4 {
            return self.refuse(code, format!("more than {max} bytes"));
        }
        let Some(bytes) = Base64::decode(text) else {
            return self.refuse(Code::InvalidValue, "expected standard base64 with padding");
        };
        if bytes.0.len() > max {
            return self.refuse(code, format!("more than {max} bytes"));
        }
        Some(bytes)
    }

    /// A whole number that is not negative.
    pub(super) fn integer(&self) -> Option<u64> {
        match &self.node.json {
            Json::Number(number) if number.is_i64() || number.is_u64() => match number.as_u64() {
                Some(number) => Some(number),
                None => self.refuse(Code::InvalidValue, "negative"),
            },
            Json::Number(_) => self.refuse(
                Code::WrongType,
                "expected an integer of at most 64 bits, written without fraction or exponent",
            ),
            _ => self.wrong_type("an integer"),
        }
    }

    /// A whole number within bounds.
    pub(super) fn integer_within(&self, least: u64, most: u64) -> Option<u64> {
        match self.integer()? {
            number if (least..=most).contains(&number) => Some(number),
            _ => self.refuse(Code::InvalidValue, format!("expected {least} to {most}")),
        }
    }

    /// A number within bounds.
    pub(super) fn number_within(&self, least: f64, most: f64) -> Option<f64> {
        let Json::Number(number) = &self.node.json else {
            return self.wrong_type("a number");
        };
        match number.as_f64() {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => self.refuse(Code::InvalidValue, format!("expected {least} to {most}")),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.node.json {
            Json::Bool(flag) => Some(flag),
            _ => self.wrong_type("a boolean"),
        }
    }

    /// The items of an array of 1 to `max`.
    pub(super) fn items(&self, max: usize) -> Option<Vec<Spot<'a>>> {
        let Json::Array(items) = &self.node.json else {
            return self.wrong_type("an array");
        };
        if items.is_empty() {
            return self.refuse(Code::InvalidValue, "expected at least one item");
        }
        if items.len() > max {
            return self.refuse(Code::LimitExceeded, format!("more than {max} items"));
        }
        let spot = |(i, item)| self.child(item, &usize::to_string(&i));
        Some(items.iter().enumerate().map(spot).collect())
    }

    /// An object with fixed fields: `read` takes each it knows, and what it left is unknown.
    pub(super) fn object<T>(
        &self,
        read: impl FnOnce(&mut Fields<'_, 'a>) -> Option<T>,
    ) -> Option<T> {
        let mut fields = Fields {
            members: self.members(self.guarded)?,
            spot: self,
            known: Vec::new(),
            given: 0,
        };
        let value = read(&mut fields);
        fields.refuse_unknown();
        value
    }

    /// An object with free names and string values: at most `max` entries, each read by `read`. Its
    /// names are shown even below a `key`: an encryption context is no secret (AWS logs it in the
    /// clear).
    pub(super) fn map(
        &self,
        max: usize,
        read: impl Fn(&str, &Spot<'a>) -> Option<String>,
    ) -> Option<BTreeMap<String, String>> {
        let members = self.members(false)?;
        if members.len() > max {
            return self.refuse(Code::LimitExceeded, format!("more than {max} entries"));
        }
        let mut map = BTreeMap::new();
        for (name, spot) in members {
            if name.is_empty() {
                spot.refuse::<()>(Code::InvalidValue, "the name is empty");
            } else if let Some(value) = read(name, &spot) {
                map.insert(name.into(), value);
            }
        }
        Some(map)
    }

    /// The fields of an object by name. Twins, and names that must not be shown, are noted and left
    /// out.
    fn members(&self, guarded: bool) -> Option<BTreeMap<&'a str, Spot<'a>>> {
        let Json::Object(fields) = &self.node.json else {
            return self.wrong_type("an object");
        };
        let mut members = BTreeMap::new();
        for (name, node) in fields {
            if !self.can_show(name, guarded) {
                continue;
            }
            let spot = self.child(node, name);
            if members.contains_key(name.as_str()) {
                spot.refuse::<()>(Code::InvalidValue, "this field is given twice");
            } else {
                members.insert(name.as_str(), spot);
            }
        }
        Some(members)
    }

    /// Whether a field name may stand in a pointer; if not, the fault is noted here, at the object.
    fn can_show(&self, name: &str, guarded: bool) -> bool {
        let (code, message) = if guarded && name.len() >= SHORTEST_KEY_TEXT {
            let message = "a field name that could be a key; it is not repeated here";
            (Code::PlaintextKey, message)
        } else if name.len() > limits::CONTEXT_BYTES {
            (Code::LimitExceeded, "a field name is too long")
        } else if name.chars().any(char::is_control) {
            (Code::InvalidValue, "a field name holds a control character")
        } else {
            return true;
        };
        self.refuse::<()>(code, message);
        false
    }
}
