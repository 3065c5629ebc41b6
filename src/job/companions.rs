//! Companions: what is made of the input beside the outputs: thumbnails, captions, artwork.
//!
//! Each names its objects by a pattern and says how they are encrypted; nothing is inherited from
//! the outputs. Their bytes may differ from attempt to attempt (another ffmpeg, another worker), so
//! their IVs are always fresh.

use schemars::JsonSchema;
use serde::Serialize;

use super::event::CompanionKind;
use super::picture::{Picture, PictureFormat, Placement};
use super::{Checksum, Encryption, IfExists, Input, Job, ObjectUrl, Output, Storage};
use crate::fault::{Code, Fault, Result};

/// Stands for the number of a picture in a pattern: five digits, from 00001.
pub const COUNT: &str = "{count}";
/// Stands for a picture's size in a pattern: `320x180`.
pub const RESOLUTION: &str = "{resolution}";
/// Stands for a caption track's language in a pattern.
pub const LANGUAGE: &str = "{language}";

/// Pictures of a film, or one of a picture.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Thumbnails {
    /// Where they go, without extension: holds `{count}`, and `{resolution}` where wanted.
    #[schemars(length(max = 2048), regex(pattern = r"^(s3|file)://.*\{count\}"))]
    pub url_pattern: String,
    /// How they look; at most 1920 x 1080 unless said otherwise.
    #[serde(flatten)]
    pub picture: Picture,
    /// When they are taken; the first frame of every minute unless said otherwise.
    #[serde(flatten)]
    pub times: Times,
    /// Drawn on each, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub watermarks: Vec<Watermark>,
    /// How they are written.
    #[serde(flatten)]
    pub delivery: Delivery,
}

/// When thumbnails are taken: the frame that is on screen then. One of the three.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Times {
    /// One at the beginning and one after every so many seconds (0.1 to 99,999).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.1, max = 99999))]
    pub interval_seconds: Option<f64>,
    /// One at each of these times; at most 1,000, rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1000), inner(range(min = 0, max = 999999)))]
    pub at_seconds: Vec<f64>,
    /// So many, evenly spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: Option<u32>,
}

/// To seek to a frame costs about as much as to decode so many seconds.
const SEEK_SECONDS: f64 = 20.0;

impl Times {
    /// Whether it takes less to decode a film from its start than to seek to each of them. How many
    /// `count` gives in a minute nobody knows before the film's length is known.
    pub fn are_dense(&self) -> bool {
        match (self.interval_seconds, self.at_seconds.last()) {
            (Some(interval), _) => interval <= SEEK_SECONDS,
            (None, Some(last)) => *last <= SEEK_SECONDS * self.at_seconds.len() as f64,
            (None, None) => false,
        }
    }
}

/// A picture that is drawn on others.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Watermark {
    /// A JPEG or PNG; it may be encrypted.
    #[serde(flatten)]
    pub input: Input,
    /// Where it stands.
    #[serde(flatten)]
    pub placement: Placement,
}

/// Captions of a film, in other formats.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Captions {
    /// Caption files: SRT, WebVTT, TTML (dfxp) or SCC, whatever their names say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub sources: Vec<CaptionSource>,
    /// Who wins where a language is in the film and beside it.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub merge: MergePolicy,
    /// What is written.
    #[schemars(length(min = 1, max = 4))]
    pub outputs: Vec<CaptionOutput>,
}

impl Captions {
    /// Whether tracks of the film are wanted.
    pub fn uses_film(&self) -> bool {
        self.merge != MergePolicy::Override
    }
}

/// A caption file.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CaptionSource {
    /// The file; it may be encrypted.
    #[serde(flatten)]
    pub input: Input,
    /// Its language: two letters of ISO 639-1 or three of ISO 639-2.
    #[schemars(regex(pattern = r"^[A-Za-z]{2,3}$"))]
    pub language: String,
    /// Moves all its cues: `[+-]SS.sss` or `[+-]HH:mm:SS.sss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub time_offset: Option<String>,
    /// A name for people, 1 to 40 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub label: Option<String>,
}

