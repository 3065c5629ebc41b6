//! Companions: the thumbnails, captions and artwork of one job.
//!
//! The plaintext comes in as it passes by ([`feed`]), or is read a second time; finished companions
//! come back from `media` and are sealed, staged and published like outputs ([`stage`]), after the
//! whole input was verified. One that is not required costs nothing but itself (P12).

mod feed;
mod inputs;
mod stage;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

pub(super) use self::feed::{Feed, Tap};
pub(super) use self::inputs::Inputs;
pub(super) use self::stage::{StagedCompanion, publish};

use super::{Begun, Pipeline};
use crate::buffers::Pool;
use crate::fault::{Class, Code, Fault, Result};
use crate::job::companions::{COUNT, Family, LANGUAGE, RESOLUTION};
use crate::job::event::{About, CaptionSourceResult, CompanionKind};
use crate::job::{Job, ObjectUrl, Placement, Thumbnails};
use crate::media::{self, MadePicture, MadePictures};
use crate::plan::beside::{HEAD_BYTES, needs_plaintext};

/// What the event says of one companion besides its encryption, about.
const TOLD_BYTES: usize = 1024;
/// What it may say of all of them: brokers take 16 MiB, and the ledger holds it twice.
const MOST_TOLD_BYTES: usize = 8 << 20;

/// What was made of a job's companions.
#[derive(Default)]
pub(super) struct Made {
    pub objects: Vec<Object>,
    /// Those that were not required and failed: which of the job's families, and why.
    pub failed: Vec<(usize, Fault)>,
    pub caption_sources: Vec<CaptionSourceResult>,
}

/// One companion in the clear.
pub(super) struct Object {
    /// Which of the job's families it belongs to.
    pub family: usize,
    pub url: ObjectUrl,
    pub about: About,
    pub bytes: Vec<u8>,
}

impl Pipeline {
    /// Makes every companion of the job; the plaintext comes through the feed.
    pub(super) async fn make_companions(
        &self,
        job: &Job,
        begun: &Begun,
        mut feed: Feed,
    ) -> Result<Made> {
        let mut made = Made::default();
        let families = job.families();
        let until = Instant::now() + self.media.limit();
        for kind in [
            CompanionKind::Thumbnail,
            CompanionKind::Caption,
            CompanionKind::Artwork,
        ] {
            let of_kind = || families.iter().filter(|family| family.kind == kind);
            if of_kind().next().is_none() {
                continue;
            }
            let before = made.objects.len();
            let result = match kind {
                CompanionKind::Thumbnail => {
                    let thumbnails = self.thumbnails(job, begun, &mut feed, &mut made);
                    let thumbnails = in_time(until, thumbnails).await;
                    // What nobody took must not hold the transfer up.
                    drop(feed.take_stream());
                    thumbnails
                }
                CompanionKind::Caption => {
                    let captions = self.captions(job, begun, (&mut feed, until), &mut made);
                    captions.await
                }
                CompanionKind::Artwork => {
                    in_time(until, self.artwork(job, &mut feed, &mut made)).await
                }
            };
            let result = result.and_then(|()| {
                self.check_room(job, &made)?;
                refuse_twins(&made.objects, job)
            });
            let Err(fault) = result else { continue };
            let required = of_kind().any(|family| family.delivery.required);
            if required || !is_its_own(&fault) {
                return Err(fault.at(of_kind().next().map(Family::pointer).unwrap_or_default()));
            }
            made.objects.truncate(before);
            let failed = families.iter().enumerate();
            let failed = failed.filter(|(_, family)| family.kind == kind);
            made.failed
                .extend(failed.map(|(index, _)| (index, fault.clone())));
        }
        Ok(made)
    }

    async fn thumbnails(
        &self,
        job: &Job,
        begun: &Begun,
        feed: &mut Feed,
        made: &mut Made,
    ) -> Result<()> {
        let Some(asked) = &job.thumbnails else {
            return Ok(());
        };
        let mut watermarks = Vec::with_capacity(asked.watermarks.len());
        for (index, watermark) in asked.watermarks.iter().enumerate() {
            let bytes = self.read_input(job, begun, index).await?;
            watermarks.push((bytes, watermark.placement.clone()));
        }
        let made_pictures = self.film_or_picture(asked, &watermarks, feed).await;
        let made_pictures = made_pictures.map_err(|fault| feed.told(fault))?;
        for seconds in made_pictures.missing_seconds {
            let message = format!("the film has no frame at {seconds} seconds");
            let fault = Fault::new(Code::MediaUnreadable, message);
            made.failed.push((0, fault.at("/thumbnails/at_seconds")));
        }
        let pictures = made_pictures.pictures;
        self.add_pictures(job, CompanionKind::Thumbnail, pictures, made)
    }

