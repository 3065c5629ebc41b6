//! Companions: `thumbnails`, `captions` and `artwork`.
//!
//! Their values come in, [`Thumbnails`], [`Captions`] and [`Artwork`] go out. The rules between
//! their fields stand here: what a pattern must hold, which moments can be asked for, and that no
//! two of them write the same names.

use super::encryption::{self, End};
use super::objects::{self, Taken};
use super::walk::{Fields, Spot};
use crate::fault::Code;
use crate::job::companions::{
    Artwork, COUNT, CaptionFormat, CaptionOutput, CaptionSource, Captions, Delivery, LANGUAGE,
    LONGEST, MergePolicy, RESOLUTION, Thumbnails, Times, Watermark, expand,
};
use crate::job::offset::offset_ms;
use crate::job::picture::{
    Extent, HorizontalAlign, Padding, Picture, PictureFormat, Placement, Sizing, Target,
    VerticalAlign, WatermarkSizing,
};
use crate::job::{ObjectUrl, limits};

/// The three of a job.
pub(super) type Companions = (Option<Thumbnails>, Option<Captions>, Option<Artwork>);

/// Reads all of them.
pub(super) fn companions(f: &mut Fields<'_, '_>, taken: &mut Taken) -> Companions {
    let mut names = Vec::new();
    let thumbnails = f.optional("thumbnails", |s| thumbnails(s, taken, &mut names));
    let captions = f.optional("captions", |s| captions(s, taken, &mut names));
    let artwork = f.optional("artwork", |s| artwork(s, taken, &mut names));
    (thumbnails, captions, artwork)
}

fn thumbnails(spot: &Spot<'_>, taken: &Taken, names: &mut Vec<String>) -> Option<Thumbnails> {
    spot.object(|f| {
        let picture = picture(f, (1920, 1080));
        let extension = picture.as_ref().map_or("", |p| p.format.extension());
        let url_pattern = f.required("url_pattern", |s| {
            pattern(
                s,
                Some(COUNT),
                &[COUNT, RESOLUTION],
                extension,
                taken,
                names,
            )
        });
        let times = times(f);
        let watermarks = f.optional("watermarks", |s| {
            let items = s.items(limits::WATERMARKS)?;
            let read = items.iter().map(watermark);
            read.collect::<Vec<_>>().into_iter().collect()
        });
        let delivery = delivery(f, is_file(&url_pattern));
        Some(Thumbnails {
            url_pattern: url_pattern?,
            picture: picture?,
            times,
            watermarks: watermarks.unwrap_or_default(),
            delivery,
        })
    })
}

fn captions(spot: &Spot<'_>, taken: &Taken, names: &mut Vec<String>) -> Option<Captions> {
    spot.object(|f| {
        let sources = f.optional("sources", |s| {
            let items = s.items(limits::CAPTION_SOURCES)?;
            let read = items.iter().map(caption_source);
            let read: Option<Vec<_>> = read.collect::<Vec<_>>().into_iter().collect();
            one_for_each_language(&items, read?)
        });
        let merge = f.optional("merge", |s| {
            s.choice(&[
                ("merge", MergePolicy::Merge),
                ("retain", MergePolicy::Retain),
                ("override", MergePolicy::Override),
            ])
        });
        let outputs = f.required("outputs", |s| {
            let items = s.items(limits::CAPTION_OUTPUTS)?;
            let read = items.iter().map(|item| caption_output(item, taken, names));
            read.collect::<Vec<_>>().into_iter().collect()
        });
        Some(Captions {
            sources: sources.unwrap_or_default(),
            merge: merge.unwrap_or_default(),
            outputs: outputs?,
        })
    })
}

fn artwork(spot: &Spot<'_>, taken: &Taken, names: &mut Vec<String>) -> Option<Artwork> {
    spot.object(|f| {
        let picture = picture(f, (600, 600));
        let extension = picture.as_ref().map_or("", |p| p.format.extension());
        let url_pattern = f.required("url_pattern", |s| {
            pattern(s, None, &[COUNT, RESOLUTION], extension, taken, names)
        });
        let delivery = delivery(f, is_file(&url_pattern));
        Some(Artwork {
            url_pattern: url_pattern?,
            picture: picture?,
            delivery,
        })
    })
}

