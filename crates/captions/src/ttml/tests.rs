//! TTML: timing, styling, layout, and hostile XML.

use crate::cue::{Align, Colour, Vertical};
use crate::told::told;
use crate::{Parsed, parse as parse_any};

fn document(attributes: &str, head: &str, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<tt xmlns=\"http://www.w3.org/ns/ttml\" {attributes}>\n\
         <head>{head}</head>\n<body><div>{body}</div></body></tt>"
    )
}

fn read(text: &str) -> Parsed {
    parse_any(text.as_bytes()).unwrap()
}

#[test]
fn a_well_made_document_is_read() {
    let parsed = read(&document(
        "xml:lang='en-GB'",
        "",
        "<p begin='00:00:01.000' end='00:00:02.000'>\n  Hello\n  there,<br/> \
         <![CDATA[<world>]]> &amp;&#x20;&lt;co&gt; </p>\n\
         <p begin='3s' dur='1500ms' xml:space='preserve'>a  b\nc</p>",
    ));
    assert_eq!(
        told(&parsed),
        ["1000-2000 Hello there,|<world> & <co>", "3000-4500 a  b|c"]
    );
    assert_eq!(parsed.track.language.unwrap().as_str(), "en");
    assert_eq!(parsed.broken, []);
}

#[test]
fn what_stands_in_a_sequence_is_told() {
    let parsed = read(
        "<tt xmlns='x'><body><div timeContainer='seq'><p dur='2s'>a</p><p dur='3s'>b</p></div>\
         <div timeContainer='par'><p dur='2s'>c</p></div></body></tt>",
    );
    assert_eq!(told(&parsed), ["0-2000 c"]);
    assert_eq!(parsed.broken.len(), 2);
}

#[test]
fn times_nest() {
    let text = "<tt:tt xmlns:tt='x'><tt:body begin='10s' end='20s'><tt:div begin='1s'>\
        <tt:p begin='1s' end='3s'>a<tt:span begin='1s'>b<tt:span dur='500ms'>c</tt:span></tt:span>d</tt:p>\
        <tt:p begin='5s'>to the end</tt:p><tt:p dur='1h'>clipped</tt:p></tt:div></tt:body></tt:tt>";
    let expected = [
        "11000-20000 clipped",
        "12000-14000 ad",
        "13000-13500 c",
        "13000-14000 b",
        "16000-20000 to the end",
    ];
    assert_eq!(told(&read(text)), expected);
}

#[test]
fn broken_paragraphs_are_told_and_the_others_kept() {
    let parsed = read(&document(
        "",
        "",
        "<p begin='1s' end='2s'>good</p>\n<p begin='x' end='2s'>bad</p>\n<p begin='3s' end='2s'>reversed</p>\n\
         <p begin='1s'>endless</p>\n<p begin='9999999h' dur='1s'>huge</p>\n<p begin='1s' end='2s'>&bogus;</p>\n\
         <p begin='-1s' end='2s'>negative</p><p/><p begin='4s' end='5s'>a<span begin='?'>lost</span>b</p>\
         <p begin='90000s' end='90001s'>late &nbsp;</p>",
    ));
    assert_eq!(
        told(&parsed),
        [
            "1000-2000 good",
            "4000-5000 ab",
            "90000000-90001000 late \u{a0}"
        ]
    );
    let broken: Vec<_> = parsed.broken.iter().map(|b| (b.number, b.line)).collect();
    assert_eq!(
        broken,
        [(2, 5), (3, 6), (4, 7), (5, 8), (6, 9), (7, 10), (9, 10)]
    );
}