    /// Thumbnails of what passes by, if it does. An index can be longer than the first bytes that
    /// tell of it: what could not be read like that is read again.
    async fn film_or_picture(
        &self,
        asked: &Thumbnails,
        watermarks: &[(Bytes, Placement)],
        feed: &mut Feed,
    ) -> Result<MadePictures> {
        let most_bytes = self.limits.media.output_bytes as u64;
        let make = |film| {
            let media = &self.media;
            media.thumbnails(film, asked, watermarks.to_vec(), most_bytes)
        };
        let Some((stream, head)) = feed.take_stream() else {
            return make((feed.plaintext().await?, None)).await;
        };
        let unread = match make((stream, Some(head))).await {
            Err(fault) if fault.code == Code::MediaUnreadable => fault,
            made => return made,
        };
        match make((feed.plaintext().await?, None)).await {
            // Ranges are not served with every protection.
            Err(fault) if fault.code == Code::MediaUnavailable => Err(unread),
            made => made,
        }
    }

    async fn artwork(&self, job: &Job, feed: &mut Feed, made: &mut Made) -> Result<()> {
        let Some(asked) = &job.artwork else {
            return Ok(());
        };
        let plaintext = feed.plaintext().await?;
        let most_bytes = self.limits.media.output_bytes as u64;
        let pictures = self.media.artwork(&plaintext, asked, most_bytes).await;
        let pictures = pictures.map_err(|fault| feed.told(fault))?;
        self.add_pictures(job, CompanionKind::Artwork, pictures, made)
    }

    async fn captions(
        &self,
        job: &Job,
        begun: &Begun,
        (feed, until): (&mut Feed, Instant),
        made: &mut Made,
    ) -> Result<()> {
        let Some(asked) = &job.captions else {
            return Ok(());
        };
        let first = job.thumbnails.as_ref().map_or(0, |t| t.watermarks.len());
        let mut sources = Vec::with_capacity(asked.sources.len());
        for index in 0..asked.sources.len() {
            sources.push(self.read_input(job, begun, first + index).await?);
        }
        let film = match asked.uses_film() {
            true => Some(feed.plaintext().await?),
            false => None,
        };
        let captions = self.media.captions(film.as_ref(), asked, sources, until);
        let captions = captions.await;
        let captions = captions.map_err(|fault| feed.told(fault))?;
        made.caption_sources = captions.sources;
        let families = job.families();
        for track in captions.tracks {
            let found = families.iter().enumerate().find(|(_, family)| {
                family.kind == CompanionKind::Caption && family.index == track.output
            });
            let Some((index, family)) = found else {
                continue;
            };
            made.objects.push(Object {
                family: index,
                url: family.url(&[(LANGUAGE, &track.language)])?,
                about: About {
                    kind: family.kind,
                    content_type: Some(family.content_type.into()),
                    language: Some(track.language),
                    label: track.label,
                    cues: Some(track.cues),
                    ..About::default()
                },
                bytes: track.text.into_bytes(),
            });
        }
        Ok(())
    }

    /// Names pictures by number and size.
    fn add_pictures(
        &self,
        job: &Job,
        kind: CompanionKind,
        pictures: Vec<MadePicture>,
        made: &mut Made,
    ) -> Result<()> {
        let families = job.families();
        let found = families.iter().enumerate().find(|(_, f)| f.kind == kind);
        let Some((index, family)) = found else {
            return Ok(());
        };
        for (number, picture) in pictures.into_iter().enumerate() {
            let count = format!("{:05}", number + 1);
            let resolution = format!("{}x{}", picture.width, picture.height);
            made.objects.push(Object {
                family: index,
                url: family.url(&[(COUNT, &count), (RESOLUTION, &resolution)])?,
                about: About {
                    kind,
                    content_type: Some(family.content_type.into()),
                    width: Some(picture.width),
                    height: Some(picture.height),
                    at_seconds: picture.at_seconds,
                    ..About::default()
                },
                bytes: picture.bytes,
            });
        }
        Ok(())
    }

