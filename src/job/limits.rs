//! Bounds of the job message. Where AWS has a limit for the same thing, ours is that one.

/// Largest message, in bytes. RabbitMQ's own default limit is 16 MiB; a job carries references, not
/// payloads.
pub const MESSAGE_BYTES: usize = 256 * 1024;
/// Deepest nesting of JSON values.
pub const DEPTH: usize = 16;
/// Most faults reported for one message; more are cut off with a word.
pub const FAULTS: usize = 100;
/// Longest job id, in bytes.
pub const JOB_ID_BYTES: usize = 128;
/// Most outputs of one job.
pub const OUTPUTS: usize = 32;
/// Longest object key, in bytes (S3).
pub const OBJECT_KEY_BYTES: usize = 1024;
/// Longest URL, in bytes.
pub const URL_BYTES: usize = 2048;
/// Most labels, and the longest key and value, in bytes.
pub const LABELS: usize = 16;
/// Longest label key.
pub const LABEL_KEY_BYTES: usize = 64;
/// Longest label value.
pub const LABEL_VALUE_BYTES: usize = 256;
/// Longest deadline: seven days.
pub const DEADLINE_SECONDS: u64 = 604_800;
/// Longest queue name (AMQP short string).
pub const QUEUE_NAME_BYTES: usize = 255;
/// KMS CiphertextBlob, in bytes (AWS KMS API).
pub const KMS_CIPHERTEXT_BYTES: usize = 6144;
/// Key id, ARN or alias, in bytes (AWS KMS API).
pub const KMS_KEY_ID_BYTES: usize = 2048;
/// Wrapped keyring key, in bytes.
pub const KEYRING_WRAPPED_BYTES: usize = 1024;
/// Encryption context: entries.
pub const CONTEXT_ENTRIES: usize = 16;
/// Encryption context: key and value, in bytes each.
pub const CONTEXT_BYTES: usize = 1024;
/// Cobblestone context, in bytes.
pub const COBBLESTONE_CONTEXT_BYTES: usize = 1024;
/// User metadata: names and values together, in bytes (S3 allows 2 KiB; 768 are kept for our own).
pub const METADATA_BYTES: usize = 1280;
/// Object tags (S3).
pub const TAGS: usize = 10;
/// Tag key, in characters (S3).
pub const TAG_KEY_CHARS: usize = 128;
/// Tag value, in characters (S3).
pub const TAG_VALUE_CHARS: usize = 256;
/// Content-Type, in bytes.
pub const CONTENT_TYPE_BYTES: usize = 255;
/// ETag and version id, in bytes.
pub const VERSION_BYTES: usize = 1024;
/// Region name.
pub const REGION_BYTES: usize = 64;
/// Storage class name.
pub const STORAGE_CLASS_BYTES: usize = 64;
/// Name of one entry of user metadata.
pub const METADATA_NAME_BYTES: usize = 64;
/// Thumbnails of one job.
pub const THUMBNAILS: usize = 1000;
/// Largest thumbnail, across and down, in pixels (Elastic Transcoder).
pub const PICTURE_WIDTH: u64 = 4096;
/// Down.
pub const PICTURE_HEIGHT: u64 = 3072;
/// Watermarks on a picture (Elastic Transcoder).
pub const WATERMARKS: usize = 4;
/// A length like `16px` or `12.50000%`.
pub const EXTENT_BYTES: usize = 12;
/// Caption files (Elastic Transcoder).
pub const CAPTION_SOURCES: usize = 20;
/// Caption formats (Elastic Transcoder).
pub const CAPTION_OUTPUTS: usize = 4;
/// A caption track's name, in characters (Elastic Transcoder).
pub const CAPTION_LABEL_CHARS: usize = 40;
/// A time offset like `+00:01:02.345`.
pub const TIME_OFFSET_BYTES: usize = 16;