/// A pattern that names objects: it holds `needed`, and nothing in braces but `words`.
fn pattern(
    spot: &Spot<'_>,
    needed: Option<&str>,
    words: &[&str],
    extension: &str,
    taken: &Taken,
    names: &mut Vec<String>,
) -> Option<String> {
    let text = spot.text(limits::URL_BYTES)?;
    if let Some(needed) = needed.filter(|needed| !text.contains(needed)) {
        return spot.refuse(Code::InvalidValue, format!("must hold {needed}"));
    }
    let bucket = text
        .strip_prefix("s3://")
        .and_then(|rest| rest.split('/').next());
    if bucket.is_some_and(|bucket| bucket.contains('{')) {
        return spot.refuse(Code::InvalidValue, "a bucket has no words in braces");
    }
    let plain = words
        .iter()
        .fold(text.to_owned(), |t, word| t.replace(word, ""));
    if plain.contains(['{', '}']) {
        let message = format!("may hold {} and no other word in braces", words.join(", "));
        return spot.refuse(Code::InvalidValue, message);
    }
    let url = match expand(text, &LONGEST, extension) {
        Ok(url) => url,
        Err(message) => return spot.refuse(Code::InvalidValue, message),
    };
    let name = format!("{text}.{extension}");
    if taken.has(&url) {
        return spot.refuse(Code::InvalidValue, "would overwrite the input or an output");
    }
    if names.contains(&name) {
        return spot.refuse(Code::InvalidValue, "other companions have these names");
    }
    names.push(name);
    Some(text.into())
}

fn is_file(pattern: &Option<String>) -> bool {
    pattern
        .as_ref()
        .is_some_and(|text| text.starts_with("file://"))
}

fn picture(f: &mut Fields<'_, '_>, (width, height): (u32, u32)) -> Option<Picture> {
    let format = f.optional("format", |s| {
        s.choice(&[
            ("jpg", PictureFormat::Jpg),
            ("png", PictureFormat::Png),
            ("webp", PictureFormat::Webp),
        ])
    });
    if format == Some(PictureFormat::Png) {
        f.forbidden("quality", Code::InvalidValue, "png loses nothing");
    }
    let quality = f.optional("quality", |s| s.integer_within(1, 100));
    let max_width = f.optional("max_width", |s| s.integer_within(32, limits::PICTURE_WIDTH));
    let max_height = f.optional("max_height", |s| {
        s.integer_within(32, limits::PICTURE_HEIGHT)
    });
    let sizing = f.optional("sizing", |s| {
        s.choice(&[
            ("fit", Sizing::Fit),
            ("fill", Sizing::Fill),
            ("stretch", Sizing::Stretch),
            ("keep", Sizing::Keep),
            ("shrink_to_fit", Sizing::ShrinkToFit),
            ("shrink_to_fill", Sizing::ShrinkToFill),
        ])
    });
    let padding = f.optional("padding", |s| {
        s.choice(&[("no_pad", Padding::NoPad), ("pad", Padding::Pad)])
    });
    Some(Picture {
        format: format.unwrap_or_default(),
        quality: quality.and_then(|quality| u8::try_from(quality).ok()),
        max_width: max_width.map_or(width, |pixels| pixels as u32),
        max_height: max_height.map_or(height, |pixels| pixels as u32),
        sizing: sizing.unwrap_or_default(),
        padding: padding.unwrap_or_default(),
    })
}

/// At most one of the three ways to say when.
fn times(f: &mut Fields<'_, '_>) -> Times {
    let ways = ["interval_seconds", "at_seconds", "count"];
    let given: Vec<_> = ways.into_iter().filter(|name| f.has(name)).collect();
    if let [first, second, ..] = given.as_slice() {
        let message = format!("goes without {first}");
        f.refuse::<()>(second, Code::InvalidValue, message);
    }
    let interval_seconds = f.optional("interval_seconds", |s| s.number_within(0.1, 99_999.0));
    let at_seconds = f.optional("at_seconds", |s| {
        let items = s.items(limits::THUMBNAILS)?;
        let read = items.iter().map(|item| item.number_within(0.0, 999_999.0));
        let times: Vec<f64> = read
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Option<_>>()?;
        if times.is_sorted_by(|a, b| a < b) {
            return Some(times);
        }
        s.refuse(
            Code::InvalidValue,
            "each time must be later than the one before",
        )
    });
    let most = limits::THUMBNAILS as u64;
    let count = f.optional("count", |s| s.integer_within(1, most));
    Times {
        interval_seconds,
        at_seconds: at_seconds.unwrap_or_default(),
        count: count.map(|count| count as u32),
    }
}

fn watermark(spot: &Spot<'_>) -> Option<Watermark> {
    spot.object(|f| {
        let input = objects::input_fields(f);
        let placement = placement(f);
        Some(Watermark {
            input: input?,
            placement: placement?,
        })
    })
}

