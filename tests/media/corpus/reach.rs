//! Files that name others: playlists, references, links, entities, by file and by network.

use super::containers::{element, info, matroska, track};
use super::damage::find;
use crate::mp4::{boxed, full};

/// What must not be reached.
pub struct Secrets {
    /// The folder of the secret files.
    pub folder: String,
    /// Where somebody listens: `127.0.0.1:PORT`.
    pub address: String,
}

impl Secrets {
    /// Every way to name a secret file or the listener.
    fn names(&self, file: &str) -> Vec<String> {
        let path = format!("{}/{file}", self.folder);
        vec![
            path.clone(),
            format!("file:{path}"),
            format!("http://{}/{file}", self.address),
            format!("concat:{path}|{path}"),
            format!("subfile,,start,0,end,0,,:{path}"),
        ]
    }
}

/// Text files that programs take for a list of others.
fn lists(secrets: &Secrets) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (number, name) in secrets.names("secret.mp4").iter().enumerate() {
        let m3u8 =
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{name}\n#EXT-X-ENDLIST\n");
        let key =
            format!("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"{name}\"\n#EXTINF:9,\n{name}\n");
        let dash = format!(
            "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
             mediaPresentationDuration=\"PT2S\"><Period><AdaptationSet mimeType=\"video/mp4\">\
             <Representation id=\"1\" bandwidth=\"1\"><BaseURL>{name}</BaseURL></Representation>\
             </AdaptationSet></Period></MPD>"
        );
        all.push((format!("m3u8-{number}"), m3u8.clone().into_bytes()));
        all.push((
            format!("m3u8-id3-{number}"),
            format!("ID3\u{4}\0\0\0\0\0\0{m3u8}").into_bytes(),
        ));
        if number > 2 {
            continue;
        }
        all.push((format!("m3u8-key-{number}"), key.into_bytes()));
        all.push((
            format!("ffconcat-{number}"),
            format!("ffconcat version 1.0\nfile '{name}'\n").into(),
        ));
        all.push((format!("dash-{number}"), dash.into_bytes()));
        all.push((format!("name-{number}"), name.clone().into_bytes()));
    }
    let sdp = format!(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 {}\nt=0 0\nm=video 5004 RTP/AVP 96\n\
         a=rtpmap:96 H264/90000\n",
        secrets.address
    );
    let index = format!(
        "# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\n\
         id: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000000\n# {}\n",
        secrets.folder
    );
    all.push(("sdp".into(), sdp.into_bytes()));
    all.push(("vobsub".into(), index.into_bytes()));
    all
}

/// Caption files that ask for others.
fn captions(secrets: &Secrets) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (number, name) in secrets.names("secret.srt").iter().enumerate() {
        let ttml = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE tt [<!ENTITY x SYSTEM \"{name}\"><!ENTITY % y SYSTEM \
             \"{name}\">%y;]><tt xmlns=\"http://www.w3.org/ns/ttml\" xmlns:xi=\"http://www.w3.org/2001/\
             XInclude\"><body><div><p begin=\"0s\" end=\"1s\">said &x;<xi:include href=\"{name}\" \
             parse=\"text\"/></p></div></body></tt>"
        );
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><image href=\"{name}\"/>\
             </svg>"
        );
        let srt = format!("1\n00:00:00,000 --> 00:00:01,000\n<img src=\"{name}\">said\n\n");
        let vtt = format!(
            "WEBVTT\n\nSTYLE\n@import url({name});\n::cue {{ background: url({name}) }}\n\n\
             00:00.000 --> 00:01.000\nsaid\n"
        );
        let some = if number < 3 { 4 } else { 1 };
        for (kind, text) in [("ttml", ttml), ("svg", svg), ("srt", srt), ("vtt", vtt)]
            .into_iter()
            .take(some)
        {
            all.push((format!("{kind}-{number}"), text.into_bytes()));
        }
    }
    all
}

