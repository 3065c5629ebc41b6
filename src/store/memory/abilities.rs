//! What real stores do differently, one by one. `tests/support/store_suite/abilities.rs` compares
//! these with what the real stores were seen to do.

/// What a store can do, and how it does what each store does in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Keeps `If-None-Match` and `If-Match` on PUT; otherwise it answers 200 and replaces.
    pub conditional_put: bool,
    /// Keeps them on Complete; otherwise it ignores them.
    pub conditional_complete: bool,
    /// Completing an upload again that was completed answers 200 and does nothing; otherwise the
    /// upload is gone.
    pub repeats_complete: bool,
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

impl Abilities {
    /// Amazon S3.
    pub fn aws() -> Abilities {
        Abilities {
            conditional_put: true,
            conditional_complete: true,
            repeats_complete: true,
            writes_end_uploads: false,
            lists_parts: true,
            versions: true,
            server_side: true,
            storage_class: true,
            tags: true,
        }
    }

    /// Garage 2.
    pub fn garage() -> Abilities {
        Abilities {
            conditional_put: false,
            conditional_complete: false,
            repeats_complete: false,
            writes_end_uploads: true,
            lists_parts: true,
            versions: false,
            server_side: false,
            storage_class: false,
            tags: false,
        }
    }
}