fn placement(f: &mut Fields<'_, '_>) -> Option<Placement> {
    let max_width = f.required("max_width", extent_of_something);
    let max_height = f.required("max_height", extent_of_something);
    let sizing = f.optional("sizing", |s| {
        s.choice(&[
            ("fit", WatermarkSizing::Fit),
            ("stretch", WatermarkSizing::Stretch),
            ("shrink_to_fit", WatermarkSizing::ShrinkToFit),
        ])
    });
    let horizontal_align = f.optional("horizontal_align", |s| {
        s.choice(&[
            ("left", HorizontalAlign::Left),
            ("right", HorizontalAlign::Right),
            ("center", HorizontalAlign::Center),
        ])
    });
    let horizontal_offset = f.optional("horizontal_offset", extent);
    let vertical_align = f.optional("vertical_align", |s| {
        s.choice(&[
            ("top", VerticalAlign::Top),
            ("bottom", VerticalAlign::Bottom),
            ("center", VerticalAlign::Center),
        ])
    });
    let vertical_offset = f.optional("vertical_offset", extent);
    let opacity = f.optional("opacity", |s| s.number_within(0.0, 100.0));
    let target = f.optional("target", |s| {
        s.choice(&[("content", Target::Content), ("frame", Target::Frame)])
    });
    Some(Placement {
        max_width: max_width?,
        max_height: max_height?,
        sizing: sizing.unwrap_or_default(),
        horizontal_align: horizontal_align.unwrap_or_default(),
        horizontal_offset: horizontal_offset.unwrap_or_default(),
        vertical_align: vertical_align.unwrap_or_default(),
        vertical_offset: vertical_offset.unwrap_or_default(),
        opacity: opacity.unwrap_or(100.0),
        target: target.unwrap_or_default(),
    })
}

fn extent(spot: &Spot<'_>) -> Option<Extent> {
    let text = spot.text(limits::EXTENT_BYTES)?;
    match Extent::parse(text) {
        Some(extent) => Some(extent),
        None => spot.refuse(
            Code::InvalidValue,
            "expected pixels (16px) or percent (12.5%)",
        ),
    }
}

/// Elastic Transcoder's least is 16 pixels.
fn extent_of_something(spot: &Spot<'_>) -> Option<Extent> {
    match extent(spot)? {
        Extent::Pixels(pixels) if pixels < 16 => {
            spot.refuse(Code::InvalidValue, "must be at least 16px")
        }
        Extent::Percent(percent) if percent <= 0.0 => {
            spot.refuse(Code::InvalidValue, "must be more than 0%")
        }
        extent => Some(extent),
    }
}

fn caption_source(spot: &Spot<'_>) -> Option<CaptionSource> {
    spot.object(|f| {
        let input = objects::input_fields(f);
        let language = f.required("language", |s| {
            let what = "two letters of ISO 639-1 or three of ISO 639-2";
            let text = s.word(3, what, |c| c.is_ascii_alphabetic())?;
            match text.len() {
                1 => s.refuse(Code::InvalidValue, format!("expected {what}")),
                _ => Some(text.to_ascii_lowercase()),
            }
        });
        let time_offset = f.optional("time_offset", |s| {
            let text = s.text(limits::TIME_OFFSET_BYTES)?;
            match offset_ms(text) {
                Some(_) => Some(text.to_owned()),
                None => s.refuse(
                    Code::InvalidValue,
                    "expected [+-]SS.sss or [+-]HH:mm:SS.sss",
                ),
            }
        });
        let label = f.optional("label", |s| {
            let text = s.text(4 * limits::CAPTION_LABEL_CHARS)?;
            if text.chars().count() > limits::CAPTION_LABEL_CHARS {
                return s.refuse(Code::LimitExceeded, "more than 40 characters");
            }
            Some(text.to_owned())
        });
        Some(CaptionSource {
            input: input?,
            language: language?,
            time_offset,
            label,
        })
    })
}

fn one_for_each_language(
    items: &[Spot<'_>],
    sources: Vec<CaptionSource>,
) -> Option<Vec<CaptionSource>> {
    for (index, source) in sources.iter().enumerate() {
        let twin = |other: &CaptionSource| other.language == source.language;
        if sources[..index].iter().any(twin) {
            let message = "another source has this language";
            return items[index].refuse(Code::InvalidValue, message);
        }
    }
    Some(sources)
}

fn caption_output(
    spot: &Spot<'_>,
    taken: &Taken,
    names: &mut Vec<String>,
) -> Option<CaptionOutput> {
    spot.object(|f| {
        let format = f.required("format", |s| {
            s.choice(&[
                ("srt", CaptionFormat::Srt),
                ("webvtt", CaptionFormat::Webvtt),
                ("ttml", CaptionFormat::Ttml),
            ])
        });
        let extension = format.map_or("", CaptionFormat::extension);
        let url_pattern = f.required("url_pattern", |s| {
            pattern(s, Some(LANGUAGE), &[LANGUAGE], extension, taken, names)
        });
        let delivery = delivery(f, is_file(&url_pattern));
        Some(CaptionOutput {
            url_pattern: url_pattern?,
            format: format?,
            delivery,
        })
    })
}

fn delivery(f: &mut Fields<'_, '_>, file: bool) -> Delivery {
    let encryption = f.optional("encryption", |s| encryption::encryption(s, End::Companion));
    let storage = f.optional("storage", |s| objects::storage(s, file));
    let rules = objects::rules(f);
    Delivery {
        encryption,
        storage: storage.unwrap_or_default(),
        if_exists: rules.if_exists,
        required: rules.required,
        checksum: rules.checksum,
    }
}

impl Taken {
    fn has(&self, url: &ObjectUrl) -> bool {
        self.input.as_ref() == Some(url) || self.outputs.contains(url)
    }
}