/// A Macintosh alias as `mov` reads one, whose absolute path is this.
fn alias(path: &str) -> Vec<u8> {
    let mut record = vec![0; 10];
    record.extend([4]);
    record.extend([b"disk".as_slice(), &[0; 23], &[0; 12]].concat());
    record.push(10);
    record.extend([b"secret.mp4".as_slice(), &[0; 53], &[0; 16]].concat());
    record.extend([0, 1, 0, 1]);
    record.extend([0; 16]);
    let path = format!("disk{}", path.replace('/', ":"));
    let even = path.len() + path.len() % 2;
    for number in [2, even as u16] {
        record.extend(number.to_be_bytes());
    }
    record.extend(path.bytes().chain([0].into_iter().take(even - path.len())));
    record.extend([0xff; 4]);
    full(b"alis", 0, &[record])
}

/// The same film, its media somewhere else: this entry stands in its list of references.
fn elsewhere(film: &[u8], entry: &[u8]) -> Vec<u8> {
    let place = find(film, b"dref") + 12;
    let old = u32::from_be_bytes(film[place..place + 4].try_into().unwrap()) as usize;
    let mut film = [&film[..place], entry, &film[place + old..]].concat();
    for name in [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"] {
        let size = find(&film, name) - 4;
        let grown = u32::from_be_bytes(film[size..size + 4].try_into().unwrap());
        let grown = grown + entry.len() as u32 - old as u32;
        film[size..size + 4].copy_from_slice(&grown.to_be_bytes());
    }
    film
}

/// Containers that say that what they hold is elsewhere.
fn references(read: &impl Fn(&str) -> Vec<u8>, secrets: &Secrets) -> Vec<(String, Vec<u8>)> {
    let (film, picture) = (read("base.mov"), read("base.jpg"));
    let mut all = Vec::new();
    for (number, name) in secrets.names("secret.mp4").iter().enumerate() {
        let url = full(b"url ", 0, &[format!("{name}\0").into_bytes()]);
        let reference = [
            b"\0\0\0\0url ".as_slice(),
            &(name.len() as u32).to_be_bytes(),
        ]
        .concat();
        let rdrf = boxed(b"rdrf", &[reference, name.clone().into_bytes()]);
        let movie = boxed(b"moov", &[boxed(b"rmra", &[boxed(b"rmda", &[rdrf])])]);
        let head = film[..find(&film, b"ftyp") + 16].to_vec();
        let next = [
            element(&[0x3e, 0x83, 0xbb], name.as_bytes()),
            element(&[0x3c, 0x83, 0xab], name.as_bytes()),
            element(&[0x73, 0x84], name.as_bytes()),
        ];
        let file = [
            element(&[0x46, 0x6e], name.as_bytes()),
            element(&[0x46, 0x60], b"image/jpeg"),
            element(&[0x46, 0x5c], &picture),
        ];
        let attached = element(
            &[0x19, 0x41, 0xa4, 0x69],
            &element(&[0x61, 0xa7], &file.concat()),
        );
        let captions = element(
            &[0x16, 0x54, 0xae, 0x6b],
            &track(1, 17, "S_VOBSUB", name.as_bytes()),
        );
        all.push((format!("mov-url-{number}"), elsewhere(&film, &url)));
        all.push((format!("mov-rdrf-{number}"), [head, movie].concat()));
        all.push((
            format!("mkv-next-{number}"),
            matroska(&[info(&next.concat()), attached, captions]),
        ));
    }
    let path = format!("{}/secret.mp4", secrets.folder);
    all.push(("mov-alias".into(), elsewhere(&film, &alias(&path))));
    all
}

/// All of them: media, and caption files.
pub fn media(read: &impl Fn(&str) -> Vec<u8>, secrets: &Secrets) -> Vec<(String, Vec<u8>)> {
    [lists(secrets), references(read, secrets), captions(secrets)].concat()
}
