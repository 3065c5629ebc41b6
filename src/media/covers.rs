//! Covers: artwork taken out of sound, asked of the helper.
//!
//! A plaintext comes in, finished pictures go out. What is in memory the helper reads itself; what
//! is too large for that ffmpeg looks through, and the helper gets the covers alone.

use ciphermill_formats::FileType;

use super::film::{self, Film, Plaintext};
use super::images::{Files, MadePicture, image_form, picture};
use super::pictures::{AudioForm, Caps, MOST_COVERS, Made, Source};
use super::sandbox::{self, Memory};
use super::{Media, Tools, unreadable};
use crate::fault::{Code, Result};
use crate::job::Artwork;
use crate::job::companions::COUNT;

/// Bars, and what shows through (Elastic Transcoder).
const WHITE: [u8; 3] = [255; 3];

impl Media {
    /// Takes the covers out of an audio file: all of them where the pattern counts, else the first.
    pub async fn artwork(
        &self,
        plaintext: &Plaintext,
        asked: &Artwork,
        most_bytes: u64,
    ) -> Result<Vec<MadePicture>> {
        let tools = self.tools().await?;
        let sniffed = super::form_of(plaintext).await?;
        let Some(form) = audio_form(sniffed) else {
            return Err(unreadable(
                "covers are taken from MP3, M4A, FLAC and Ogg files only",
            ));
        };
        let mut made = match plaintext {
            Plaintext::Memory(_) => {
                let mut files = Files::default();
                let file = files.add_plaintext(plaintext)?;
                let source = Source::Artwork { file, form };
                self.cover(tools, asked, source, (files, most_bytes))
                    .await?
            }
            _ => {
                let plaintext = plaintext.clone();
                let film = Film {
                    form: sniffed,
                    plaintext,
                };
                self.covers_of_large(tools, &film, asked, most_bytes)
                    .await?
            }
        };
        if !asked.url_pattern.contains(COUNT) {
            made.truncate(1);
        }
        if made.is_empty() {
            return Err(unreadable("there is no cover in it"));
        }
        Ok(made.into_iter().map(|made| picture(made, None)).collect())
    }

    async fn cover(
        &self,
        tools: &Tools,
        asked: &Artwork,
        source: Source,
        (files, most_bytes): (Files, u64),
    ) -> Result<Vec<Made>> {
        let order = self.order(source, &asked.picture, WHITE, Vec::new());
        let caps = Caps::of(&order, most_bytes);
        self.paint(tools, order, files, caps).await
    }

    /// The covers of sound that is too large to be kept in memory: ffmpeg finds them, as they stand.
    async fn covers_of_large(
        &self,
        tools: &Tools,
        film: &Film,
        asked: &Artwork,
        most_bytes: u64,
    ) -> Result<Vec<Made>> {
        let mut facts = film::probe(tools, film, &self.film_limits()).await?;
        facts.pictures.sort_by_key(|picture| !picture.front);
        let mut made: Vec<Made> = Vec::new();
        for picture in facts.pictures.iter().take(MOST_COVERS) {
            let so_far: usize = made.iter().map(|made| made.bytes.len()).sum();
            let most_bytes = most_bytes.saturating_sub(so_far as u64);
            let words = format!(
                "-map 0:{} -c copy -frames:v 1 -f image2pipe pipe:1",
                picture.stream
            );
            let mut args = sandbox::arguments(film.form, film.input());
            args.extend(words.split(' ').map(str::to_owned));
            let limits = self.ffmpeg_limits();
            let cover = film::output(tools, film, &tools.ffmpeg, args, limits).await?;
            let Some(form) = FileType::sniff(&cover).and_then(image_form) else {
                continue;
            };
            let mut files = Files::default();
            let file = files.add(Memory::of(&cover)?.into_fd());
            drop(cover);
            let source = Source::Image { file, form };
            match self.cover(tools, asked, source, (files, most_bytes)).await {
                Ok(cover) => made.extend(cover),
                // There may be another.
                Err(fault) if fault.code == Code::MediaUnreadable => continue,
                Err(fault) => return Err(fault),
            }
            if !asked.url_pattern.contains(COUNT) {
                break;
            }
        }
        Ok(made)
    }
}

fn audio_form(form: FileType) -> Option<AudioForm> {
    match form {
        FileType::Mp3 => Some(AudioForm::Mp3),
        FileType::Mov => Some(AudioForm::Mp4),
        FileType::Flac => Some(AudioForm::Flac),
        FileType::Ogg => Some(AudioForm::Ogg),
        _ => None,
    }
}
