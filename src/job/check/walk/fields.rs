//! Fields: the members of one object, taken one by one; what nobody took is unknown.

use std::collections::BTreeMap;

use super::Spot;
use crate::fault::Code;
use crate::job::check::spelling;

/// Field names under which people put plaintext keys.
const PLAINTEXT_NAMES: [&str; 10] = [
    "plaintext",
    "raw",
    "hex",
    "value",
    "base64",
    "bytes",
    "key",
    "data",
    "secret_key",
    "material",
];
/// The fields of one object while it is read.
pub(in crate::job::check) struct Fields<'f, 'a> {
    pub(super) spot: &'f Spot<'a>,
    pub(super) members: BTreeMap<&'a str, Spot<'a>>,
    pub(super) known: Vec<&'static str>,
    pub(super) given: usize,
}

impl<'a> Fields<'_, 'a> {
    /// Reads a field that may be absent.
    pub(in crate::job::check) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Spot<'a>) -> Option<T>,
    ) -> Option<T> {
        self.known.push(name);
        let spot = self.members.remove(name)?;
        self.given += 1;
        read(&spot)
    }

    /// Reads a field that must be there.
    pub(in crate::job::check) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Spot<'a>) -> Option<T>,
    ) -> Option<T> {
        if !self.has(name) {
            self.refuse::<()>(name, Code::MissingField, "this field is required");
        }
        self.optional(name, read)
    }

    /// A field that is understood and not accepted here.
    pub(in crate::job::check) fn forbidden(&mut self, name: &str, code: Code, message: &str) {
        if let Some(spot) = self.members.remove(name) {
            self.given += 1;
            spot.refuse::<()>(code, message);
        }
    }

    /// Whether a field is there and not read yet.
    pub(in crate::job::check) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Notes a fault at a field, there or absent.
    pub(in crate::job::check) fn refuse<T>(
        &self,
        name: &str,
        code: Code,
        message: impl Into<String>,
    ) -> Option<T> {
        let node = self.members.get(name).map_or(self.spot.node, |s| s.node);
        let pointer = self.spot.below(name);
        self.spot
            .faults
            .note(node.order, pointer, code, message.into());
        None
    }

    /// For an object that holds exactly one of the fields read so far: the one that was given.
    pub(in crate::job::check) fn exactly_one<T, const N: usize>(
        &self,
        read: [Option<T>; N],
    ) -> Option<T> {
        let expected = || format!("expected exactly one of {}", self.known.join(", "));
        match self.given {
            0 if self.members.is_empty() => self.spot.refuse(Code::MissingField, expected()),
            0 | 1 => read.into_iter().flatten().next(),
            _ => self.spot.refuse(Code::InvalidValue, expected()),
        }
    }

    pub(super) fn refuse_unknown(self) {
        for (name, spot) in &self.members {
            let plain = PLAINTEXT_NAMES.iter().any(|p| p.eq_ignore_ascii_case(name));
            if self.spot.guarded && plain {
                let message = "a key in the clear; its value is not repeated here";
                spot.refuse::<()>(Code::PlaintextKey, message);
            } else {
                let hint = spelling::hint(name, &self.known);
                spot.refuse::<()>(Code::UnknownField, format!("this field is unknown{hint}"));
            }
        }
    }
}