/// Who wins where a language is in the film and beside it (Elastic Transcoder's merge policies).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MergePolicy {
    /// Both are used, and the file wins (MergeOverride).
    #[default]
    Merge,
    /// Both are used, and the film wins (MergeRetain).
    Retain,
    /// Only the files are used (Override).
    Override,
}

/// One format of the captions.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CaptionOutput {
    /// Where they go, without extension: holds `{language}`.
    #[schemars(length(max = 2048), regex(pattern = r"^(s3|file)://.*\{language\}"))]
    pub url_pattern: String,
    /// What is written.
    pub format: CaptionFormat,
    /// How they are written.
    #[serde(flatten)]
    pub delivery: Delivery,
}

/// Caption formats that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CaptionFormat {
    /// SubRip, `.srt`.
    Srt,
    /// WebVTT, `.vtt`.
    Webvtt,
    /// TTML 1, which Elastic Transcoder calls dfxp, `.ttml`.
    Ttml,
}

/// The covers of an audio file.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Artwork {
    /// Where they go, without extension. With `{count}` all of them (at most 20), else the first.
    #[schemars(length(max = 2048), regex(pattern = r"^(s3|file)://"))]
    pub url_pattern: String,
    /// How they look; at most 600 x 600 unless said otherwise.
    #[serde(flatten)]
    pub picture: Picture,
    /// How they are written.
    #[serde(flatten)]
    pub delivery: Delivery,
}

/// How companions are written.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Delivery {
    /// How each is encrypted, under a fresh IV; without it the plaintext is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// What the store is told about each; the content type is known.
    #[serde(default, skip_serializing_if = "Storage::is_default")]
    pub storage: Storage,
    /// What to do when one is there already.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub if_exists: IfExists,
    /// `false`: the job may succeed without them.
    #[serde(default = "super::yes", skip_serializing_if = "super::is_true")]
    pub required: bool,
    /// The checksum that the store verifies and the result names.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub checksum: Checksum,
}

impl Delivery {
    /// An object that is written like this.
    pub fn output(&self, url: ObjectUrl, content_type: &str) -> Output {
        let mut storage = self.storage.clone();
        if url.bucket().is_some() {
            storage
                .content_type
                .get_or_insert_with(|| content_type.into());
        }
        Output {
            url,
            encryption: self.encryption.clone(),
            storage,
            if_exists: self.if_exists,
            required: self.required,
            checksum: self.checksum,
        }
    }
}

/// Companions that a field of the job asks for, written alike.
#[derive(Clone, Copy, Debug)]
pub struct Family<'a> {
    /// What they are.
    pub kind: CompanionKind,
    /// Which of the caption outputs.
    pub index: usize,
    /// The pattern of their names.
    pub pattern: &'a str,
    /// What their names end in.
    pub extension: &'static str,
    /// Their media type.
    pub content_type: &'static str,
    /// How they are written.
    pub delivery: &'a Delivery,
}

impl Family<'_> {
    /// Where it stands in the job.
    pub fn pointer(&self) -> String {
        match self.kind {
            CompanionKind::Thumbnail => "/thumbnails".into(),
            CompanionKind::Caption => format!("/captions/outputs/{}", self.index),
            CompanionKind::Artwork => "/artwork".into(),
        }
    }

    /// The object of these values.
    pub fn url(&self, values: &[(&str, &str)]) -> Result<ObjectUrl> {
        expand(self.pattern, values, self.extension).map_err(|message| {
            let fault = Fault::new(Code::InvalidValue, message);
            fault.at(format!("{}/url_pattern", self.pointer()))
        })
    }
}