    /// Everything is kept until the job publishes: it must fit what was reserved for it. And all of
    /// it stands in the event and in the ledger, each with its own encryption.
    fn check_room(&self, job: &Job, made: &Made) -> Result<()> {
        let families = job.families();
        let told = families.iter().map(|family| {
            let written = serde_json::to_vec(&family.delivery.encryption);
            TOLD_BYTES + written.map_or(0, |written| written.len())
        });
        let told: Vec<usize> = told.collect();
        let told = made
            .objects
            .iter()
            .filter_map(|object| told.get(object.family));
        let told: usize = told.sum();
        if told > MOST_TOLD_BYTES {
            let message = format!(
                "what is to be said of {} companions takes {told} bytes, the most are {MOST_TOLD_BYTES}",
                made.objects.len()
            );
            return Err(Fault::new(Code::MediaTooLarge, message));
        }
        let most = self.limits.media.output_bytes;
        let sealed = |object: &Object| Pool::cost_bytes(stage::buffer_bytes(object));
        let bytes: usize = made.objects.iter().map(sealed).sum();
        if bytes <= most {
            return Ok(());
        }
        let message = format!(
            "{} companions take {bytes} bytes of memory, `media.output_bytes` is {most}",
            made.objects.len()
        );
        Err(Fault::new(Code::MediaTooLarge, message))
    }

    /// How the plaintext comes to the parsers, and what takes it as it passes by.
    pub(super) async fn feed(&self, job: &Job, begun: &Begun) -> Result<(Feed, Option<Tap>)> {
        let Some(beside) = &begun.plan.beside else {
            return Ok((Feed::default(), None));
        };
        if !needs_plaintext(job) {
            return Ok((Feed::default(), None));
        }
        if beside.in_memory {
            let (tap, feed) = feed::in_memory();
            return Ok((feed, Some(tap)));
        }
        let ranges = feed::Ranges::open(
            Arc::clone(&self.engine),
            begun.source.clone(),
            Arc::clone(&begun.staged.decryptor),
            &begun.plan,
            Arc::clone(&begun.reservation),
        );
        let ranges = ranges.await?;
        let head = match job.thumbnails.as_ref().is_some_and(|t| t.times.are_dense()) {
            true => Some(ranges.head(HEAD_BYTES as u64).await?),
            false => None,
        };
        let mut feed = ranges.into_feed();
        let streams = head.filter(|head| media::streams(head));
        // One that cannot be made costs a second reading and nothing else.
        let tap = streams.and_then(|head| feed.also_streams(&head).ok());
        let streamed = tap.is_some();
        tracing::debug!(
            streamed,
            "the plaintext is too large to be kept for its parsers"
        );
        Ok((feed, tap))
    }
}

/// Whether a fault is the companion's own, and says nothing of the job or of what the worker needs.
fn is_its_own(fault: &Fault) -> bool {
    fault.class() == Class::Permanent || fault.code == Code::MediaUnavailable
}

/// Something with a companion to make, given up when its time is over.
async fn in_time(until: Instant, work: impl Future<Output = Result<()>>) -> Result<()> {
    let done = tokio::time::timeout_at(until.into(), work).await;
    let late = |_| {
        let message = "it was not done within `media.seconds`";
        Err(Fault::new(Code::MediaTimeout, message))
    };
    done.unwrap_or_else(late)
}

/// Where two companions of a job would have one name, or that of something else of the job's.
fn refuse_twins(objects: &[Object], job: &Job) -> Result<()> {
    let mut seen: HashSet<&ObjectUrl> = job.outputs.iter().map(|o| &o.url).collect();
    seen.insert(&job.input.url);
    seen.extend(job.beside_inputs().into_iter().map(|(_, input)| &input.url));
    for object in objects {
        if !seen.insert(&object.url) {
            let message = format!("{} is read or written by this job already", object.url);
            return Err(Fault::new(Code::InvalidValue, message));
        }
    }
    Ok(())
}