#[test]
fn styles_and_regions_are_followed() {
    let parsed = read(&document(
        "xmlns:tts='s' tts:extent='1000px 500px'",
        "<styling><style xml:id='base' tts:color='yellow'/>\
         <style xml:id='loud' style='base' tts:fontWeight='bold'/></styling>\
         <layout><region xml:id='top' tts:origin='0px 10px' tts:extent='300px 50px'/>\
         <region xml:id='low'><style tts:displayAlign='after'/>\
         <style tts:textAlign='right' tts:fontStyle='italic'/></region></layout>",
        "<p begin='1s' end='2s' style='loud' region='top'>a\
         <span tts:color='#FF0000FF' tts:fontWeight='normal'>b</span></p>\
         <p begin='2s' end='3s' region='low' tts:textDecoration='underline'>c</p>\
         <p begin='3s' end='4s' tts:textAlign='start'>d</p><p begin='4s' end='5s' region='none' style='none'>e</p>",
    ));
    let cues = &parsed.track.cues;
    let first = &cues[0].lines[0];
    assert_eq!(
        (first[0].style.bold, first[0].style.colour),
        (true, Some(Colour::Yellow))
    );
    assert_eq!(
        (first[1].style.bold, first[1].style.colour),
        (false, Some(Colour::Red))
    );
    let places: Vec<_> = cues
        .iter()
        .map(|cue| (cue.place.vertical, cue.place.align))
        .collect();
    assert_eq!(
        places,
        [
            (Vertical::Top, Align::Left),
            (Vertical::Bottom, Align::Right),
            (Vertical::Bottom, Align::Left),
            (Vertical::Bottom, Align::Centre),
        ]
    );
    assert!(cues[1].lines[0][0].style.italic && cues[1].lines[0][0].style.underline);
}

#[test]
fn the_first_language_is_read_and_the_others_told() {
    let text = "<tt xml:lang='en'><body><div><p begin='1s' end='2s'>one</p></div>\
        <div xml:lang='eng'><p begin='2s' end='3s'>two</p></div>\
        <div xml:lang='fr'><div><p begin='1s' end='2s'>un</p></div></div></body></tt>";
    let parsed = read(text);
    assert_eq!(told(&parsed), ["1000-2000 one", "2000-3000 two"]);
    assert_eq!(parsed.broken.len(), 1);
}

#[test]
fn text_outside_of_paragraphs_is_none() {
    let parsed = read(&document(
        "",
        "<metadata><p begin='1s' end='2s'>no</p></metadata>",
        "no<metadata>no</metadata><p begin='1s' end='2s'>a<metadata>no<br/></metadata>b<!-- no --><?no no?></p>",
    ));
    assert_eq!(told(&parsed).len(), 1);
    assert!(told(&parsed)[0].ends_with(" ab"), "{:?}", told(&parsed));
}

fn refusal(text: &str) -> String {
    parse_any(text.as_bytes()).unwrap_err().what
}

#[test]
fn entity_bombs_and_depth_are_refused() {
    let bomb = "<?xml version='1.0'?><!DOCTYPE tt [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>\
        <!ENTITY c SYSTEM 'file:///etc/passwd'>]><tt><body><div><p begin='1s' end='2s'>&b;&c;</p></div></body></tt>";
    assert!(refusal(bomb).contains("document type"));
    assert!(refusal("<!DOCTYPE html><tt/>").contains("document type"));
    let inner = "<span>".repeat(100_000);
    assert!(
        refusal(&document(
            "",
            "",
            &format!("<p begin='1s' end='2s'>{inner}x")
        ))
        .contains("64")
    );
    let fitting = format!(
        "<p begin='1s' end='2s'>{}x{}</p>",
        "<span>".repeat(60),
        "</span>".repeat(60)
    );
    assert_eq!(told(&read(&document("", "", &fitting))), ["1000-2000 x"]);
}

#[test]
fn what_is_cut_off_keeps_its_beginning() {
    let whole = document(
        "",
        "",
        "<p begin='1s' end='2s'>good</p>\n<p begin='2s' end='3s'>cut</p>",
    );
    for (text, line) in [
        (whole.split("cut").next().unwrap(), 5),
        (&whole.replace("cut</p>", "cut</q>"), 5),
        (&whole.replace("cut</p>", "cut<"), 5),
    ] {
        let parsed = read(text);
        assert_eq!(told(&parsed), ["1000-2000 good"]);
        assert_eq!((parsed.broken[0].number, parsed.broken[0].line), (2, line));
    }
    assert!(parse_any(b"<tt><body><div><p begin='1s'>").is_err());
    assert_eq!(read("<tt/>").track.cues, []);
}
