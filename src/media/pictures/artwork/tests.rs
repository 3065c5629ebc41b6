//! Covers out of files that ffmpeg and lofty wrote.

use std::fs::File;
use std::io::Cursor;

use lofty::config::WriteOptions;
use lofty::picture::{MimeType, Picture};
use lofty::tag::{Tag, TagExt, TagType};

use super::*;
use crate::media::pictures::tests::{colours, encoded, ffmpeg, order, records};
use crate::media::pictures::{ImageForm, Record, Source};

const SOUND: [&str; 6] = [
    "-f",
    "lavfi",
    "-i",
    "sine=duration=0.2",
    "-map_metadata",
    "-1",
];

/// A sound file without covers.
fn sound(arguments: &str) -> Vec<u8> {
    ffmpeg(
        &SOUND
            .into_iter()
            .chain(arguments.split(' '))
            .collect::<Vec<_>>(),
    )
}

/// The same with these pictures in its tag.
fn tagged(sound: &[u8], kind: TagType, pictures: &[(PictureType, Vec<u8>)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound");
    std::fs::write(&path, sound).unwrap();
    let mut tag = Tag::new(kind);
    for (number, (kind, bytes)) in pictures.iter().enumerate() {
        let picture = Picture::unchecked(bytes.clone())
            .pic_type(*kind)
            .mime_type(MimeType::Png)
            .description(format!("{number}"));
        tag.push_picture(picture.build());
    }
    let mut file = File::options().read(true).write(true).open(&path).unwrap();
    tag.save_to(&mut file, WriteOptions::default()).unwrap();
    std::fs::read(&path).unwrap()
}

fn found(bytes: &[u8], form: AudioForm) -> Result<Vec<Vec<u8>>> {
    covers(&mut Cursor::new(bytes), form)
}

fn png(side: u32) -> Vec<u8> {
    encoded(&colours(side, side), ImageForm::Png)
}

#[test]
fn the_cover_that_ffmpeg_put_in_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let (cover, path) = (folder.path().join("cover.png"), folder.path().join("sound"));
    std::fs::write(&cover, png(40)).unwrap();
    for (container, codec, form) in [
        ("mp3", "libmp3lame", AudioForm::Mp3),
        ("ipod", "aac", AudioForm::Mp4),
        ("flac", "flac", AudioForm::Flac),
    ] {
        let sound = [
            "-f",
            "lavfi",
            "-i",
            "sine=duration=0.2",
            "-i",
            cover.to_str().unwrap(),
        ];
        let rest = [
            "-map",
            "0",
            "-map",
            "1",
            "-c:v",
            "copy",
            "-disposition:v",
            "attached_pic",
        ];
        let to = ["-c:a", codec, "-f", container, "-y", path.to_str().unwrap()];
        ffmpeg(&[&sound[..], &rest, &to].concat());
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(found(&bytes, form).unwrap(), [png(40)], "{container}");
    }
}

#[test]
fn front_covers_come_first_and_the_others_as_they_stand() {
    use PictureType::{CoverBack, CoverFront, Other};
    let pictures = [
        (CoverBack, png(8)),
        (CoverFront, png(9)),
        (Other, png(10)),
        (CoverFront, png(11)),
    ];
    let expected = [9, 11, 8, 10].map(png);
    for (arguments, tag, form) in [
        ("-f mp3", TagType::Id3v2, AudioForm::Mp3),
        ("-f flac", TagType::VorbisComments, AudioForm::Flac),
        (
            "-c:a libvorbis -f ogg",
            TagType::VorbisComments,
            AudioForm::Ogg,
        ),
        (
            "-c:a libopus -f ogg",
            TagType::VorbisComments,
            AudioForm::Ogg,
        ),
    ] {
        let bytes = tagged(&sound(arguments), tag, &pictures);
        assert_eq!(found(&bytes, form).unwrap(), expected, "{arguments}");
    }
}

#[test]
fn twenty_pictures_pass_and_twenty_one_do_not() {
    let sound = sound("-f flac");
    let with = |count| {
        let pictures = vec![(PictureType::Other, png(8)); count];
        found(
            &tagged(&sound, TagType::VorbisComments, &pictures),
            AudioForm::Flac,
        )
    };
    assert_eq!(with(20).unwrap().len(), 20);
    assert_eq!(
        with(21).unwrap_err().what,
        "the audio file has more than 20 pictures"
    );
}

#[test]
fn a_cover_larger_than_the_allocation_limit_by_default_comes_out() {
    let large = vec![7; 20 << 20];
    let pictures = [(PictureType::CoverFront, large.clone())];
    let bytes = tagged(&sound("-f mp3"), TagType::Id3v2, &pictures);
    assert!(found(&bytes, AudioForm::Mp3).unwrap() == [large]);
}

#[test]
fn a_file_without_covers_has_none_and_one_of_another_kind_is_refused() {
    assert!(
        found(&sound("-f flac"), AudioForm::Flac)
            .unwrap()
            .is_empty()
    );
    assert!(found(&sound("-f flac"), AudioForm::Ogg).is_err());
    assert!(found(b"", AudioForm::Ogg).is_err());
}

#[test]
fn broken_files_never_panic() {
    let pictures = [(PictureType::CoverFront, png(8))];
    for (arguments, tag, form) in [
        ("-f mp3", TagType::Id3v2, AudioForm::Mp3),
        (
            "-f ipod -movflags empty_moov",
            TagType::Mp4Ilst,
            AudioForm::Mp4,
        ),
        ("-f flac", TagType::VorbisComments, AudioForm::Flac),
        (
            "-c:a libopus -f ogg",
            TagType::VorbisComments,
            AudioForm::Ogg,
        ),
    ] {
        let whole = tagged(&sound(arguments), tag, &pictures);
        let mut state = 1u64;
        let mut below = |most: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % most
        };
        for _ in 0..500 {
            let mut bytes = whole.clone();
            for _ in 0..=below(6) {
                let place = below(whole.len().min(2_000));
                bytes[place] ^= [1 << below(8), 0xff][below(2)];
            }
            if below(3) == 0 {
                bytes.truncate(below(whole.len()));
            }
            let _ = found(&bytes, form);
        }
    }
}

#[test]
fn a_bad_cover_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sound.flac");
    let path_text = path.to_str().unwrap();
    ffmpeg(&["-f", "lavfi", "-i", "sine=duration=0.1", "-y", path_text]);
    let png = |width, height| encoded(&colours(width, height), ImageForm::Png);
    let covers = [
        b"<svg/>".to_vec(),
        png(4097, 1),
        png(4096, 1),
        png(1, 3073),
        png(90, 90),
    ];
    let mut tag = Tag::new(TagType::VorbisComments);
    for cover in covers {
        tag.push_picture(Picture::unchecked(cover).build());
    }
    tag.save_to_path(&path, WriteOptions::default()).unwrap();
    let file = std::fs::read(&path).unwrap();
    let order = order(Source::Artwork {
        file: 0,
        form: AudioForm::Flac,
    });
    let summary = |record: Record| match record {
        Record::Picture(made) => format!("{}x{}", made.width, made.height),
        Record::Skipped { number, why } => format!("{number}: {why}"),
        record => format!("{record:?}"),
    };
    let found: Vec<_> = records(&order, b"", &[file])
        .into_iter()
        .map(summary)
        .collect();
    let large = "the picture is larger than 4096x3072";
    assert_eq!(
        found,
        [
            "1: the picture is neither JPEG, PNG, WebP nor GIF",
            &format!("2: {large}"),
            "64x1",
            &format!("4: {large}"),
            "64x64",
            "End",
        ]
    );
}