impl Job {
    /// Everything that is made beside the outputs: thumbnails, captions, artwork.
    pub fn families(&self) -> Vec<Family<'_>> {
        let picture = |kind, pattern, format: PictureFormat, delivery| Family {
            kind,
            index: 0,
            pattern,
            extension: format.extension(),
            content_type: format.content_type(),
            delivery,
        };
        let thumbnails = self.thumbnails.iter().map(|t| {
            let kind = CompanionKind::Thumbnail;
            picture(kind, t.url_pattern.as_str(), t.picture.format, &t.delivery)
        });
        let captions = self.captions.iter().flat_map(|captions| &captions.outputs);
        let captions = captions.enumerate().map(|(index, output)| Family {
            kind: CompanionKind::Caption,
            index,
            pattern: &output.url_pattern,
            extension: output.format.extension(),
            content_type: output.format.content_type(),
            delivery: &output.delivery,
        });
        let artwork = self.artwork.iter().map(|a| {
            let kind = CompanionKind::Artwork;
            picture(kind, a.url_pattern.as_str(), a.picture.format, &a.delivery)
        });
        thumbnails.chain(captions).chain(artwork).collect()
    }

    /// What is read for companions besides the job's input, and where it stands in the job:
    /// watermarks, then caption files.
    pub fn beside_inputs(&self) -> Vec<(String, &Input)> {
        let watermarks = self.thumbnails.iter().flat_map(|t| &t.watermarks);
        let watermarks = watermarks.enumerate();
        let watermarks = watermarks.map(|(i, w)| (format!("/thumbnails/watermarks/{i}"), &w.input));
        let sources = self.captions.iter().flat_map(|captions| &captions.sources);
        let sources = sources.enumerate();
        let sources = sources.map(|(i, s)| (format!("/captions/sources/{i}"), &s.input));
        watermarks.chain(sources).collect()
    }
}

impl PictureFormat {
    /// What names of such files end in.
    pub const fn extension(self) -> &'static str {
        match self {
            PictureFormat::Jpg => "jpg",
            PictureFormat::Png => "png",
            PictureFormat::Webp => "webp",
        }
    }

    /// Media type (RFC 2046, RFC 9649).
    pub const fn content_type(self) -> &'static str {
        match self {
            PictureFormat::Jpg => "image/jpeg",
            PictureFormat::Png => "image/png",
            PictureFormat::Webp => "image/webp",
        }
    }
}

impl CaptionFormat {
    /// What names of such files end in.
    pub const fn extension(self) -> &'static str {
        match self {
            CaptionFormat::Srt => "srt",
            CaptionFormat::Webvtt => "vtt",
            CaptionFormat::Ttml => "ttml",
        }
    }

    /// Media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            CaptionFormat::Srt => "application/x-subrip",
            CaptionFormat::Webvtt => "text/vtt; charset=utf-8",
            CaptionFormat::Ttml => "application/ttml+xml",
        }
    }
}

/// The longest that each word of a pattern becomes.
pub const LONGEST: [(&str, &str); 3] = [
    (COUNT, "00001"),
    (RESOLUTION, "4096x3072"),
    (LANGUAGE, "und"),
];

/// The object that a pattern names. `values`: what stands in the place of which word.
pub(super) fn expand(
    pattern: &str,
    values: &[(&str, &str)],
    extension: &str,
) -> Result<ObjectUrl, String> {
    let mut name = pattern.to_owned();
    for (word, value) in values {
        name = name.replace(word, value);
    }
    ObjectUrl::parse(&format!("{name}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_names() {
        let values = [(COUNT, "00001"), (RESOLUTION, "320x180")];
        let url = expand("s3://out/t/film-{resolution}-{count}", &values, "jpg").expect("a name");
        assert_eq!(url.to_string(), "s3://out/t/film-320x180-00001.jpg");
        let long = format!("s3://out/{}{{count}}", "x".repeat(1020));
        assert!(expand(&long, &values, "jpg").is_err());
    }
}
