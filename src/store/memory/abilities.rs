//! What real stores do differently, one by one. `tests/support/store_suite/abilities.rs` compares
//! these with what the real stores were seen to do.

/// What a store can do, and how it does what each store does in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Keeps `If-None-Match` on PUT; otherwise it answers 200 and replaces.
    pub if_absent_put: bool,
    /// Keeps `If-Match` on PUT; otherwise it answers 200 and replaces.
    pub if_match_put: bool,
    /// Keeps `If-None-Match` on Complete; otherwise it ignores it.
    pub if_absent_complete: bool,
    /// Keeps `If-Match` on Complete; otherwise it ignores it.
    pub if_match_complete: bool,
    /// Completing an upload again that was completed answers 200 and does nothing, also when the
    /// object was replaced since; otherwise the upload is gone.
    pub repeats_complete: bool,
    /// Completing an upload that was aborted finds it gone; otherwise it answers 200 and does
    /// nothing where an object stands.
    pub aborts_are_final: bool,
    /// Whatever is published under a key, or deleted there, ends the uploads of the key that began
    /// before it.
    pub writes_end_uploads: bool,
    /// Lists the parts of an upload.
    pub lists_parts: bool,
    /// Buckets can keep versions.
    pub versions: bool,
    /// Encrypts at rest and says so, by default with a key of its own (`AES256`); otherwise it
    /// ignores what was asked for.
    pub server_side: bool,
    /// Keeps the storage class.
    pub storage_class: bool,
    /// Keeps tags.
    pub tags: bool,
}

/// Which conditions one operation keeps.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) if_absent: bool,
    pub(super) if_match: bool,
}

impl Abilities {
    /// Conditions that a PUT keeps.
    pub(super) fn of_put(&self) -> Kept {
        Kept {
            if_absent: self.if_absent_put,
            if_match: self.if_match_put,
        }
    }

    /// Conditions that a Complete keeps.
    pub(super) fn of_complete(&self) -> Kept {
        Kept {
            if_absent: self.if_absent_complete,
            if_match: self.if_match_complete,
        }
    }

    /// Amazon S3, by its documents. No test here has met it.
    pub fn aws() -> Abilities {
        Abilities {
            if_absent_put: true,
            if_match_put: true,
            if_absent_complete: true,
            if_match_complete: true,
            repeats_complete: true,
            aborts_are_final: true,
            writes_end_uploads: false,
            lists_parts: true,
            versions: true,
            server_side: true,
            storage_class: true,
            tags: true,
        }
    }

    /// The AWS double of the tests. It ignores `If-Match` on Complete, and takes any upload that it
    /// does not know for one that was completed.
    pub fn aws_double() -> Abilities {
        Abilities {
            if_match_complete: false,
            aborts_are_final: false,
            ..Abilities::aws()
        }
    }

    /// Garage 2.
    pub fn garage() -> Abilities {
        Abilities {
            if_absent_put: false,
            if_match_put: false,
            if_absent_complete: false,
            if_match_complete: false,
            repeats_complete: false,
            aborts_are_final: true,
            writes_end_uploads: true,
            lists_parts: true,
            versions: false,
            server_side: false,
            storage_class: false,
            tags: false,
        }
    }
}
