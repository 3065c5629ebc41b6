//! Picture: how a thumbnail or a cover is to look, and where watermarks stand on it.
//!
//! The words and their meaning are Elastic Transcoder's (presets: Thumbnails, Watermarks; album
//! art). They come in with a message, checked; they go out to `media`, and as JSON to its helper
//! process.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a picture is to look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    /// What it is written as.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub format: PictureFormat,
    /// 1 to 100, for `jpg` and `webp`; `png` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub quality: Option<u8>,
    /// Most pixels across; 32 to 4096.
    #[serde(default = "most_width")]
    #[schemars(range(min = 32, max = 4096))]
    pub max_width: u32,
    /// Most pixels down; 32 to 3072.
    #[serde(default = "most_height")]
    #[schemars(range(min = 32, max = 3072))]
    pub max_height: u32,
    /// How it is made to fit.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub sizing: Sizing,
    /// Whether bars fill it up to the largest size.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub padding: Padding,
}

fn most_width() -> u32 {
    1920
}

fn most_height() -> u32 {
    1080
}

fn opaque() -> f64 {
    100.0
}

/// What a picture is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PictureFormat {
    /// Baseline JPEG.
    #[default]
    Jpg,
    /// PNG, 8 bits a channel.
    Png,
    /// WebP, lossy.
    Webp,
}

/// How a picture is made to fit its largest size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sizing {
    /// Scaled, up or down, until one side is at its most and the other not above.
    #[default]
    Fit,
    /// Scaled until one side is at its most and the other at least there, then cut at the middle.
    Fill,
    /// Both sides at their most, whatever the shape.
    Stretch,
    /// Not scaled; what is larger is cut at the middle.
    Keep,
    /// `fit`, but never larger than it is.
    ShrinkToFit,
    /// `fill`, but never larger than it is.
    ShrinkToFill,
}

/// Whether bars fill a picture up to its largest size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// No bars: the picture may be smaller.
    #[default]
    NoPad,
    /// Bars, black on thumbnails and white on artwork.
    Pad,
}

/// Where a watermark stands, and how large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// Its most pixels across (`120px`, at least 16), or percent of what it stands on (`10%`).
    pub max_width: Extent,
    /// Its most pixels down, or percent.
    pub max_height: Extent,
    /// How it is made to fit that.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub sizing: WatermarkSizing,
    /// From which side it is placed.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub horizontal_align: HorizontalAlign,
    /// How far from that side; with `center`, how far right of the middle.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub horizontal_offset: Extent,
    /// From which side it is placed.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub vertical_align: VerticalAlign,
    /// How far from that side; with `center`, how far below the middle.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub vertical_offset: Extent,
    /// 0 (not to be seen) to 100 (opaque, as far as the watermark itself is).
    #[serde(default = "opaque")]
    #[schemars(range(min = 0, max = 100))]
    pub opacity: f64,
    /// What it stands on.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub target: Target,
}

/// How a watermark is made to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WatermarkSizing {
    /// One side at its most, the other not above.
    #[default]
    Fit,
    /// Both sides at their most.
    Stretch,
    /// `fit`, but never larger than it is.
    ShrinkToFit,
}

/// From which side a watermark is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HorizontalAlign {
    /// From the left.
    Left,
    /// From the right.
    #[default]
    Right,
    /// From the middle.
    Center,
}

/// From which side a watermark is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerticalAlign {
    /// From the top.
    Top,
    /// From the bottom.
    #[default]
    Bottom,
    /// From the middle.
    Center,
}

/// What a watermark stands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The picture itself, without bars.
    #[default]
    Content,
    /// The whole frame, bars included.
    Frame,
}

/// A length: pixels, or percent of what it is measured against. In JSON `"16px"` or `"12.5%"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent {
    /// Whole pixels, up to 9999.
    Pixels(u32),
    /// Percent, 0 to 100, up to five digits after the point.
    Percent(f64),
}

impl Default for Extent {
    fn default() -> Self {
        Extent::Pixels(0)
    }
}

impl Extent {
    /// Reads `16px` or `12.5%`, as Elastic Transcoder writes them.
    pub fn parse(text: &str) -> Option<Extent> {
        let digits = |text: &str, most| {
            (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
        };
        if let Some(pixels) = text.strip_suffix("px") {
            let pixels = digits(pixels, 4).then(|| pixels.parse().ok())??;
            return Some(Extent::Pixels(pixels));
        }
        let percent = text.strip_suffix('%')?;
        let (whole, fraction) = percent.split_once('.').unwrap_or((percent, ""));
        let well_formed = digits(whole, 3) && (fraction.is_empty() || digits(fraction, 5));
        let percent: f64 = well_formed.then(|| percent.parse().ok())??;
        (percent <= 100.0).then_some(Extent::Percent(percent))
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Extent::Pixels(pixels) => write!(f, "{pixels}px"),
            Extent::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Extent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Extent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Extent::parse(&text).ok_or_else(|| serde::de::Error::custom("neither pixels nor percent"))
    }
}

impl JsonSchema for Extent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Extent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(\d{1,3}(\.\d{0,5})?%|\d{1,4}px)$" })
    }
}
