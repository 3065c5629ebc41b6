//! What ffprobe may say, from sensible to hostile.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn matrix(cells: [i64; 4]) -> String {
    let [a, b, c, d] = cells;
    format!(
        "\n00000000: {a:12} {b:11} {:11}\n00000001: {c:12} {d:11} {:11}\n00000002: {:12} {:11} 1073741824\n",
        0, 0, 0, 0
    )
}

#[test]
fn the_default_video_is_taken_and_covers_never() {
    let value = json!({"streams": [
        {"index": 0, "codec_type": "video", "codec_name": "mjpeg", "width": 9, "height": 9,
         "disposition": {"default": 1, "attached_pic": 1}},
        {"index": 1, "codec_type": "video", "codec_name": "h264", "width": 8, "height": 6,
         "disposition": {"default": 0, "attached_pic": 0}},
        {"index": 2, "codec_type": "audio", "codec_name": "aac"},
        {"index": 3, "codec_type": "video", "codec_name": "vp9", "width": 720, "height": 576,
         "sample_aspect_ratio": "64:45", "avg_frame_rate": "30000/1001", "closed_captions": 1,
         "start_time": "1.500000", "duration": "8.5", "color_space": "bt709",
         "disposition": {"default": 1, "attached_pic": 0}},
        {"index": 4, "codec_type": "subtitle", "codec_name": "subrip",
         "tags": {"language": "deu", "title": " Lang\u{7}er Titel "}},
        {"index": 5, "codec_type": "subtitle"}
    ], "format": {"start_time": "1.0", "duration": 9.25}});
    let facts = read(&value, FileType::Matroska);
    let video = facts.video.as_ref().unwrap();
    assert_eq!((video.stream, video.codec.as_str()), (3, "vp9"));
    assert_eq!((video.start_seconds, video.end_seconds), (0.5, Some(9.0)));
    assert_eq!(video.upright(), (1024, 576));
    assert!((video.frame_rate.unwrap() - 29.97).abs() < 0.001);
    assert!(video.closed_captions && video.colours_tagged);
    assert_eq!((facts.audio, facts.duration_seconds), (1, Some(9.25)));
    assert_eq!(facts.pictures[0].stream, 0);
    assert_eq!(facts.subtitles[0].title.as_deref(), Some("Langer Titel"));
    assert_eq!(facts.subtitles[1].codec, "");
    assert!(!facts.is_audio_only());
}

#[test]
fn a_tag_tells_the_end_where_the_stream_does_not() {
    let value = json!({"streams": [{"index": 0, "codec_type": "video", "width": 2, "height": 2,
        "start_time": "0.023", "tags": {"DURATION": "01:00:08.023000000"}}],
        "format": {"start_time": "0.023", "duration": "9999"}});
    assert_eq!(
        read(&value, FileType::Matroska).video.unwrap().end_seconds,
        Some(3608.0)
    );
}

#[test]
fn fragments_have_no_end_that_can_be_trusted() {
    let mut value = json!({"streams": [{"index": 0, "codec_type": "video", "width": 2, "height": 2,
        "duration": "2.0"}], "format": {"duration": "2.0"}});
    assert_eq!(read(&value, FileType::Mov).video.unwrap().end_seconds, None);
    assert_eq!(
        read(&value, FileType::MpegTs).video.unwrap().end_seconds,
        Some(2.0)
    );
    value["streams"][0]["nb_frames"] = json!("50");
    assert_eq!(
        read(&value, FileType::Mov).video.unwrap().end_seconds,
        Some(2.0)
    );
}

#[test]
fn display_matrices_are_the_eight_ways_to_look_at_a_frame() {
    let one = 65536;
    let turned = |cells| orientation(&json!([{"rotation": 7}, {"displaymatrix": matrix(cells)}]));
    let expect = |transpose, mirror_x, mirror_y| Orientation {
        transpose,
        mirror_x,
        mirror_y,
    };
    assert_eq!(turned([one, 0, 0, one]), Orientation::default());
    assert_eq!(turned([0, one, -one, 0]), expect(true, true, false));
    assert_eq!(turned([-one, 0, 0, -one]), expect(false, true, true));
    assert_eq!(turned([0, -one, one, 0]), expect(true, false, true));
    assert_eq!(turned([-one, 0, 0, one]), expect(false, true, false));
    assert_eq!(
        turned([46341, 46340, -46340, 46341]),
        Orientation::default()
    );
    assert_eq!(turned([i64::MIN, 0, 0, 1]), expect(false, true, false));
    assert_eq!(
        orientation(&json!([{"displaymatrix": "0: 1 x\n"}])),
        Orientation::default()
    );
}

#[test]
fn ten_thousand_streams_are_cut_down() {
    let stream =
        |index| json!({"index": index, "codec_type": "subtitle", "codec_name": "x".repeat(99)});
    let cover =
        |index| json!({"index": index, "codec_type": "video", "disposition": {"attached_pic": 1}});
    let streams: Vec<_> = (0..5000)
        .map(stream)
        .chain((5000..10_000).map(cover))
        .collect();
    let facts = read(&json!({ "streams": streams }), FileType::Matroska);
    assert_eq!((facts.subtitles.len(), facts.pictures.len()), (300, 32));
    assert_eq!(facts.subtitles[299].codec.len(), 32);
}

#[test]
fn nonsense_is_not_said() {
    for wrong in ["NaN", "-inf", "1e300", "", "N/A", "-5"] {
        let value = json!({"streams": [], "format": {"duration": wrong}});
        assert_eq!(
            read(&value, FileType::Matroska).duration_seconds,
            None,
            "{wrong}"
        );
    }
    for wrong in ["0:1", "1:0", "-1:2", "99999999999:1", "1", "a:b"] {
        assert_eq!(ratio(wrong, ':'), None, "{wrong}");
    }
    for wrong in [
        json!(0),
        json!(-3),
        json!(1.5),
        json!("640"),
        json!(1u64 << 40),
        json!(null),
    ] {
        let value =
            json!({"streams": [{"index": 0, "codec_type": "video", "width": wrong, "height": 2}]});
        assert_eq!(read(&value, FileType::Matroska).video, None, "{wrong}");
    }
    assert_eq!(clock("1:2"), None);
    assert_eq!(clock("nan:0:0"), None);
}

/// Any JSON that uses the words that are looked for.
fn any_json() -> impl Strategy<Value = Value> {
    let words = vec![
        "streams",
        "format",
        "index",
        "codec_type",
        "video",
        "audio",
        "subtitle",
        "width",
        "height",
        "tags",
        "DURATION",
        "disposition",
        "attached_pic",
        "side_data_list",
        "displaymatrix",
        "sample_aspect_ratio",
        "duration",
        "start_time",
        "0: -1 2\n1: 3 4",
        "16:9",
        "00:00:01",
        "-1",
    ];
    let word = proptest::sample::select(words);
    let leaf = prop_oneof![
        any::<f64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        (0..3u8).prop_map(|number| json!(number)),
        word.clone().prop_map(|word| json!(word)),
        Just(Value::Null),
    ];
    leaf.prop_recursive(5, 60, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(word.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read(value in any_json()) {
        let facts = read(&value, FileType::Matroska);
        prop_assert!(facts.start_seconds.is_finite());
        prop_assert!(facts.duration_seconds.is_none_or(|duration| duration > 0.0));
        if let Some(video) = facts.video {
            let (width, height) = video.upright();
            prop_assert!(width > 0 && height > 0 && video.end_seconds.is_none_or(|end| end > 0.0));
        }
    }
}
